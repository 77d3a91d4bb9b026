use std::ops::Deref;
use std::sync::Arc;

use super::Node;
use crate::breaker::control::circuit_open::Named;
use crate::breaker::control::trip::Trip;
use crate::breaker::core::trip::TripInEra;
use crate::breaker::core::window::lane;

/// A counted reference to a node, held by a call.
#[derive(Debug)]
pub(crate) enum NodeRef {
    Node(Arc<Node>),
    Lane(Arc<Lane>),
}

/// References to the node that all calls of a layer share, one for each lane of threads: otherwise all threads write
/// one reference count.
#[derive(Debug)]
pub(crate) struct Lanes([Arc<Lane>; lane::COUNT]);

#[derive(Debug)]
pub(crate) struct Lane {
    node: Arc<Node>,
    /// Keeps the reference counts of two lanes out of one cache line. Processors fetch those in pairs.
    _apart: [u64; 13],
}

impl NodeRef {
    /// What an error shows of the node. Takes no further reference.
    pub(crate) fn into_named(self) -> Arc<dyn Named> {
        match self {
            Self::Node(node) => node,
            Self::Lane(lane) => lane,
        }
    }
}

impl Named for Lane {
    fn name(&self) -> &str {
        self.node.name()
    }

    fn label(&self) -> &str {
        self.node.label()
    }

    fn is_partitioned(&self) -> bool {
        Named::is_partitioned(&*self.node)
    }

    fn trip(&self, trip: TripInEra) -> Option<Trip> {
        Named::trip(&*self.node, trip)
    }
}

impl Deref for NodeRef {
    type Target = Arc<Node>;

    #[inline(always)]
    fn deref(&self) -> &Arc<Node> {
        match self {
            Self::Node(node) => node,
            Self::Lane(lane) => &lane.node,
        }
    }
}

impl Lanes {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self(std::array::from_fn(|_| Arc::new(Lane { node: node.clone(), _apart: [0; 13] })))
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.0[0].node
    }

    /// A reference through the lane of this thread.
    #[inline(always)]
    pub(crate) fn node_ref(&self) -> NodeRef {
        NodeRef::Lane(self.0[lane::of_thread()].clone())
    }
}
