//! What the chaos itself did: which records and files it made, and what it deleted. The only other witness is the
//! servers; nothing that the program says is believed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Its section.
    pub section: String,
    /// Whether its deletion was not begun. It is said before the statement runs, and the statement commits.
    pub alive: bool,
}

/// A file whose object was uploaded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct File {
    /// The record that it hangs on, by a foreign key or weakly.
    pub owner: Uuid,
    /// Records on which it appears by a link.
    pub links: Vec<Uuid>,
    /// Its row outlives its record (ON DELETE SET NULL).
    pub stays: bool,
    /// Bytes of its object.
    pub size: usize,
}

/// Everything that was done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Model {
    /// All records that were ever committed.
    pub records: BTreeMap<Uuid, Record>,
    /// All files that were ever committed.
    pub files: BTreeMap<Uuid, File>,
    /// Statements that deleted records and were committed.
    pub deletions: u64,
    /// Transactions that deleted records and were rolled back.
    pub rolled_back: u64,
}

impl Model {
    /// May this file not move?
    pub fn is_alive(&self, file: &File) -> bool {
        let is_there = |record: &Uuid| self.records.get(record).is_some_and(|record| record.alive);
        file.stays || is_there(&file.owner) || file.links.iter().any(is_there)
    }

    /// The ids of living records, of a section or of any.
    pub fn living(&self, section: Option<&str>) -> Vec<Uuid> {
        let wanted = |record: &Record| record.alive && section.is_none_or(|name| record.section == name);
        self.records.iter().filter(|(_, record)| wanted(record)).map(|(id, _)| *id).collect()
    }

    /// How many files may not move, and how many have to.
    pub fn counts(&self) -> (usize, usize) {
        let alive = self.files.values().filter(|file| self.is_alive(file)).count();
        (alive, self.files.len() - alive)
    }
}

/// The content of a file's object.
pub fn content(id: Uuid, size: usize) -> Vec<u8> {
    id.to_string().bytes().cycle().take(size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_lives_as_long_as_its_owner_or_a_linked_record_does() {
        let (owner, linked) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for (owner_alive, linked_alive, stays, expected) in [
            (true, false, false, true),
            (false, true, false, true),
            (false, false, false, false),
            (false, false, true, true),
        ] {
            let record = |alive| Record { section: "Contact".to_owned(), alive };
            let mut model = Model::default();
            model.records.insert(owner, record(owner_alive));
            model.records.insert(linked, record(linked_alive));
            let file = File { owner, links: vec![linked], stays, size: 1 };
            assert_eq!(model.is_alive(&file), expected);
        }
    }
}
