use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};

/// The keyed hash of the standard library, which keys made to collide do not flood, fed in larger pieces.
///
/// An `Authority` hands over its bytes one by one, each of which would cost as much as eight at once.
#[derive(Clone, Debug)]
pub(crate) struct KeyedHash(RandomState);

pub(crate) struct Gathering {
    inner: DefaultHasher,
    pieces: [u8; PIECES],
    len: usize,
}

const PIECES: usize = 64;
const LARGE: usize = 8;

impl KeyedHash {
    pub(crate) fn new() -> Self {
        Self(RandomState::new())
    }
}

impl BuildHasher for KeyedHash {
    type Hasher = Gathering;

    #[inline]
    fn build_hasher(&self) -> Gathering {
        Gathering { inner: self.0.build_hasher(), pieces: [0; PIECES], len: 0 }
    }
}

impl Gathering {
    fn pass_on(&mut self) {
        self.inner.write(&self.pieces[..self.len]);
        self.len = 0;
    }
}

impl Hasher for Gathering {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        if self.len + bytes.len() > PIECES {
            self.pass_on();
        }
        // What comes in one piece need not be gathered.
        if self.len == 0 && bytes.len() >= LARGE {
            self.inner.write(bytes);
        } else {
            self.pieces[self.len..self.len + bytes.len()].copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    #[inline]
    fn write_u8(&mut self, byte: u8) {
        if self.len == PIECES {
            self.pass_on();
        }
        self.pieces[self.len] = byte;
        self.len += 1;
    }

    #[inline]
    fn finish(&self) -> u64 {
        if self.len == 0 {
            return self.inner.finish();
        }
        let mut inner = self.inner.clone();
        inner.write(&self.pieces[..self.len]);
        inner.finish()
    }
}

#[cfg(test)]
mod tests {
    use http::uri::Authority;

    use super::*;

    #[test]
    fn equal_keys_hash_alike_in_whatever_pieces_they_come() {
        let hash = KeyedHash::new();
        for len in [0, 1, 63, 64, 65, 127, 128, 129, 1_000] {
            let name = "a".repeat(len);
            let in_pieces = {
                let mut hasher = hash.build_hasher();
                name.bytes().for_each(|byte| hasher.write_u8(byte));
                hasher.finish()
            };
            let at_once = {
                let mut hasher = hash.build_hasher();
                hasher.write(name.as_bytes());
                hasher.finish()
            };
            assert_eq!(in_pieces, at_once, "{len}");
            // The first piece so short that it is gathered, and the next so long that it need not be.
            for first in [1, LARGE - 1, LARGE, PIECES].map(|first| first.min(len)) {
                let mixed = format!("{}{}", "b".repeat(first), &name[first..]);
                let mut hasher = hash.build_hasher();
                hasher.write(&mixed.as_bytes()[..first]);
                hasher.write(&mixed.as_bytes()[first..]);
                let mut whole = hash.build_hasher();
                whole.write(mixed.as_bytes());
                assert_eq!(hasher.finish(), whole.finish(), "{first} of {len}");
            }
        }
        let authority = |text: &str| hash.hash_one(text.parse::<Authority>().unwrap());
        assert_eq!(authority("One.Example:80"), authority("one.example:80"));
        assert_ne!(authority("one.example:80"), authority("one.example:81"));
    }

    #[test]
    fn every_registry_has_a_key_of_its_own() {
        assert_ne!(KeyedHash::new().hash_one("tenant-7"), KeyedHash::new().hash_one("tenant-7"));
    }
}
