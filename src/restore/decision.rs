//! What is to be done with one file that somebody wants back, from everything that is known of it. Pure.

use std::fmt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Restored, RowFacts};
use crate::failpoint;
use crate::retention::Kept;
use crate::storage::{Checksum, ETag, Head, Listed, Version};

/// What is known of an object, by a look or by a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its ETag, where the server told it.
    pub etag: Option<ETag>,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written.
    pub written: Option<OffsetDateTime>,
    /// Our note of what it was copied from.
    pub copied_from: Option<ETag>,
    /// A checksum over the whole content.
    pub checksum: Option<Checksum>,
}

impl From<&Head> for Seen {
    fn from(head: &Head) -> Self {
        Self {
            etag: Some(head.etag.clone()),
            size: head.size,
            written: head.last_modified,
            copied_from: head.copied_from.clone(),
            checksum: head.checksum.clone(),
        }
    }
}

impl From<&Listed> for Seen {
    fn from(listed: &Listed) -> Self {
        Self {
            etag: listed.etag.clone(),
            size: listed.size,
            written: listed.last_modified,
            copied_from: None,
            checksum: None,
        }
    }
}

impl Seen {
    /// Is it proven that this is a copy of `other`, or both are of one object? `false` means not proven.
    fn is_of(&self, other: &Self) -> bool {
        let etags = || Some(self.etag.as_ref()?.proves_same_content(other.etag.as_ref()?));
        let noted = self.copied_from.is_some()
            && (self.copied_from == other.etag || self.copied_from == other.copied_from);
        let sums = self.checksum.is_some() && self.checksum == other.checksum;
        self.size == other.size && (etags() == Some(true) || noted || sums)
    }

    fn is_version(&self, version: &Version) -> bool {
        version.content.as_ref().is_some_and(|content| {
            self.is_of(&Self {
                etag: Some(content.etag.clone()),
                size: content.size,
                written: version.last_modified,
                copied_from: None,
                checksum: None,
            })
        })
    }
}

/// What one bucket has under the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Its latest object; nothing also where a delete marker is the latest.
    pub latest: Option<Seen>,
    /// Its versions, the newest first.
    pub versions: Versions<'a>,
}

/// What is known of an object's versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions<'a> {
    /// The bucket has none.
    None,
    /// It has, or may have, and nobody has asked yet.
    NotAsked,
    /// These.
    Are(&'a [Version]),
}

/// What the ledger remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Nobody has asked yet.
    NotAsked,
    /// Nothing.
    Nothing,
    /// The object was moved to the recycle bucket then.
    Recycled(OffsetDateTime),
}

/// Everything that is known of one file.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// What its row says; the image of one that is to come back counts.
    pub row: Option<RowFacts>,
    /// It is wanted without a row as well.
    pub force: bool,
    /// The object bucket.
    pub object: Place<'a>,
    /// It keeps what is overwritten: not where its versioning is suspended.
    pub keeps_overwritten: bool,
    /// The recycle bucket.
    pub copy: Place<'a>,
    /// The moment of the database backup that the row is of.
    pub backup_time: Option<OffsetDateTime>,
    /// The ledger.
    pub memory: Memory,
    /// How long the recycle bucket keeps files.
    pub kept: &'a Kept,
    /// Now.
    pub now: OffsetDateTime,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing more can be said before this is known.
    Ask(Question),
    /// Copy this to the object bucket.
    Copy(Source),
    /// Nothing is to be done.
    End(Restored, Option<String>),
}

/// What has to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The versions in the object bucket.
    ObjectVersions,
    /// The versions in the recycle bucket.
    CopyVersions,
    /// The ledger.
    Memory,
}

/// What is copied to the object bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The copy in the recycle bucket, over nothing.
    Copy,
    /// An older version of it, over nothing.
    OlderCopy(Version),
    /// The version that the object bucket had at the time of the backup, over what hides it.
    ObjectThen(Version),
}

