use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs foreign code and drops its panic, which the panic hook has reported: neither the other wakers and subscribers
/// nor the call that caused the news pay for it.
pub(crate) fn isolated(run: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(run));
}
