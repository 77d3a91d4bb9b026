use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::breaker::CircuitBreaker;

/// Names one breaker on the page, as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::status_page) struct Id(u64);

/// Makes the ids of one page. Its hash is keyed at random, so that an id shows nothing of the key and cannot be
/// guessed.
#[derive(Debug, Default)]
pub(super) struct Ids(RandomState);

impl Ids {
    /// The address differs from that of every other breaker that exists now, and the rest from that of a breaker that
    /// was there before. Labels alone would not do: those of long keys can be equal.
    pub(super) fn of(&self, layer: usize, breaker: &CircuitBreaker, key_hash: u32) -> Id {
        Id(self.0.hash_one((layer, breaker.address(), breaker.partition(), key_hash)))
    }
}

impl Id {
    pub(in crate::status_page) fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Id {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let id = u64::from_str_radix(text, 16).map(Self).map_err(drop)?;
        // The number may also be written with a sign, in capitals or in fewer digits.
        if id.to_string() == text { Ok(id) } else { Err(()) }
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_in_its_one_form() {
        let breaker = CircuitBreaker::builder().build();
        let [one, two] = [Ids::default(), Ids::default()].map(|ids| ids.of(0, &breaker, 7));
        assert_ne!(one, two);
        assert_eq!(one.to_string().parse(), Ok(one));
        assert_eq!(Id(0xab).to_string(), "00000000000000ab");
        for text in ["", "ab", "00000000000000AB", "+0000000000000ab", "00000000000000ab0", "00000000000000zz"] {
            assert_eq!(text.parse::<Id>(), Err(()), "{text}");
        }
    }
}
