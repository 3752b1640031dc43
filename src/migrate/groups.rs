//! Which files are worked on together: many small ones in one statement each way, a large one alone.

use crate::db::migrate::{Candidate, Direction};

/// A file up to this size is small, in bytes.
pub(super) const SMALL: u64 = 1024 * 1024;
/// The contents of a group, in bytes.
const BYTES: u64 = 1024 * 1024;
/// Files of a group: each statement is a short one.
const FILES: usize = 64;

/// What a content takes in memory, as far as its row says.
pub(super) fn weight(row: &Candidate, direction: Direction) -> u64 {
    let known = |size: Option<i64>| size.and_then(|size| u64::try_from(size).ok());
    match direction {
        // Nothing of it comes here; the server reads it.
        Direction::Reclaim if known(row.length) <= Some(SMALL) => 0,
        Direction::ToStorage | Direction::Reclaim => known(row.length).unwrap_or_default(),
        // Zero tells none: it is what an empty column says, too.
        Direction::ToDatabase => known(row.size).filter(|size| *size > 0).unwrap_or(SMALL),
    }
}

/// Cuts a page into groups, in its order: no more files in one than may begin in a second.
pub(super) fn cut(rows: Vec<Candidate>, direction: Direction, rate: Option<f64>) -> Vec<Vec<Candidate>> {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number; a larger one saturates"
    )]
    let most = rate.map_or(FILES, |rate| (rate.ceil() as usize).clamp(1, FILES));
    let mut groups: Vec<Vec<Candidate>> = Vec::new();
    let mut room = 0;
    for row in rows {
        let weight = weight(&row, direction);
        match groups.last_mut() {
            Some(group) if weight <= room && group.len() < most => {
                room -= weight;
                group.push(row);
            }
            _ => {
                room = if weight > SMALL { 0 } else { BYTES.saturating_sub(weight) };
                groups.push(vec![row]);
                if weight > SMALL {
                    // A large one is alone: nobody joins it.
                    groups.push(Vec::new());
                    room = BYTES;
                }
            }
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn row(length: u64) -> Candidate {
        let length = i64::try_from(length).ok();
        Candidate {
            id: Uuid::nil(),
            version: "1".to_owned(),
            size: length,
            length,
            stored: length,
            is_fresh: false,
        }
    }

    fn sizes(direction: Direction, lengths: &[u64]) -> Vec<Vec<i64>> {
        let groups = cut(lengths.iter().map(|length| row(*length)).collect(), direction, None);
        groups.iter().map(|group| group.iter().filter_map(|row| row.length).collect()).collect()
    }

    #[test]
    fn small_files_go_together_and_a_large_one_alone() {
        const MIB: u64 = 1024 * 1024;
        const LARGE: i64 = 5 * 1024 * 1024;
        let one = 1024 * 1024;
        assert_eq!(
            sizes(Direction::ToStorage, &[1, 2, 5 * MIB, 3, MIB, 4]),
            [vec![1, 2], vec![LARGE], vec![3], vec![one], vec![4]]
        );
        assert_eq!(sizes(Direction::ToStorage, &[5 * MIB, 5 * MIB]), [vec![LARGE], vec![LARGE]]);
        assert_eq!(
            cut(vec![row(0); 130], Direction::ToStorage, None).iter().map(Vec::len).collect::<Vec<_>>(),
            [64, 64, 2]
        );
        assert_eq!(cut(Vec::new(), Direction::ToStorage, None), Vec::<Vec<Candidate>>::new());
    }

    #[test]
    fn what_is_not_known_to_be_small_counts_as_much_as_a_small_one_may() {
        assert_eq!(cut(vec![row(0); 3], Direction::ToDatabase, None).len(), 3);
        assert_eq!(cut(vec![row(SMALL); 3], Direction::Reclaim, None).len(), 1);
    }
}
