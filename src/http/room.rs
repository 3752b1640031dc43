//! Who is connected, and who goes first where there are too many: whoever asks a question and reads the answer gets in,
//! however many others hold a connection and do nothing with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Most connections at once; for one more, another one is cut.
pub(super) const MAX_CONNECTIONS: usize = 64;
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
    cut: CancellationToken,
}

/// One connection's place, given back when it ends.
pub(super) struct Guest {
    room: Room,
    number: u64,
}

impl Room {
    /// A place, and what is cancelled once others need it. Nobody is turned away: it is made by cutting the connection
    /// that has been idle for longest, or where all of them ask, the one that has asked for longest.
    pub(super) fn enter(&self, now: Instant) -> (Guest, CancellationToken) {
        let mut places = self.lock();
        while places.taken.len() >= MAX_CONNECTIONS {
            let is_at_work = |place: &Place| place.asking || now.duration_since(place.since) < JUST_CAME;
            let first = places.taken.iter().min_by_key(|(_, place)| (is_at_work(place), place.since));
            let Some(first) = first.map(|(number, _)| *number) else { break };
            if let Some(place) = places.taken.remove(&first) {
                place.cut.cancel();
            }
        }
        let (number, cut) = (places.next, CancellationToken::new());
        places.next += 1;
        places.taken.insert(number, Place { since: now, asking: false, cut: cut.clone() });
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
}
