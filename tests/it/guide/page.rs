//! What a page says: commands with their output, and what has to be arranged before them.

/// One thing after the other.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A sentence of `<!-- guide: … -->`.
    Arrange(String),
    /// A file with this name and this content, from `<!-- guide: save NAME -->` and the block after it.
    Save {
        name: String,
        content: String,
    },
    Command(Command),
}

/// A line that begins with `$ `, and what the page shows below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Of the page.
    pub at: usize,
    /// Without its comment; a line that ends with `\` goes on.
    pub line: String,
    /// By its comment.
    pub exits: i32,
    pub output: Vec<String>,
}

#[derive(Debug)]
pub struct Page {
    pub name: String,
    pub steps: Vec<Step>,
}

impl Page {
    pub fn read(name: &str, text: &str) -> Self {
        let mut steps = Vec::new();
        let mut lines = text.lines().enumerate();
        let mut save: Option<String> = None;
        while let Some((_, line)) = lines.next() {
            if let Some(said) = line.trim().strip_prefix("<!-- guide: ") {
                let said =
                    said.strip_suffix(" -->").unwrap_or_else(|| panic!("{name}: one line each: {line}"));
                match said.strip_prefix("save ") {
                    Some(file) => save = Some(file.to_owned()),
                    None => steps.push(Step::Arrange(said.to_owned())),
                }
                continue;
            }
            let Some(info) = line.trim_start().strip_prefix("```") else { continue };
            // In a list the whole block is indented.
            let indent = line.len() - line.trim_start().len();
            let block: Vec<(usize, &str)> = lines
                .by_ref()
                .take_while(|(_, line)| line.trim_start() != "```")
                .map(|(at, line)| (at, line.get(indent..).unwrap_or("")))
                .collect();
            if let Some(name) = save.take() {
                let content = block.iter().flat_map(|(_, line)| [*line, "\n"]).collect();
                steps.push(Step::Save { name, content });
            }
            if info == "console" {
                steps.extend(commands(&block).into_iter().map(Step::Command));
            }
        }
        assert_eq!(save, None, "{name}: nothing to save");
        Self { name: name.to_owned(), steps }
    }

    pub fn commands(&self) -> Vec<&Command> {
        self.steps
            .iter()
            .filter_map(|step| if let Step::Command(command) = step { Some(command) } else { None })
            .collect()
    }
}

fn commands(block: &[(usize, &str)]) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    let mut goes_on = false;
    for (at, line) in block {
        if let Some(last) = commands.last_mut().filter(|_| goes_on) {
            last.line = format!("{} {}", last.line.trim_end_matches('\\').trim_end(), line.trim());
        } else if let Some(line) = line.strip_prefix("$ ") {
            commands.push(Command { at: at + 1, line: line.to_owned(), exits: 0, output: Vec::new() });
        } else if let Some(last) = commands.last_mut() {
            last.output.push((*line).to_owned());
        } else {
            panic!("line {}: a console block begins with a command: {line}", at + 1);
        }
        goes_on = line.ends_with('\\');
    }
    for command in &mut commands {
        if let Some((line, comment)) = command.line.clone().split_once(" # ") {
            line.trim_end().clone_into(&mut command.line);
            let exits = comment.split_once("exits ").and_then(|(_, rest)| rest.chars().next()?.to_digit(10));
            command.exits = exits.map_or(0, |code| i32::try_from(code).unwrap());
        }
        command.line.truncate(command.line.trim_end().len());
    }
    commands
}

#[test]
fn a_page_is_read_as_its_reader_reads_it() {
    let text = "# Page\n<!-- guide: run -->\ntext `$ no`\n```console\n$ one --a   # says, and exits 1: why\nout …\n\n$ two \\\n    \
                three\n```\n<!-- guide: save event.json -->\n```json\n{}\n```\n```text\n$ not this\n```\n   \
                ```console\n   $ four\n   out\n   ```\n";
    let page = Page::read("page", text);
    let command = |at, line: &str, exits, output: &[&str]| {
        let output = output.iter().map(|line| (*line).to_owned()).collect();
        Step::Command(Command { at, line: line.to_owned(), exits, output })
    };
    let expected = [
        Step::Arrange("run".to_owned()),
        command(5, "one --a", 1, &["out …", ""]),
        command(8, "two three", 0, &[]),
        Step::Save { name: "event.json".to_owned(), content: "{}\n".to_owned() },
        command(19, "four", 0, &["out"]),
    ];
    assert_eq!(page.steps, expected);
    assert_eq!(page.commands().len(), 3);
}
