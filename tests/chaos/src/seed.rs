//! Numbers from a seed, the same for ever: the sequence of SplitMix64 depends on no crate's version.

use uuid::Uuid;

/// A generator.
#[derive(Clone, Debug)]
pub struct Seed(u64);

impl Seed {
    /// The generator of one purpose (`stream`) of a run.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut seed = Self(seed ^ stream.wrapping_mul(0xa076_1d64_78bd_642f));
        seed.number();
        seed
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.number() % bound).unwrap_or(0)
    }

    /// A number from `least` to `most`, both included.
    pub fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.below(most - least + 1)
    }

    /// An id.
    pub fn id(&mut self) -> Uuid {
        let bits = u128::from(self.number()) << 64 | u128::from(self.number());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }

    /// One of these; nothing where there is none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_for_ever() {
        let mut seed = Seed::new(1, 2);
        let numbers: Vec<u64> = (0..3).map(|_| seed.number()).collect();
        let mut again = Seed::new(1, 2);
        assert_eq!(numbers, (0..3).map(|_| again.number()).collect::<Vec<_>>());
        assert_ne!(numbers, (0..3).map(|_| Seed::new(1, 3).number()).collect::<Vec<_>>());
        assert!((0..100).all(|_| (3..=5).contains(&seed.between(3, 5))));
    }
}
