//! Runs a page's commands, and says which of them are not as the page has them.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command as Process;

use super::elsewhere;
use super::page::{Command, Page, Step};
use super::scene::{self, Scene};
use super::shape;
use crate::support::process::Service;

/// Longest time for one command.
const PATIENCE: Duration = Duration::from_mins(2);

/// What is wrong with a page, a sentence each.
pub async fn page(page: Page) -> Vec<String> {
    let wrong = std::sync::Mutex::new(Vec::new());
    scene::of(&page, async |mut scene| {
        for step in &page.steps {
            match step {
                Step::Arrange(sentence) => scene.arrange(sentence).await,
                Step::Save { name, content } => scene.save(name, content),
                Step::Command(command) => {
                    if let Err(why) = run(&mut scene, command).await {
                        wrong.lock().unwrap().push(format!("{} line {}: {why}", page.name, command.at));
                    }
                }
            }
        }
        scene.end().await;
    })
    .await;
    wrong.into_inner().unwrap()
}

async fn run(scene: &mut Scene, command: &Command) -> Result<(), String> {
    let told = &command.line;
    let Some(line) = to_be_run(told) else { return Ok(()) };
    let line = scene.filled_in(&line);
    if line.starts_with("export ") {
        scene.export(&line).await;
        return Ok(());
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    if let ["file-recycler", half @ ("run" | "listen" | "work"), ..] = words[..] {
        scene.begin(half, &words[1..]).await;
        return Ok(());
    }
    // It looks again and again: one look is enough.
    let line =
        if line.contains("--watch") { format!("timeout --preserve-status -s INT 10 {line}") } else { line };
    let mut bash = Process::new("bash");
    bash.args(["-c", &format!("set -eo pipefail\n{line}")])
        .env_clear()
        .envs(scene.environment.iter().cloned());
    bash.current_dir(scene.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, bash.output()).await;
    let output = ended.map_err(|_| format!("`{told}` does not end"))?.unwrap();
    let text = String::from_utf8_lossy(&[&output.stdout[..], b"\n", &output.stderr].concat()).into_owned();
    let code = output.status.code().unwrap_or(-1);
    if code != command.exits {
        return Err(format!("`{told}` ends with exit code {code} and not {}:\n{text}", command.exits));
    }
    let text = scene.as_in_the_guide(&text);
    match shape::missing(&command.output, &text) {
        Some(line) => Err(format!("`{told}` does not show\n{line}\nbut\n{text}")),
        None => Ok(()),
    }
}

/// The line; of one that cannot run here what it passes on to our program, of which only the options are looked at.
fn to_be_run(line: &str) -> Option<String> {
    if elsewhere::why(line).is_none() {
        return Some(line.to_owned());
    }
    elsewhere::passed_on(line).map(|ours| format!("file-recycler {ours} --help"))
}

impl Scene {
    /// Starts what works on and on, as the page says, and waits until it is ready.
    pub async fn begin(&mut self, half: &str, arguments: &[&str]) {
        let mut service = Service::start(&self.environment, arguments).await;
        // What a page arranges is what these are about.
        for said in
            ["dead letter", "paused", "missing", "is it a copy?", "not well", "set back", "dead-letter"]
        {
            service = service.expect_log(said);
        }
        let service = service.ready().await;
        self.is_told_of(&service).await;
        self.http = service.http.to_string();
        self.services.push((half.to_owned(), service));
    }

    /// Ends what runs, as an operator does.
    pub async fn end(&mut self) {
        for (half, mut service) in self.services.drain(..) {
            assert_eq!(service.stop().await, Some(0), "{half}");
        }
    }
}