/// The decision.
///
/// | row | object bucket | recycle bucket | what |
/// |---|---|---|---|
/// | content elsewhere | any | any | failed |
/// | any | the row's size, not newer than the backup | any | present |
/// | any | newer than the backup, of the same content as the copy or as the version of then | any | present |
/// | any | newer or another, and the version of then is kept | any | copy that version on top, where the bucket keeps what is overwritten; else differs |
/// | any | newer or another | any | differs |
/// | any | absent, and the version of the backup's time is kept | any | copy that version |
/// | any | absent | the row's size | copy; of several versions the newest with that size |
/// | any | absent | another size | differs |
/// | any | absent | absent, and it is known to have been there, or may have been by the backup's age | expired |
/// | any | absent | absent | never seen |
/// | none, not forced | absent | something to copy | failed |
pub fn decide(facts: &Facts<'_>) -> Next {
    if facts.row.is_some_and(|row| !row.in_s3) {
        let why =
            "its content is in the database, or it is a link and has none: there is nothing to bring back";
        return end(Restored::Failed, why);
    }
    match &facts.object.latest {
        Some(object) => facts.in_place(object),
        None => facts.absent(),
    }
}

fn end(result: Restored, why: impl Into<String>) -> Next {
    Next::End(result, Some(why.into()))
}

/// It was brought back since, by us or by a worker.
fn since(object: &Seen) -> Next {
    let when = object.written.map_or_else(String::new, |written| format!(" {}", moment(written)));
    Next::End(Restored::Present, Some(format!("brought back{when}")))
}

/// The version of then is there, and could only be copied over what is there for good.
fn suspended(version: &Version) -> Next {
    let why = format!(
        "another object is in place, and its bucket does not keep what is overwritten (its versioning is suspended): \
         version {} of{} stays below it",
        version.id,
        version.last_modified.map_or_else(|| " an unknown time".to_owned(), |at| format!(" {}", moment(at)))
    );
    end(Restored::Differs, why)
}

impl<'a> Facts<'a> {
    /// The size that the content must have, where the row tells.
    fn size(&self) -> Option<u64> {
        self.row.and_then(|row| row.size).filter(|size| *size > 0)
    }

    fn fits(&self, size: u64) -> bool {
        self.size().is_none_or(|wanted| wanted == size)
    }

    fn in_place(&self, object: &Seen) -> Next {
        let fits = self.fits(object.size);
        let Some(then) = self.backup_time else {
            return if fits { Next::End(Restored::Present, None) } else { self.other_size(object) };
        };
        let newer = object.written.is_none_or(|written| written > then)
            && !failpoint::removed("protection::newer_than_backup");
        if fits && !newer {
            return Next::End(Restored::Present, None);
        }
        match self.object.versions {
            Versions::NotAsked => return Next::Ask(Question::ObjectVersions),
            Versions::Are(versions) => match self.version_of(versions, then) {
                Some(version) if object.is_version(version) => return since(object),
                Some(version) if self.keeps_overwritten => {
                    return self.unless_alone(Next::Copy(Source::ObjectThen(version.clone())));
                }
                Some(version) => return suspended(version),
                None => {}
            },
            Versions::None => {}
        }
        match &self.copy.latest {
            Some(copy) if fits && object.is_of(copy) => since(object),
            _ if fits => end(
                Restored::Differs,
                format!(
                    "the object was written {}, after the backup, and nothing says that it is the same content",
                    object.written.map_or_else(|| "nobody knows when".to_owned(), moment)
                ),
            ),
            _ => self.other_size(object),
        }
    }

    fn other_size(&self, object: &Seen) -> Next {
        end(Restored::Differs, format!("another object is in place: {}", self.sizes(object.size)))
    }

    fn sizes(&self, size: u64) -> String {
        format!("it has {size} bytes, and the row says {}", self.size().unwrap_or_default())
    }

    fn absent(&self) -> Next {
        if let Some(then) = self.backup_time {
            match self.object.versions {
                Versions::NotAsked => return Next::Ask(Question::ObjectVersions),
                Versions::Are(versions) => {
                    if let Some(version) = self.version_of(versions, then) {
                        return self.unless_alone(Next::Copy(Source::ObjectThen(version.clone())));
                    }
                }
                Versions::None => {}
            }
        }
        let latest = self.copy.latest.as_ref();
        if latest.is_some_and(|copy| self.fits(copy.size)) {
            return self.unless_alone(Next::Copy(Source::Copy));
        }
        match self.copy.versions {
            Versions::NotAsked => Next::Ask(Question::CopyVersions),
            Versions::Are(versions) => self.older_copy(versions),
            Versions::None => match latest {
                Some(copy) => self.other_copy(copy.size),
                None => self.gone(false),
            },
        }
    }

