//! Who is connected, and who goes first where there are too many: whoever asks a question and reads the answer gets in,
//! however many others hold a connection and do nothing with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Most connections at once; for one more, another one is cut.
pub(super) const MAX_CONNECTIONS: usize = 64;
/// So many more, of those whose questions are being answered: an answer that waits for the broker is not cut off.
const MAX_SERVED: usize = 4 * MAX_CONNECTIONS;
/// Who came a moment ago may be about to ask.
const JUST_CAME: Duration = Duration::from_secs(1);

#[derive(Clone, Default)]
pub(super) struct Room(Arc<Mutex<Places>>);

#[derive(Default)]
struct Places {
    next: u64,
    taken: BTreeMap<u64, Place>,
}

struct Place {
    /// When it came, began to ask, or was last answered.
    since: Instant,
    asking: bool,
    /// Its question is with whoever answers it.
    served: bool,
    cut: CancellationToken,
}

/// Who answers a connection's questions says so by this.
#[derive(Clone)]
pub(super) struct Served {
    room: Room,
    number: u64,
}

/// One connection's place, given back when it ends.
pub(super) struct Guest {
    room: Room,
    number: u64,
}

impl Room {
    /// A place, and what is cancelled once others need it. Nobody is turned away: it is made by cutting the connection
    /// that has been idle for longest, or where all of them ask, the one that has asked for longest. Whose question is being
    /// answered stays, up to a larger number.
    pub(super) fn enter(&self, now: Instant) -> (Guest, CancellationToken) {
        let mut places = self.lock();
        while places.taken.len() >= MAX_CONNECTIONS {
            let is_at_work = |place: &Place| place.asking || now.duration_since(place.since) < JUST_CAME;
            let order = |place: &Place| (place.served, is_at_work(place), place.since);
            let first = places.taken.iter().min_by_key(|(_, place)| order(place));
            let Some((first, served)) = first.map(|(number, place)| (*number, place.served)) else { break };
            if served && places.taken.len() < MAX_SERVED {
                break;
            }
            if let Some(place) = places.taken.remove(&first) {
                place.cut.cancel();
            }
        }
        let (number, cut) = (places.next, CancellationToken::new());
        places.next += 1;
        places.taken.insert(number, Place { since: now, asking: false, served: false, cut: cut.clone() });
        (Guest { room: self.clone(), number }, cut)
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// Has it begun to ask, or been answered?
    pub(super) fn is_asking(&self, asking: bool, now: Instant) {
        if let Some(place) = self.room.lock().taken.get_mut(&self.number) {
            place.asking = asking;
            place.since = now;
        }
    }

    /// For whoever answers its questions.
    pub(super) fn served(&self) -> Served {
        Served { room: self.room.clone(), number: self.number }
    }
}

impl Served {
    /// Its question came, until the answer is there and the guard is dropped.
    pub(super) fn begin(&self) -> impl Drop + use<> {
        self.set(true);
        Answering(self.clone())
    }

    fn set(&self, served: bool) {
        if let Some(place) = self.room.lock().taken.get_mut(&self.number) {
            place.served = served;
        }
    }
}

struct Answering(Served);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.room.lock().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_goes_first_and_then_the_one_that_has_asked_for_longest() {
        let room = Room::default();
        let mut now = Instant::now();
        let mut guests = Vec::new();
        for number in 0..MAX_CONNECTIONS {
            let (guest, cut) = room.enter(now);
            guest.is_asking(number != 5 && number != 7, now);
            guests.push((guest, cut));
            now += Duration::from_millis(100);
        }
        let gone = |guests: &[(Guest, CancellationToken)]| -> Vec<usize> {
            let cut = guests.iter().enumerate().filter(|(_, (_, cut))| cut.is_cancelled());
            cut.map(|(number, _)| number).collect()
        };
        guests[7].0.is_asking(false, now);
        now += JUST_CAME;
        guests.push(room.enter(now));
        assert_eq!(gone(&guests), [5], "the one that has been idle for longest");
        guests.push(room.enter(now));
        assert_eq!(gone(&guests), [5, 7], "the other idle one, though others have asked for longer");
        guests.push(room.enter(now));
        assert_eq!(gone(&guests), [0, 5, 7], "one that asks, and not those that just came");
        drop(guests.remove(1));
        guests.push(room.enter(now));
        assert_eq!(gone(&guests).len(), 3, "a place that was given back is taken first");
    }

    #[test]
    fn whose_question_is_being_answered_is_not_cut_until_there_are_far_too_many() {
        let room = Room::default();
        let now = Instant::now();
        let come = || {
            let (guest, cut) = room.enter(now);
            let answering = guest.served().begin();
            (guest, cut, answering)
        };
        let guests: Vec<_> = (0..MAX_SERVED).map(|_| come()).collect();
        assert!(guests.iter().all(|(_, cut, _)| !cut.is_cancelled()));
        let (idle, cut) = room.enter(now);
        assert_eq!(guests.iter().filter(|(_, cut, _)| cut.is_cancelled()).count(), 1, "one too many");
        let another = room.enter(now);
        assert!(cut.is_cancelled(), "one that asks nothing goes before any of them");
        drop((idle, another));
        let mut guests = guests;
        let (guest, cut, answering) = guests.remove(1);
        drop(answering);
        let _last = room.enter(now);
        let _one_more = room.enter(now);
        assert!(cut.is_cancelled(), "answered, it is one like any other");
        drop(guest);
    }
}
