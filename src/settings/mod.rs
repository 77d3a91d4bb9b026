//! What the settings of all layers have in common.

pub(crate) mod append_only;
pub(crate) mod changes;
pub(crate) mod invalid_setting;
