//! `doctor`: every check, what it means, and what to do.

use super::output::{Failed, Finding, print};
use super::paint::Paint;
use crate::clock::Clock;
use crate::config::{ConfigErrors, Loaded};
use crate::doctor::{Check, Doctor, Grade, Report, misconfigured};

pub(super) async fn run(loaded: &Loaded, json: bool) -> Result<Finding, Failed> {
    let doctor = Doctor::new(&loaded.config, &loaded.settings, Clock::system());
    let report = Box::pin(doctor.examine()).await;
    print(json, &report, || text(&report, Paint::of_stdout()))?;
    Ok(Finding::healthy_if(report.ok))
}

/// The configuration cannot be used: that is the report, and the exit code is that of every other command.
pub(super) fn cannot(errors: ConfigErrors, json: bool) -> Failed {
    let report = misconfigured(&errors.to_string());
    match print(json, &report, || text(&report, Paint::of_stdout())) {
        Ok(()) => Failed::configuration(errors),
        Err(failed) => failed,
    }
}

fn text(report: &Report, paint: Paint) -> String {
    let mut lines: Vec<String> = report.checks.iter().map(|check| shown(check, paint)).collect();
    lines.push(format!(
        "{} checks: {} ok, {} warnings, {} failures",
        report.checks.len(),
        report.count(Grade::Ok),
        report.count(Grade::Warn),
        report.count(Grade::Fail),
    ));
    lines.join("\n")
}

fn shown(check: &Check, paint: Paint) -> String {
    let finding = &check.finding;
    let grade = match finding.grade {
        Grade::Ok => paint.good("ok   "),
        Grade::Warn => paint.attention("warn "),
        Grade::Fail => paint.bad("FAIL "),
    };
    let line = format!("{grade} {:<21} {}", check.name.as_str(), finding.message);
    if finding.grade == Grade::Ok {
        return line;
    }
    format!("{line}\n      {:<21} {}\n      {:<21} {}", "  do", finding.advice, "  guide", check.guide)
}
