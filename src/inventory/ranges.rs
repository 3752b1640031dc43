//! Cutting all keys into ranges that are walked side by side: pure.

use uuid::Uuid;

use crate::key_template::{KeyTemplate, Piece};

/// Keys after one text and up to another, and the ids that give them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// Every key of the range comes after it; empty: from the first key on.
    pub after: String,
    /// The last key that may come; nothing: to the end.
    pub until: Option<String>,
    /// The smallest id of a file whose key is in the range.
    pub first: Uuid,
    /// The largest.
    pub last: Uuid,
}

/// The first digits of ids, in the order of their keys.
const LOWER: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
const UPPER: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];

/// All keys in one range.
pub(super) fn whole() -> Vec<Range> {
    vec![Range { after: String::new(), until: None, first: Uuid::nil(), last: Uuid::max() }]
}

/// All keys, in a range for each first digit of the id where the template begins with a text and the id: there, the
/// order of the keys is that of the ids. Else all in one.
///
/// The ranges touch, and so a key that is none of a file's is in one of them as well.
pub(super) fn by_first_digit(template: &KeyTemplate) -> Vec<Range> {
    let mut before = String::new();
    for piece in template.pieces() {
        let digits = match piece {
            Piece::Literal(text) => {
                before.push_str(text);
                continue;
            }
            Piece::Schema => return whole(),
            Piece::Id | Piece::IdSimple => LOWER,
            Piece::IdUpper => UPPER,
        };
        return cut(&before, digits);
    }
    whole()
}

fn cut(before: &str, digits: [char; 16]) -> Vec<Range> {
    let bound = |digit: usize| format!("{before}{}", digits[digit]);
    (0..16)
        .map(|digit| {
            let first = (digit as u128) << 124;
            Range {
                after: if digit == 0 { String::new() } else { bound(digit) },
                until: (digit < 15).then(|| bound(digit + 1)),
                first: Uuid::from_u128(first),
                last: Uuid::from_u128(first | (u128::MAX >> 4)),
            }
        })
        .collect()
}

impl Range {
    /// How far into the range a key is, from 0 to 1: by the four digits after the first, where keys have digits there.
    pub fn progress(&self, key: &str) -> f64 {
        let digits = match &self.until {
            Some(until) => key.get(until.len()..),
            None => key.get(self.after.len()..),
        };
        let digits: String = digits.unwrap_or_default().chars().filter(|c| *c != '-').take(4).collect();
        u16::from_str_radix(&digits, 16).map_or(0.0, |position| f64::from(position) / f64::from(u16::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::FileId;

    #[test]
    fn every_key_is_in_one_range_and_its_id_too() {
        let ids = [0, 1, u128::MAX, 0x1fff_ffff << 96, 0x2000_0000 << 96, 0xa000_0000 << 96, 0x9fff << 112];
        for template in ["{file_id}", "files/{file_id:upper}.bin", "{file_id:simple}", "x{file_id}-{file_id}"]
        {
            let template: KeyTemplate = template.parse().unwrap();
            let ranges = by_first_digit(&template);
            assert_eq!(ranges.len(), 16);
            for id in ids.map(Uuid::from_u128) {
                let key = template.key(&FileId::from(id), None).unwrap();
                let holds = |range: &&Range| {
                    key.as_str() > range.after.as_str()
                        && range.until.as_ref().is_none_or(|until| key.as_str() <= until.as_str())
                };
                let holding: Vec<_> = ranges.iter().filter(holds).collect();
                assert_eq!(holding.len(), 1, "{key}");
                assert!(holding[0].first <= id && id <= holding[0].last, "{key}");
            }
        }
    }

    #[test]
    fn ranges_touch_and_cover_every_text() {
        let ranges = by_first_digit(&"p/{file_id}".parse().unwrap());
        assert_eq!(ranges[0].after, "");
        assert_eq!(ranges[15].until, None);
        for pair in ranges.windows(2) {
            assert_eq!(pair[0].until.as_deref(), Some(pair[1].after.as_str()));
        }
    }

    #[test]
    fn keys_whose_order_is_not_that_of_the_ids_are_one_range() {
        assert_eq!(by_first_digit(&"{schema}/{file_id}".parse().unwrap()), whole());
    }

    #[test]
    fn a_key_tells_how_far_its_range_has_come() {
        let ranges = by_first_digit(&"p/{file_id}".parse().unwrap());
        for (range, key, expected) in
            [(0, "p/00000000-0", 0.0), (3, "p/38000000-0", 0.5), (15, "p/fffff000-0", 1.0), (15, "z", 0.0)]
        {
            assert!((ranges[range].progress(key) - expected).abs() < 0.001, "{key}");
        }
    }
}
