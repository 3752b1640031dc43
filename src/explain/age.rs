//! Points in time and how long ago they were, in words.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// As in `2026-11-25T10:00:00Z (3 days ago)`.
pub fn when(time: OffsetDateTime, now: OffsetDateTime) -> String {
    format!("{} ({})", moment(time), ago(time, now))
}

/// RFC 3339 to the second, in UTC.
pub fn moment(time: OffsetDateTime) -> String {
    let whole = time.to_offset(time::UtcOffset::UTC).replace_nanosecond(0).unwrap_or(time);
    // Only a year beyond 9999 cannot be written.
    whole.format(&Rfc3339).unwrap_or_else(|_| "a time beyond the calendar".to_owned())
}

/// As in `3 days ago`, by the largest unit of which there is more than one. Clocks may differ a little.
pub fn ago(time: OffsetDateTime, now: OffsetDateTime) -> String {
    const UNITS: [(&str, i64); 4] = [("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1)];
    let seconds = (now - time).whole_seconds();
    if seconds < -60 {
        return "in the future, by this machine's clock".to_owned();
    }
    let unit = UNITS.into_iter().find(|(_, length)| seconds >= 2 * length);
    unit.map_or_else(|| "just now".to_owned(), |(unit, length)| format!("{} {unit} ago", seconds / length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;
    use time::macros::datetime;

    #[test]
    fn ages_are_told_by_their_largest_unit() {
        let now = datetime!(2026-11-25 10:00 UTC);
        for (age, words) in [
            (Duration::seconds(0), "just now"),
            (Duration::seconds(-5), "just now"),
            (Duration::seconds(59), "59 seconds ago"),
            (Duration::seconds(119), "119 seconds ago"),
            (Duration::seconds(120), "2 minutes ago"),
            (Duration::minutes(119), "119 minutes ago"),
            (Duration::hours(47), "47 hours ago"),
            (Duration::days(90), "90 days ago"),
            (Duration::hours(-2), "in the future, by this machine's clock"),
        ] {
            assert_eq!(ago(now - age, now), words);
        }
        let odd = datetime!(2026-11-25 12:30:01.5 +2);
        assert_eq!(when(odd, odd + Duration::days(3)), "2026-11-25T10:30:01Z (3 days ago)");
    }
}
