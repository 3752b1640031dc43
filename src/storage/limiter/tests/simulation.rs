//! A server and its callers in virtual time: events in order, no clock, no threads, the same figures every time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::storage::limiter::Ended;
use crate::storage::limiter::control::Control;

pub(super) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What becomes of a request that starts at an instant, when so many are in flight with it.
pub(super) trait Server {
    fn answer(&mut self, now: Duration, in_flight: usize) -> (Duration, Ended);
}

impl<F: FnMut(Duration, usize) -> (Duration, Ended)> Server for F {
    fn answer(&mut self, now: Duration, in_flight: usize) -> (Duration, Ended) {
        self(now, in_flight)
    }
}

/// Works on `workers` requests at once, the others queue: more in flight bring no more throughput.
pub(super) struct Queueing {
    pub(super) workers: usize,
    /// How long a worker needs, on average, and by how much that varies: 0 to 1.
    pub(super) service: Duration,
    pub(super) spread: f64,
    free: BinaryHeap<Reverse<Duration>>,
    random: Random,
}

impl Queueing {
    pub(super) fn new(workers: usize, service: Duration, spread: f64) -> Self {
        Self { workers, service, spread, free: BinaryHeap::new(), random: Random(1) }
    }

    /// Requests per second that it can do.
    pub(super) fn capacity(&self) -> f64 {
        f64::from(u32::try_from(self.workers).unwrap()) / self.service.as_secs_f64()
    }
}

impl Server for Queueing {
    fn answer(&mut self, now: Duration, _: usize) -> (Duration, Ended) {
        // Workers that came or went since the last request.
        while self.free.len() < self.workers {
            self.free.push(Reverse(now));
        }
        while self.free.len() > self.workers {
            self.free.pop();
        }
        let Reverse(free) = self.free.pop().unwrap();
        let factor = 1.0 + self.spread * (2.0 * self.random.next() - 1.0);
        let done = free.max(now) + self.service.mul_f64(factor);
        self.free.push(Reverse(done));
        (done.saturating_sub(now), Ended::Answered)
    }
}

/// Xorshift (Marsaglia 2003): numbers from 0 to 1.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        f64::from(u32::try_from(self.0 >> 32).unwrap()) / f64::from(u32::MAX)
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Request {
    ends: Duration,
    started: Duration,
    overloaded: bool,
}

/// Callers that always want something, behind a limit.
pub(super) struct Simulation {
    pub(super) control: Control,
    /// The limit stays what it is.
    pub(super) frozen: bool,
    callers: usize,
    origin: Instant,
    now: Duration,
    in_flight: BinaryHeap<Reverse<Request>>,
}

/// What happened in a stretch of time.
#[derive(Debug)]
pub(super) struct Figures {
    /// Answers per second that were no refusals.
    pub(super) rate: f64,
    pub(super) lowest: usize,
    pub(super) highest: usize,
    pub(super) last: usize,
    /// When the limit was first at its highest, from the beginning of the stretch.
    pub(super) highest_after: Duration,
}

impl Simulation {
    pub(super) fn new(max: usize, callers: usize) -> Self {
        Self {
            control: Control::new(max),
            frozen: false,
            callers,
            origin: Instant::now(),
            now: Duration::ZERO,
            in_flight: BinaryHeap::new(),
        }
    }

    pub(super) fn run(&mut self, stretch: Duration, server: &mut impl Server) -> Figures {
        let (begin, limit) = (self.now, self.control.limit());
        let (mut accepted, mut figures) = (
            0_u32,
            Figures { rate: 0.0, lowest: limit, highest: limit, last: limit, highest_after: Duration::ZERO },
        );
        loop {
            while self.in_flight.len() < self.control.limit().min(self.callers) {
                let (takes, ended) = server.answer(self.now, self.in_flight.len() + 1);
                self.in_flight.push(Reverse(Request {
                    ends: self.now + takes,
                    started: self.now,
                    overloaded: ended == Ended::Overloaded,
                }));
            }
            if self.in_flight.peek().unwrap().0.ends > begin + stretch {
                break;
            }
            let Reverse(request) = self.in_flight.pop().unwrap();
            self.now = request.ends;
            accepted += u32::from(!request.overloaded);
            let ended = match request.overloaded {
                _ if self.frozen => Ended::Ignored,
                true => Ended::Overloaded,
                false => Ended::Answered,
            };
            let limit = self.control.ended(
                self.origin + self.now,
                self.origin + request.started,
                ended,
                self.callers,
            );
            if limit > figures.highest {
                (figures.highest, figures.highest_after) = (limit, self.now.saturating_sub(begin));
            }
            (figures.lowest, figures.last) = (figures.lowest.min(limit), limit);
        }
        self.now = begin + stretch;
        Figures { rate: f64::from(accepted) / stretch.as_secs_f64(), ..figures }
    }
}