    /// The newest version of the copy with the row's size.
    fn older_copy(&self, versions: &'a [Version]) -> Next {
        let mut contents = versions.iter().filter_map(|version| Some((version, version.content.as_ref()?)));
        if let Some((version, _)) = contents.clone().find(|(_, content)| self.fits(content.size)) {
            return self.unless_alone(Next::Copy(Source::OlderCopy(version.clone())));
        }
        match contents.next() {
            Some((_, newest)) => self.other_copy(newest.size),
            None => self.gone(!versions.is_empty()),
        }
    }

    fn other_copy(&self, size: u64) -> Next {
        end(Restored::Differs, format!("the copy in the recycle bucket is another one: {}", self.sizes(size)))
    }

    /// A file without a row is nobody's: it comes back only where somebody insists.
    fn unless_alone(&self, next: Next) -> Next {
        if self.row.is_some() || self.force || failpoint::removed("protection::row_for_restore") {
            return next;
        }
        let why = "no row names it: bring its row back first (from the database backup, or with --with-rows), or --force it";
        end(Restored::Failed, why)
    }

    /// In neither bucket. `marked`: a delete marker says that the recycle bucket had it.
    fn gone(&self, marked: bool) -> Next {
        let hidden = match self.object.versions {
            Versions::NotAsked => return Next::Ask(Question::ObjectVersions),
            Versions::Are(versions) => {
                versions.iter().find(|version| version.content.is_some() && self.backup_time.is_none())
            }
            Versions::None => None,
        };
        let recycled = match self.memory {
            Memory::NotAsked => return Next::Ask(Question::Memory),
            Memory::Recycled(at) => Some(at),
            Memory::Nothing => None,
        };
        let too_old = self.backup_time.filter(|then| self.may_have_gone(*then));
        let mut why = match (recycled, marked, too_old) {
            (Some(at), ..) => {
                format!("it was recycled {}, and the recycle bucket has it no more", moment(at))
            }
            (None, true, _) => "a delete marker in the recycle bucket says that it was there".to_owned(),
            (None, false, Some(_)) => format!(
                "it is in neither bucket, and the recycle bucket keeps {}: less than the backup is old",
                kept(self.kept)
            ),
            (None, false, None) => "it is in neither bucket, and nothing says that it ever was".to_owned(),
        };
        if let Some(version) = hidden {
            why = format!(
                "{why}; the object bucket keeps a version of it{}, which --backup-time brings back",
                version.last_modified.map_or_else(String::new, |at| format!(" of {}", moment(at)))
            );
        }
        let in_row = self.row.map(|row| row.data).filter(|bytes| *bytes > 0);
        if let Some(bytes) = in_row {
            why = format!(
                "its content is not lost: its row still has {bytes} bytes of it, and `file-recycler explain` says how the \
                 CRM reads them from there; its object: {why}"
            );
        }
        let was_there = recycled.is_some() || marked || too_old.is_some() || hidden.is_some();
        end(if was_there { Restored::Expired } else { Restored::NeverSeen }, why)
    }

    /// May a lifecycle rule have removed what was deleted at or after this moment?
    fn may_have_gone(&self, then: OffsetDateTime) -> bool {
        match self.kept {
            Kept::ForEver => false,
            Kept::Days { days, .. } => then + time::Duration::days(i64::from(*days)) < self.now,
            Kept::Until { .. } => true,
        }
    }

    /// What the object bucket had at that moment, where it has the row's size.
    fn version_of(&self, versions: &'a [Version], then: OffsetDateTime) -> Option<&'a Version> {
        let dated = versions.iter().filter_map(|version| Some((version.last_modified?, version)));
        // The newest first: of one second, the later one is the first.
        let valid = dated.filter(|(written, _)| *written <= then);
        let valid = valid.reduce(|newest, other| if other.0 > newest.0 { other } else { newest });
        let (_, version) = valid?;
        version.content.as_ref().filter(|content| self.fits(content.size)).map(|_| version)
    }
}

fn kept(kept: &Kept) -> impl fmt::Display {
    match kept {
        Kept::ForEver => "files for ever".to_owned(),
        Kept::Days { days, .. } => format!("files {days} days"),
        Kept::Until { date, .. } => format!("files until {date}"),
    }
}

pub(super) fn moment(time: OffsetDateTime) -> String {
    let seconds = time.replace_nanosecond(0).unwrap_or(time);
    seconds.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}
