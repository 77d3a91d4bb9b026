use std::sync::Arc;

/// The nodes of all keys, and the hand that goes round among them to find those that are not in use.
///
/// It grows by pieces, so that no insertion pays for moving the others.
#[derive(Debug)]
pub(crate) struct Ring<Node> {
    pieces: Vec<Piece<Node>>,
    hand: usize,
    /// How many have been looked at since one was evicted.
    pub(crate) fruitless: usize,
}

#[derive(Debug)]
struct Piece<Node> {
    nodes: Vec<Held<Node>>,
    /// Those of their keys, which find them in the map.
    hashes: Vec<u32>,
}

/// `None` while an eviction is being decided.
type Held<Node> = Option<Arc<Node>>;

const PIECE: usize = 512;

impl<Node> Ring<Node> {
    pub(crate) fn len(&self) -> usize {
        self.pieces.last().map_or(0, |last| (self.pieces.len() - 1) * PIECE + last.nodes.len())
    }

    pub(crate) fn get_mut(&mut self, place: usize) -> Option<(&mut Held<Node>, u32)> {
        let Piece { nodes, hashes } = self.pieces.get_mut(place / PIECE)?;
        Some((nodes.get_mut(place % PIECE)?, *hashes.get(place % PIECE)?))
    }

    /// Returns the nodes of these places that are not being evicted, with the hashes of their keys.
    pub(crate) fn nodes(&self, places: std::ops::Range<usize>) -> impl Iterator<Item = (Arc<Node>, u32)> {
        places.filter_map(|place| {
            let Piece { nodes, hashes } = self.pieces.get(place / PIECE)?;
            Some((nodes.get(place % PIECE)?.clone()?, *hashes.get(place % PIECE)?))
        })
    }

    /// Adds a node at the last place.
    pub(crate) fn push(&mut self, node: Held<Node>, hash: u32) {
        if self.len() % PIECE == 0 {
            self.pieces.push(Piece { nodes: Vec::with_capacity(PIECE), hashes: Vec::with_capacity(PIECE) });
        }
        if let Some(last) = self.pieces.last_mut() {
            last.nodes.push(node);
            last.hashes.push(hash);
        }
    }

    /// Puts a node back at its place, where its eviction was being decided.
    pub(crate) fn put_back(&mut self, place: usize, node: Arc<Node>) {
        if let Some((held, _)) = self.get_mut(place) {
            *held = Some(node);
        }
    }

    /// Takes a node out. The last one moves to its place.
    pub(crate) fn swap_remove(&mut self, place: usize) -> Held<Node> {
        let last = self.pieces.last_mut()?;
        let (node, hash) = (last.nodes.pop()?, last.hashes.pop()?);
        if last.nodes.is_empty() {
            self.pieces.pop();
        }
        match self.pieces.get_mut(place / PIECE) {
            Some(Piece { nodes, hashes }) if place % PIECE < nodes.len() => {
                hashes[place % PIECE] = hash;
                std::mem::replace(&mut nodes[place % PIECE], node)
            }
            _ => node,
        }
    }

    /// Returns the place that the hand points to, and moves the hand on.
    pub(crate) fn next(&mut self) -> usize {
        let place = if self.hand < self.len() { self.hand } else { 0 };
        self.hand = place + 1;
        place
    }
}

impl<Node> Default for Ring<Node> {
    fn default() -> Self {
        Self { pieces: Vec::new(), hand: 0, fruitless: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_moves_to_the_place_of_what_is_taken_out() {
        let mut ring = Ring::<()>::default();
        let nodes = 2 * PIECE + 1;
        for hash in 0..nodes {
            assert_eq!(ring.len(), hash);
            ring.push(None, hash as u32);
        }
        let mut left = |place| {
            ring.swap_remove(place);
            (ring.len(), ring.get_mut(place).map(|(_, hash)| hash as usize))
        };
        assert_eq!(left(7), (nodes - 1, Some(nodes - 1)));
        assert_eq!(left(7), (nodes - 2, Some(nodes - 2)));
        assert_eq!(left(nodes - 3), (nodes - 3, None));
        while ring.len() > 0 {
            ring.swap_remove(0);
        }
        assert_eq!((ring.pieces.len(), ring.next()), (0, 0));
    }

    #[test]
    fn the_hand_goes_round() {
        let mut ring = Ring::<()>::default();
        (0..3).for_each(|hash| ring.push(None, hash));
        assert_eq!([(); 7].map(|()| ring.next()), [0, 1, 2, 0, 1, 2, 0]);
    }
}
