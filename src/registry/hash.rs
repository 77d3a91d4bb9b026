use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

use crate::seed::{HashState, Seed};

/// Hashes keys, which come from callers, with seeds of its own: random and new in every registry, unless the user sets
/// one.
///
/// The hash that finds a key is fast, and withstands keys that were made to collide without knowledge of its seeds or
/// its values. Neither leaves the registry: what shows outside comes from the keyed hash of the standard library.
pub(crate) struct KeyedHash {
    seed: u64,
    shared: SharedSeed,
    strong: [HashState; 2],
}

/// The hash of a key, and its digest if it is long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hashed {
    /// 32 bits, which tell apart enough keys and take little room in the map and in the ring.
    pub(crate) hash: u32,
    /// Stands for a key that is longer than [`LONGEST`].
    pub(crate) digest: Option<Digest>,
}

/// 128 bits of two keyed hashes. A long key gets the breaker of another given one with a probability of 2^-128, and
/// that of any of 65,536 others with 2^-112.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest([u64; 2]);

/// Bytes, and lengths and variants. A key that feeds more of either to its hash is kept as its digest.
pub(crate) const LONGEST: usize = 256;

struct Measuring<'a> {
    inner: FoldHasher<'a>,
    len: usize,
    words: usize,
}

impl KeyedHash {
    pub(crate) fn new(seed: Seed) -> Self {
        let state = |purpose| seed.split(purpose).hash_state();
        // Not the seeds of foldhash, which come from addresses and the time of day.
        let number = |purpose| state(purpose).hash_one(());
        Self {
            seed: number("seed"),
            shared: SharedSeed::from_u64(number("shared seed")),
            strong: ["high half", "low half"].map(state),
        }
    }

    #[inline]
    pub(crate) fn of<Q: Hash + ?Sized>(&self, key: &Q) -> Hashed {
        let mut hasher = Measuring { inner: FoldHasher::with_seed(self.seed, &self.shared), len: 0, words: 0 };
        key.hash(&mut hasher);
        let digest = (hasher.len > LONGEST || hasher.words > LONGEST).then(|| self.digest(key));
        Hashed { hash: hasher.inner.finish() as u32, digest }
    }

    /// Chooses one of so many. Shows outside, in labels.
    pub(crate) fn choose(&self, hash: u32, of: usize) -> usize {
        self.strong[0].hash_one(hash) as usize % of
    }

    #[cold]
    fn digest<Q: Hash + ?Sized>(&self, key: &Q) -> Digest {
        Digest([self.strong[0].hash_one(key), self.strong[1].hash_one(key)])
    }
}

macro_rules! write {
    ($($write:ident: $number:ty),*) => {$(
        #[inline]
        fn $write(&mut self, number: $number) {
            self.len += size_of::<$number>();
            self.inner.$write(number);
        }
    )*};
}

impl Hasher for Measuring<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        self.inner.write(bytes);
    }

    write!(write_u8: u8, write_u16: u16, write_u32: u32, write_u64: u64, write_u128: u128);

    /// Lengths and variants, which are no part of what a key takes unless they are many; and numbers, which look the
    /// same.
    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.words += 1;
        self.inner.write_usize(number);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.inner.finish()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::uri::Authority;

    use super::*;

    #[test]
    fn equal_keys_hash_alike() {
        let hash = KeyedHash::new(Seed::default());
        for len in [1, 16, 17, 255, 256, 257, 8_192] {
            let text = "Ab".repeat(len / 2 + 1)[..len].to_owned();
            assert_eq!(hash.of(&text), hash.of(text.as_str()), "{len}");
            let authority = |text: String| hash.of(&text.parse::<Authority>().unwrap());
            assert_eq!(authority(text.to_ascii_lowercase()), authority(text.to_ascii_uppercase()), "{len}");
        }
    }

    #[test]
    fn a_key_is_long_whatever_its_type() {
        let hash = KeyedHash::new(Seed::default());
        let is_long = |key: &dyn Fn(&KeyedHash) -> Hashed| key(&hash).digest.is_some();
        for (len, long) in [(250, false), (257, true)] {
            let text = "a".repeat(len);
            let header = HeaderValue::from_str(&text).unwrap();
            assert_eq!(is_long(&|hash| hash.of(&header)), long);
            assert_eq!(is_long(&|hash| hash.of(&text.parse::<Authority>().unwrap())), long);
            assert_eq!(is_long(&|hash| hash.of(&bytes::Bytes::from(text.clone()))), long);
            assert_eq!(is_long(&|hash| hash.of(&std::sync::Arc::<str>::from(&*text))), long);
            assert_eq!(is_long(&|hash| hash.of(&vec![0_u8; len])), long);
            assert_eq!(is_long(&|hash| hash.of(&Some((7_u32, &text[4..])))), long);
        }
        assert!(!is_long(&|hash| hash.of(&[7_u64; 32])));
    }

    #[test]
    fn a_key_of_many_numbers_or_variants_is_long() {
        #[derive(Hash)]
        enum Part {
            Even,
            Odd,
        }
        let hash = KeyedHash::new(Seed::default());
        let parts = |len| (0..len).map(|part| if part % 2 == 0 { Part::Even } else { Part::Odd }).collect::<Vec<_>>();
        // The length of a vector is a number too.
        for (len, long) in [(0, false), (127, false), (255, false), (256, true), (1_000, true)] {
            assert_eq!(hash.of(&parts(len)).digest.is_some(), long, "{len} variants");
            assert_eq!(hash.of(&vec![(7_usize,); len]).digest.is_some(), long, "{len} numbers");
        }
        for (len, long) in [(127, false), (128, true), (1_000, true)] {
            assert_eq!(hash.of(&vec![(7_usize, 8_usize); len]).digest.is_some(), long, "{len} pairs");
        }
        assert_eq!(hash.of(&parts(1_000)), hash.of(&parts(1_000)));
        assert_ne!(hash.of(&parts(1_000)).digest, hash.of(&parts(1_001)).digest);
    }

    #[test]
    fn long_keys_that_differ_have_digests_that_differ() {
        let hash = KeyedHash::new(Seed::default());
        let (one, other) = ("a".repeat(8_192), "a".repeat(8_191) + "b");
        assert_ne!(hash.of(&one).digest, hash.of(&other).digest);
        let Some(Digest([high, low])) = hash.of(&one).digest else { panic!("is long") };
        assert_ne!(high, low);
    }

    #[test]
    fn every_registry_has_a_key_of_its_own() {
        let of = |text: &str| KeyedHash::new(Seed::default()).of(text);
        assert_ne!(of("tenant-7"), of("tenant-7"));
        assert_ne!(of(&"a".repeat(300)).digest, of(&"a".repeat(300)).digest);
    }
}
