//! The screen of `status`: pure.

use std::time::Duration;

use super::super::next::Next;
use super::super::paint::Paint;
use super::{Dependencies, State, Status};
use crate::db::process::Process;

/// Rows of the outbox that are older than this, beside the grace period, are a delay.
const LATE: Duration = Duration::from_mins(1);

/// What to type next; nothing where all is well.
pub(super) fn next(status: &Status) -> Option<Next> {
    let Dependencies { database, broker, storage } = &status.dependencies;
    if [database, broker, storage].iter().any(|state| !state.ok) {
        return Some(Next::Doctor);
    }
    // What was not captured is found by an audit; an installation takes note of it, and nobody is told any more.
    if status.left_behind > 0 {
        return Some(Next::Audit);
    }
    // What the capture lacks, `listener install` puts right.
    if !status.listener.ok {
        return Some(Next::Install);
    }
    if !status.guard.ok {
        return Some(Next::Adopt);
    }
    // Why it was paused is on the screen; whether that is over, only people know.
    if status.paused.is_some() {
        return None;
    }
    if status.processes.iter().any(|process| !process.ready) {
        return Some(Next::Doctor);
    }
    if status.processes.is_empty() {
        return Some(Next::Run);
    }
    if status.queues.as_ref().is_some_and(|queues| queues.dead > 0) {
        return Some(Next::DeadLetters);
    }
    (!status.healthy || !status.warnings.is_empty()).then_some(Next::Doctor)
}

/// How it is, in one sentence: the first thing that stops everything, else how far behind it is.
pub(super) fn headline(status: &Status, grace: Duration) -> String {
    let Dependencies { database, broker, storage } = &status.dependencies;
    let named = [
        ("the database", database),
        ("the broker", broker),
        ("the storage", storage),
        ("the guard", &status.guard),
        ("the listener", &status.listener),
    ];
    if let Some((name, state)) = named.iter().find(|(_, state)| !state.ok) {
        return format!("stopped by {name}: {}", state.message);
    }
    if let Some(why) = &status.paused {
        return format!("paused: {why}; `file-recycler resume` ends it");
    }
    if let Some(process) = status.processes.iter().find(|process| !process.ready) {
        let why = process.why.as_deref().unwrap_or("it does not say why");
        return format!("not ready: {} {}: {why}", process.halves, process.name);
    }
    if status.processes.is_empty() {
        return "nobody works: no process of this environment has told of itself lately; start `file-recycler run`"
            .to_owned();
    }
    let oldest = status.outbox.as_ref().map_or(0.0, |outbox| outbox.oldest_seconds);
    let waiting = status.queues.as_ref().map_or(0, |queues| queues.work + queues.wait);
    let rows = status.outbox.as_ref().map_or(0, |outbox| outbox.rows);
    if oldest > (grace + LATE).as_secs_f64() {
        format!("behind by {}: {rows} deletions wait for their relay", ago(oldest))
    } else if waiting > 0 || rows > 0 {
        format!("working: {rows} deletions and {waiting} messages are on their way")
    } else {
        "working: nothing waits".to_owned()
    }
}

/// The whole screen.
pub(super) fn text(status: &Status, paint: Paint) -> String {
    let Dependencies { database, broker, storage } = &status.dependencies;
    let head = if !status.healthy {
        paint.bad(&format!("NOT HEALTHY  {}", status.headline))
    } else if status.paused.is_some() || !status.warnings.is_empty() {
        paint.attention(&format!("healthy      {}", status.headline))
    } else {
        paint.good(&format!("healthy      {}", status.headline))
    };
    let mut lines = vec![head, String::new()];
    for (name, state) in [
        ("database", database),
        ("broker", broker),
        ("storage", storage),
        ("listener", &status.listener),
        ("guard", &status.guard),
    ] {
        lines.push(state_line(name, state, paint));
    }
    if let Some(outbox) = &status.outbox {
        let oldest = if outbox.rows == 0 {
            String::new()
        } else {
            format!(", the oldest {}", ago(outbox.oldest_seconds))
        };
        lines.push(format!("{:<10} {} rows{oldest}", "outbox", outbox.rows));
        if outbox.capture_failures > 0 {
            lines.push(format!("{:<10} {} deletions could not be captured", "", outbox.capture_failures));
        }
    }
    if let Some(queues) = &status.queues {
        let dead = format!("{} dead", queues.dead);
        let dead = if queues.dead > 0 { paint.attention(&dead) } else { dead };
        lines.push(format!("{:<10} {} work, {} waiting, {dead}", "queues", queues.work, queues.wait));
    }
    if let Some(rates) = &status.rates {
        let last = rates.last_seconds.map_or_else(
            || "none within a day".to_owned(),
            |seconds| format!("the last one {} ago", ago(seconds)),
        );
        lines.push(format!(
            "{:<10} {} in the last minute, {} in the last hour; {last}",
            "moved", rates.last_minute, rates.last_hour
        ));
    }
    lines.extend(status.processes.iter().map(|process| process_line(process, paint)));
    lines.extend(
        status.warnings.iter().map(|warning| paint.attention(&format!("{:<10} {warning}", "warning"))),
    );
    lines.join("\n")
}

fn state_line(name: &str, state: &State, paint: Paint) -> String {
    let word = if state.ok { paint.good("ok  ") } else { paint.bad("FAIL") };
    format!("{name:<10} {word} {}", state.message)
}

