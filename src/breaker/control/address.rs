use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

use crate::breaker::core::node::Node;

/// The address of a breaker. While it is kept, no other breaker gets it, even after this one is evicted.
#[derive(Clone, Debug)]
pub(crate) struct Address(Weak<Node>);

impl Address {
    pub(super) fn of(node: &Arc<Node>) -> Self {
        Self(Arc::downgrade(node))
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_ptr().hash(state);
    }
}
