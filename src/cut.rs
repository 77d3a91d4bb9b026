//! What passes between the retry layer and the layers inside it while a time limit cuts an attempt.
//!
//! Cutting an attempt means dropping its future. The layers inside then have to know that a time limit ran out and that
//! this is not a caller who left; and the retry layer has to know whether the request was ever handed to the client. Both
//! travel in a thread-local that is set only while the future is being dropped. A mark in the request would tell the
//! former too, but only for HTTP, and could not tell the latter.
//!
//! A request that waits proves something only if it is the attempt itself. An attempt may make several requests: a client
//! follows a redirect, a body is read from another upstream. Only what is called while the retry layer calls its inner
//! service is the attempt itself: nothing of it can have been sent before.

use std::cell::Cell;

/// What became of a request whose attempt was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// No layer inside knows: it may have been sent.
    Maybe,
    /// It still waited for a service to become ready.
    No,
}

#[derive(Clone, Copy)]
enum Cut {
    /// Nothing is being cut.
    None,
    /// An attempt is being cut, and no layer inside has reported yet.
    Silent,
    /// All that reported had not sent their request.
    Unsent,
    /// One of those that reported had sent it. Outweighs the others: a second send is worse than a lost call.
    Sent,
}

thread_local! {
    // Constant and without a destructor, so that it can be read while a thread ends.
    static CUT: Cell<Cut> = const { Cell::new(Cut::None) };
    // Whether the retry layer is calling its inner service and nothing has claimed the attempt yet.
    static UNCLAIMED: Cell<bool> = const { Cell::new(false) };
}

/// Calls the inner service for an attempt.
pub(crate) fn begin<F>(call: impl FnOnce() -> F) -> F {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            UNCLAIMED.set(self.0);
        }
    }
    let _outer = Restore(UNCLAIMED.replace(true));
    call()
}

/// Whether the caller, which is being called, is all that the attempt has begun so far. True for the first caller only.
#[inline]
pub(crate) fn claim_attempt() -> bool {
    UNCLAIMED.replace(false)
}

/// Drops an attempt that a time limit cuts. Returns what the layers inside reported of its request.
pub(crate) fn cut(drop_attempt: impl FnOnce()) -> Sent {
    let outer = Restore(CUT.replace(Cut::Silent));
    drop_attempt();
    let inner = CUT.get();
    drop(outer);
    match inner {
        Cut::Unsent => Sent::No,
        Cut::None | Cut::Silent | Cut::Sent => Sent::Maybe,
    }
}

/// Whether the caller is being dropped because a time limit cuts it.
pub(crate) fn is_cutting() -> bool {
    !matches!(CUT.get(), Cut::None)
}

/// Reports whether the request of the caller, which is being dropped, was handed on. Has no effect unless it is being cut.
pub(crate) fn report(sent: Sent) {
    CUT.set(match (CUT.get(), sent) {
        (Cut::None, _) => Cut::None,
        (Cut::Silent | Cut::Unsent, Sent::No) => Cut::Unsent,
        (Cut::Sent, Sent::No) | (_, Sent::Maybe) => Cut::Sent,
    });
}

/// Restores the state of an outer cut, also if a destructor panics.
struct Restore(Cut);

impl Drop for Restore {
    fn drop(&mut self) {
        CUT.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_send_outweighs_any_number_of_unsent_requests() {
        assert_eq!(cut(|| ()), Sent::Maybe);
        assert_eq!(cut(|| report(Sent::No)), Sent::No);
        for reports in [[Sent::No, Sent::Maybe], [Sent::Maybe, Sent::No], [Sent::Maybe, Sent::Maybe]] {
            assert_eq!(cut(|| reports.into_iter().for_each(report)), Sent::Maybe, "{reports:?}");
        }
    }

    #[test]
    fn is_seen_only_while_it_lasts() {
        report(Sent::No);
        assert!(!is_cutting());
        cut(|| assert!(is_cutting()));
        assert!(!is_cutting());

        let panicked = std::panic::catch_unwind(|| cut(|| panic!("in a destructor")));
        assert!(panicked.is_err() && !is_cutting());
    }

    #[test]
    fn an_attempt_is_claimed_once_and_only_while_it_begins() {
        assert!(!claim_attempt());
        begin(|| {
            begin(|| assert!(claim_attempt()));
            assert!(claim_attempt() && !claim_attempt());
        });
        let panicked = std::panic::catch_unwind(|| begin(|| panic!("in a service")));
        assert!(panicked.is_err() && !claim_attempt());
    }
}