fn process_line(process: &Process, paint: Paint) -> String {
    let Process { name, halves, ready, why } = process;
    let state = if *ready { paint.good("ready") } else { paint.bad("NOT READY:") };
    format!("{:<10} {halves} {name} {state} {}", "process", why.as_deref().unwrap_or_default())
        .trim_end()
        .to_owned()
}

/// A time that a person takes in at a glance.
fn ago(seconds: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // For people; never negative.
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..120 => format!("{whole} s"),
        120..7_200 => format!("{} min", whole / 60),
        7_200..172_800 => format!("{} h", whole / 3_600),
        _ => format!("{} days", whole / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Outbox, Queues};
    use super::*;

    #[test]
    fn the_screen_leads_on() {
        let bad = || State { ok: false, message: "why".to_owned() };
        let changed = |change: fn(&mut Status)| {
            let mut status = well();
            change(&mut status);
            status
        };
        for (what, status, expected) in [
            ("well", well(), None),
            ("not installed", Status { listener: bad(), guard: bad(), ..well() }, Some(Next::Install)),
            ("not adopted", Status { guard: bad(), ..well() }, Some(Next::Adopt)),
            ("not captured", Status { listener: bad(), left_behind: 2, ..well() }, Some(Next::Audit)),
            ("paused", Status { paused: Some("why".to_owned()), ..well() }, None),
            ("nobody works", Status { processes: Vec::new(), ..well() }, Some(Next::Run)),
            ("broker down", changed(|status| status.dependencies.broker.ok = false), Some(Next::Doctor)),
            ("stuck", changed(|status| status.processes[0].ready = false), Some(Next::Doctor)),
            (
                "dead letters",
                changed(|status| status.queues.as_mut().unwrap().dead = 3),
                Some(Next::DeadLetters),
            ),
            ("drift", Status { warnings: vec!["drift".to_owned()], ..well() }, Some(Next::Doctor)),
        ] {
            assert_eq!(next(&status), expected, "{what}");
        }
    }
    use crate::db::pace::Rates;

    fn well() -> Status {
        let ok = || State { ok: true, message: "ok".to_owned() };
        Status {
            healthy: true,
            dependencies: Dependencies { database: ok(), broker: ok(), storage: ok() },
            listener: ok(),
            left_behind: 0,
            guard: ok(),
            outbox: Some(Outbox { rows: 0, oldest_seconds: 0.0, capture_failures: 0 }),
            queues: Some(Queues { work: 0, wait: 0, dead: 0 }),
            processes: vec![Process { name: "host:1".into(), halves: "run".into(), ready: true, why: None }],
            rates: Some(Rates { last_minute: 2, last_hour: 90, last_seconds: Some(150.0) }),
            ..Status::default()
        }
    }

    fn failing(why: &str) -> State {
        State { ok: false, message: why.to_owned() }
    }

    #[test]
    fn the_headline_says_what_stops_it_or_how_far_behind_it_is() {
        type Change = fn(&mut Status);
        let cases: [(Change, &str); 9] = [
            (|_| {}, "working: nothing waits"),
            (|it| it.dependencies.storage = failing("cut"), "stopped by the storage: cut"),
            (|it| it.guard = failing("a copy"), "stopped by the guard: a copy"),
            (|it| it.paused = Some("a test".into()), "paused: a test; `file-recycler resume` ends it"),
            (|it| it.processes[0].ready = false, "not ready: run host:1: it does not say why"),
            (|it| it.processes.clear(), "nobody works"),
            (
                |it| it.outbox = Some(Outbox { rows: 7, oldest_seconds: 959.0, capture_failures: 0 }),
                "working: 7 deletions",
            ),
            (
                |it| it.outbox = Some(Outbox { rows: 7, oldest_seconds: 961.0, capture_failures: 0 }),
                "behind by 16 min: 7 deletions wait",
            ),
            (
                |it| it.queues = Some(Queues { work: 3, wait: 4, dead: 0 }),
                "working: 0 deletions and 7 messages",
            ),
        ];
        for (change, expected) in cases {
            let mut status = well();
            change(&mut status);
            let said = headline(&status, Duration::from_mins(15));
            assert!(said.starts_with(expected), "'{said}' is not '{expected}'");
        }
    }

    #[test]
    fn the_screen_has_everything_and_colours_only_where_there_are_some() {
        let mut status = well();
        status.headline = headline(&status, Duration::ZERO);
        status.warnings.push("3 dead letters: file-recycler dlq list".into());
        let plain = text(&status, Paint::Plain);
        for part in [
            "healthy      working: nothing waits",
            "database   ok   ok",
            "outbox     0 rows\n",
            "queues     0 work, 0 waiting, 0 dead",
            "moved      2 in the last minute, 90 in the last hour; the last one 2 min ago",
            "process    run host:1 ready\n",
            "warning    3 dead letters",
        ] {
            assert!(plain.contains(part), "{part} is not in\n{plain}");
        }
        assert!(!plain.contains('\u{1b}'));
        let coloured = text(&status, Paint::Colours);
        assert!(coloured.contains('\u{1b}'));
        assert_eq!(console::strip_ansi_codes(&coloured), plain);
    }

    #[test]
    fn times_are_told_in_the_unit_that_fits() {
        for (seconds, told) in [
            (0.04, "0.0 s"),
            (9.94, "9.9 s"),
            (10.0, "10 s"),
            (119.0, "119 s"),
            (120.0, "2 min"),
            (7_200.0, "2 h"),
            (172_800.0, "2 days"),
        ] {
            assert_eq!(ago(seconds), told);
        }
    }
}
