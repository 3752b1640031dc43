//! The decisions, by tables.

use super::*;

fn rule(id: &str, days: Option<u32>) -> Terms {
    Terms {
        id: id.to_owned(),
        ours: false,
        enabled: true,
        scope: Scope::Everything,
        days,
        date: None,
        noncurrent_days: None,
        unfinished_days: None,
        classes: Vec::new(),
    }
}

fn days(days: u32) -> Duration {
    DAY * days
}

fn kept_for(days: u32, rule: &str) -> Kept {
    Kept::Days { days, rule: rule.to_owned() }
}

#[test]
fn the_soonest_rule_in_force_counts_whatever_files_it_is_for() {
    let disabled = Terms { enabled: false, ..rule("off", Some(1)) };
    let some = Terms { scope: Scope::Some, ..rule("tagged", Some(10)) };
    let prefix = Terms { scope: Scope::Prefix("a".into()), ..rule("prefix", Some(20)) };
    let own = Terms { scope: Scope::Prefix(".file-recycler/probe".into()), ..rule("own", Some(1)) };
    let date = Terms { date: Some("2027-01-01".into()), ..rule("date", None) };
    let until = Kept::Until { date: "2027-01-01".into(), rule: "date".into() };
    for (rules, expected) in [
        (vec![], Kept::ForEver),
        (vec![rule("uploads", None)], Kept::ForEver),
        (vec![disabled.clone(), own], Kept::ForEver),
        (vec![rule("a", Some(90)), rule("b", Some(30))], kept_for(30, "b")),
        (vec![rule("a", Some(90)), some, prefix.clone()], kept_for(10, "tagged")),
        (vec![rule("a", Some(90)), prefix, disabled], kept_for(20, "prefix")),
        (vec![rule("a", Some(5)), date], until),
    ] {
        assert_eq!(kept(&rules), expected, "{rules:?}");
    }
}

#[test]
fn files_are_kept_as_long_as_backups_or_nobody_knows() {
    let until = Kept::Until { date: "2027-01-01".into(), rule: "date".into() };
    for (replaced, covered) in [(None, true), (Some(90), true), (Some(89), false)] {
        assert_eq!(covers(&kept_for(90, "a"), replaced, Some(days(90))), Some(covered), "{replaced:?}");
    }
    for (kept, backups, covered) in [
        (Kept::ForEver, None, None),
        (Kept::ForEver, Some(days(3_650)), Some(true)),
        (kept_for(90, "a"), Some(days(90)), Some(true)),
        (kept_for(90, "a"), Some(days(90) + Duration::from_millis(1)), Some(false)),
        (kept_for(90, "a"), Some(days(90) + Duration::from_secs(1)), Some(false)),
        (kept_for(90, "a"), Some(days(89) + Duration::from_secs(1)), Some(true)),
        (until, Some(days(1)), Some(false)),
    ] {
        assert_eq!(covers(&kept, None, backups), covered, "{kept:?} {backups:?}");
    }
}

#[test]
fn too_few_days_need_force_and_a_sooner_rule_is_in_the_way_of_any() {
    let ours = Terms { ours: true, ..rule("ours", Some(1)) };
    let other = rule("other", Some(30));
    for (set, others, backups, force, answer) in [
        (90, vec![], None, false, Ok(())),
        (90, vec![ours.clone()], Some(days(90)), false, Ok(())),
        (89, vec![ours.clone()], Some(days(90)), false, Err(Refused::TooShort { backups: 90 })),
        (89, vec![ours], Some(days(90)), true, Ok(())),
        (30, vec![other.clone()], None, false, Ok(())),
        (31, vec![other.clone()], None, false, Err(Refused::Sooner(kept_for(30, "other")))),
        (31, vec![other], None, true, Err(Refused::Sooner(kept_for(30, "other")))),
        (
            31,
            vec![Terms { noncurrent_days: Some(30), ..rule("v", None) }],
            None,
            false,
            Err(Refused::Versions(30)),
        ),
        (30, vec![Terms { noncurrent_days: Some(30), ..rule("v", None) }], None, false, Ok(())),
    ] {
        assert_eq!(may_set(set, &others, backups, force), answer, "{set} {others:?} {backups:?} {force}");
    }
}

#[test]
fn what_comes_in_a_day_times_the_days_is_the_plateau() {
    let seen = forecast((10, 1_000), (20, 4_000), 10.0, &kept_for(90, "a"));
    assert_eq!((seen.files_now, seen.bytes_now, seen.bytes_at_plateau), (10, 1_000, Some(36_000.0)));
    assert_eq!(forecast((0, 0), (0, 0), 0.0, &Kept::ForEver).bytes_at_plateau, None);
}
