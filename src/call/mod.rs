//! What travels with a call: from layer to layer, in its request, or on its thread.

pub(crate) mod attempt;
pub(crate) mod attempt_span;
pub(crate) mod cut;
pub(crate) mod deadline;
