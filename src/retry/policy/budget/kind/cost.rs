/// What a granted retry took from its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::retry) struct Cost(pub(in crate::retry) u64);
