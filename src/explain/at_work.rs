//! Is anybody there who would do it? A pure function over the processes that tell of themselves.

use crate::db::process::Process;

/// What is said where nobody would move what may move; nothing where somebody would, or nobody could be asked.
///
/// `relayed`: it still waits in the outbox, so that a listener is needed before a worker.
pub(super) fn nobody(processes: Option<&[Process]>, relayed: bool) -> Option<String> {
    let processes = processes?;
    if processes.is_empty() {
        let why = "no process of this environment has told of itself in the last seconds";
        return Some(format!("Nobody is at work: {why}; file-recycler run starts one."));
    }
    let listens = |process: &&Process| process.halves != "work";
    let works = |process: &&Process| process.halves != "listen";
    if relayed && let Some(why) = why_not(processes.iter().filter(listens), "listener", "listen") {
        return Some(why);
    }
    why_not(processes.iter().filter(works), "worker", "work")
}

/// Why none of these does its work.
fn why_not<'a>(half: impl Iterator<Item = &'a Process>, who: &str, command: &str) -> Option<String> {
    let half: Vec<&Process> = half.collect();
    if half.iter().any(|process| process.ready) {
        return None;
    }
    Some(match half.first() {
        None => format!("No {who} is at work: file-recycler {command} starts one."),
        Some(process) => {
            let why = process.why.as_deref().unwrap_or("it does not say why");
            format!("No {who} is ready: {} says {why}.", process.name)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(halves: &str, why: Option<&str>) -> Process {
        let why = why.map(str::to_owned);
        Process { name: "host:1".into(), halves: halves.into(), ready: why.is_none(), why }
    }

    #[test]
    fn it_is_told_where_nobody_would_do_it() {
        let ready = |halves| process(halves, None);
        let stuck = |halves| process(halves, Some("guard: the template is wrong"));
        for (processes, relayed, told) in [
            (vec![ready("run")], true, None),
            (vec![stuck("run"), ready("run")], true, None),
            (vec![ready("listen"), ready("work")], true, None),
            (vec![ready("work")], false, None),
            (vec![], false, Some("Nobody is at work")),
            (vec![ready("listen")], true, Some("No worker is at work: file-recycler work starts one")),
            (vec![ready("work")], true, Some("No listener is at work: file-recycler listen starts one")),
            (
                vec![stuck("work"), ready("listen")],
                true,
                Some("No worker is ready: host:1 says guard: the template is wrong."),
            ),
            (vec![stuck("run")], false, Some("No worker is ready")),
        ] {
            let said = nobody(Some(&processes), relayed);
            match told {
                None => assert_eq!(said, None, "{processes:?}"),
                Some(told) => assert!(said.as_ref().is_some_and(|it| it.contains(told)), "{said:?}"),
            }
        }
        assert_eq!(nobody(None, true), None, "nobody could be asked");
    }
}
