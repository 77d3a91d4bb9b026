use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use papaya::Equivalent;

use super::hash::{Digest, Hashed, KeyedHash};

/// The entry of one key in the map.
pub(crate) struct Slot<K, Node> {
    hash: u32,
    /// Index in the ring. Written and read under the lock.
    place: AtomicU32,
    entry: Entry<K, Node>,
}

/// A key as it is kept, and its node: weak, because the map drops an entry late. The ring keeps the node.
enum Entry<K, Node> {
    Whole(K, Weak<Node>),
    // Boxed, because most keys are short.
    Digest(Box<(Digest, Weak<Node>)>),
}

/// Finds the slot of a key.
pub(crate) struct ByKey<'a, Q: ?Sized> {
    pub(crate) key: &'a Q,
    pub(crate) hashed: Hashed,
}

/// Finds the slot of a node, without asking the key.
pub(crate) struct ByNode<Node> {
    pub(crate) hash: u32,
    pub(crate) node: *const Node,
}

/// The map need not hash what has been hashed.
#[derive(Clone, Debug)]
pub(crate) struct AsHashed;

/// The hasher of [`AsHashed`].
pub(crate) struct Spread(u64);

impl<K: Hash, Node> Slot<K, Node> {
    /// Makes the slot of a key that has no node yet.
    pub(crate) fn new(key: K, hash: &KeyedHash) -> Self {
        let Hashed { hash, digest } = hash.of(&key);
        let entry = match digest {
            None => Entry::Whole(key, Weak::new()),
            Some(digest) => Entry::Digest(Box::new((digest, Weak::new()))),
        };
        Self { hash, place: AtomicU32::new(0), entry }
    }
}

impl<K, Node> Slot<K, Node> {
    pub(crate) fn hash(&self) -> u32 {
        self.hash
    }

    /// Returns the key, unless it was too long to be kept.
    pub(crate) fn key(&self) -> Option<&K> {
        match &self.entry {
            Entry::Whole(key, _) => Some(key),
            Entry::Digest(_) => None,
        }
    }

    #[inline]
    pub(crate) fn node(&self) -> &Weak<Node> {
        match &self.entry {
            Entry::Whole(_, node) => node,
            Entry::Digest(long) => &long.1,
        }
    }

    pub(crate) fn place(&self) -> usize {
        self.place.load(Ordering::Relaxed) as usize
    }

    pub(crate) fn set_place(&self, place: usize) {
        self.place.store(place as u32, Ordering::Relaxed);
    }

    pub(crate) fn by_node(&self) -> ByNode<Node> {
        ByNode { hash: self.hash, node: self.node().as_ptr() }
    }

    /// The slot of the same key for this node, at this place of the ring.
    pub(crate) fn with(self, new: &Arc<Node>, place: usize) -> Self {
        let Self { hash, mut entry, .. } = self;
        match &mut entry {
            Entry::Whole(_, node) => *node = Arc::downgrade(new),
            Entry::Digest(long) => long.1 = Arc::downgrade(new),
        }
        Self { hash, place: AtomicU32::new(place as u32), entry }
    }
}

/// A slot of the same key, for another node.
impl<K: Clone, Node> Clone for Slot<K, Node> {
    fn clone(&self) -> Self {
        let entry = match &self.entry {
            Entry::Whole(key, node) => Entry::Whole(key.clone(), node.clone()),
            Entry::Digest(long) => Entry::Digest(long.clone()),
        };
        Self { hash: self.hash, place: AtomicU32::new(0), entry }
    }
}

impl<K: PartialEq, Node> PartialEq for Slot<K, Node> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
            && match (&self.entry, &other.entry) {
                (Entry::Whole(one, _), Entry::Whole(other, _)) => one == other,
                (Entry::Digest(one), Entry::Digest(other)) => one.0 == other.0,
                (Entry::Whole(..), Entry::Digest(_)) | (Entry::Digest(_), Entry::Whole(..)) => false,
            }
    }
}

impl<K: Eq, Node> Eq for Slot<K, Node> {}

impl<Q: Equivalent<K> + ?Sized, K, Node> Equivalent<Slot<K, Node>> for ByKey<'_, Q> {
    #[inline]
    fn equivalent(&self, slot: &Slot<K, Node>) -> bool {
        self.hashed.hash == slot.hash
            && match (&slot.entry, &self.hashed.digest) {
                (Entry::Whole(key, _), None) => self.key.equivalent(key),
                (Entry::Digest(long), Some(digest)) => long.0 == *digest,
                (Entry::Whole(..), Some(_)) | (Entry::Digest(_), None) => false,
            }
    }
}

impl<K, Node> Equivalent<Slot<K, Node>> for ByNode<Node> {
    fn equivalent(&self, slot: &Slot<K, Node>) -> bool {
        self.node == slot.node().as_ptr()
    }
}

impl<K, Node> Hash for Slot<K, Node> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.hash);
    }
}

impl<Q: ?Sized> Hash for ByKey<'_, Q> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.hashed.hash);
    }
}

impl<Node> Hash for ByNode<Node> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.hash);
    }
}

impl BuildHasher for AsHashed {
    type Hasher = Spread;

    #[inline]
    fn build_hasher(&self) -> Spread {
        Spread(0)
    }
}

impl Hasher for Spread {
    /// All that is hashed are slots and what finds them, by one number.
    fn write(&mut self, _: &[u8]) {
        debug_assert!(false, "hashes a number");
    }

    /// The map uses the lowest bits and the highest ones.
    #[inline]
    fn write_u32(&mut self, hash: u32) {
        self.0 = u64::from(hash) << u32::BITS | u64::from(hash);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}
