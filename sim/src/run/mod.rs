//! One run: who calls when, the stacks of all processes, and what is counted meanwhile.

pub(crate) mod fleet;
pub(crate) mod ledger;
pub(crate) mod load;
pub(crate) mod process;
pub(crate) mod schedule;
pub(crate) mod simulate;
pub(crate) mod tier;
