//! Where a layer takes its random numbers from: the system, unless the user has set a seed.

use std::convert::Infallible;
use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng, TryRng};

/// The seed of a layer. Unset by default: everything that is made of it is then random.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seed(Option<u64>);

/// The keyed hash of the standard library, with a key that a seed can set.
#[derive(Clone, Debug)]
pub(crate) enum HashState {
    Random(RandomState),
    Seeded(u64),
}

/// A generator under a lock, for numbers that are seldom drawn.
#[derive(Debug)]
pub(crate) struct SharedRng(Mutex<SmallRng>);

impl Seed {
    pub(crate) fn of(seed: u64) -> Self {
        Self(Some(seed))
    }

    /// The seed for one purpose, so that two that are made of one seed have nothing in common.
    pub(crate) fn split(self, purpose: &str) -> Self {
        Self(self.0.map(|seed| HashState::Seeded(seed).hash_one(purpose)))
    }

    pub(crate) fn rng(self) -> SmallRng {
        SmallRng::seed_from_u64(self.hash_state().hash_one(()))
    }

    pub(crate) fn hash_state(self) -> HashState {
        self.0.map_or_else(|| HashState::Random(RandomState::new()), HashState::Seeded)
    }
}

impl BuildHasher for HashState {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        match self {
            Self::Random(state) => state.build_hasher(),
            Self::Seeded(seed) => {
                let mut hasher = DefaultHasher::new();
                hasher.write_u64(*seed);
                hasher
            }
        }
    }
}

impl SharedRng {
    pub(crate) fn new(seed: Seed) -> Self {
        Self(seed.rng().into())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, SmallRng> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds the lock for a number at a time, so that code of the user can run between two.
impl TryRng for &SharedRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.lock().next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.lock().next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.lock().fill_bytes(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    fn draws(seed: Seed) -> [u64; 4] {
        let rng = SharedRng::new(seed);
        [(); 4].map(|()| rng.lock().random())
    }

    #[test]
    fn equal_seeds_draw_alike_and_no_others_do() {
        assert_eq!(draws(Seed::of(7)), draws(Seed::of(7)));
        assert_ne!(draws(Seed::of(7)), draws(Seed::of(8)));
        assert_eq!(draws(Seed::of(7).split("one")), draws(Seed::of(7).split("one")));
        assert_ne!(draws(Seed::of(7).split("one")), draws(Seed::of(7).split("two")));
        assert_ne!(draws(Seed::default()), draws(Seed::default()));
        assert_ne!(draws(Seed::default().split("one")), draws(Seed::default().split("one")));
    }

    #[test]
    fn equal_seeds_hash_alike_and_no_others_do() {
        let hash = |seed: Seed| seed.hash_state().hash_one("tenant-7");
        assert_eq!(hash(Seed::of(7)), hash(Seed::of(7)));
        assert_ne!(hash(Seed::of(7)), hash(Seed::of(8)));
        assert_ne!(hash(Seed::default()), hash(Seed::default()));
    }
}
