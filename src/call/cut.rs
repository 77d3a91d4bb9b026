//! The exchange between the retry layer and the layers inside it while a time limit cuts an attempt.
//!
//! Cutting an attempt means dropping its future. The layers inside must then distinguish an expired time limit from a
//! caller who left, and the retry layer must learn whether the request was handed to the client. A thread-local carries
//! both. It is set only while the future is being dropped, so it works for requests of every type; a mark in the
//! extensions would serve HTTP alone, and in one direction alone.
//!
//! A request that still waits for readiness proves "not sent" only if it is the attempt itself. An attempt may make
//! several requests: a client follows a redirect, or fetches a token first. The retry layer marks the request of an
//! attempt in its extensions. A service claims the attempt if it is called with that mark while the retry layer calls
//! its inner service: then nothing was sent, unless a layer in between has sent a copy without the extensions. Such a
//! copy escapes the mark, so a request whose body can be cloned has none. Neither has one without extensions. Both
//! never prove that they were not sent.

use std::cell::Cell;

use http::Extensions;

/// Whether the request of an attempt was sent before the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It may have been sent, or no layer inside knows.
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
    /// Every report so far was "not sent".
    Unsent,
    /// A report was "maybe sent". It outweighs the others, because a doubled request is worse than a lost call.
    Sent,
}

thread_local! {
    // Const-initialised and without a destructor, so that it can be read while a thread exits.
    static CUT: Cell<Cut> = const { Cell::new(Cut::None) };
    // True while the retry layer calls its inner service and no service has claimed the attempt.
    static UNCLAIMED: Cell<bool> = const { Cell::new(false) };
    // True while the retry layer calls its inner service for a hedge.
    static HEDGING: Cell<bool> = const { Cell::new(false) };
}

/// In the extensions of a request that a time limit can cut: it is an attempt. Without a size, so that no extra memory
/// is allocated for it.
struct AttemptMark;

impl Clone for AttemptMark {
    /// One of the copies may be sent while the other one waits, so neither can claim the attempt.
    fn clone(&self) -> Self {
        disclaim_attempt();
        Self
    }
}

/// Marks the request of an attempt.
pub(crate) fn mark_attempt(extensions: &mut Extensions) {
    extensions.insert(AttemptMark);
}

/// Removes the mark of an outer retry layer from a request of which copies can be made.
pub(crate) fn unmark_attempt(extensions: &mut Extensions) {
    extensions.remove::<AttemptMark>();
}

/// Calls the inner service for an attempt, which a service inside may claim.
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

/// Calls the inner service for a hedge: an attempt beside another one of the same call.
pub(crate) fn begin_hedge<F>(call: impl FnOnce() -> F) -> F {
    hedging(|| begin(call))
}

/// Runs a call as part of a hedge. The first poll is one, too, because some services call a breaker only then.
pub(crate) fn hedging<T>(call: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            HEDGING.set(self.0);
        }
    }
    let _outer = Restore(HEDGING.replace(true));
    call()
}

/// Returns true while the inner service is called for a hedge.
pub(crate) fn is_hedging() -> bool {
    HEDGING.get()
}

/// Claims the attempt for a service that is called with these extensions. Returns true for the first claim alone.
#[inline]
pub(crate) fn claim_attempt(extensions: &Extensions) -> bool {
    UNCLAIMED.get() && extensions.get::<AttemptMark>().is_some() && UNCLAIMED.replace(false)
}

/// Prevents every later claim of the attempt that is being called.
pub(crate) fn disclaim_attempt() {
    UNCLAIMED.set(false);
}

/// Drops an attempt that a time limit cuts, and returns what the layers inside reported.
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

/// Returns true while an attempt is being dropped because a time limit cuts it.
pub(crate) fn is_cutting() -> bool {
    !matches!(CUT.get(), Cut::None)
}

/// Reports whether a request that is being dropped was handed to the inner service. Has no effect outside of a cut.
pub(crate) fn report(sent: Sent) {
    CUT.set(match (CUT.get(), sent) {
        (Cut::None, _) => Cut::None,
        (Cut::Silent | Cut::Unsent, Sent::No) => Cut::Unsent,
        (Cut::Sent, Sent::No) | (_, Sent::Maybe) => Cut::Sent,
    });
}

/// Restores the state of an outer cut, even if a destructor panics.
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
    fn a_cut_is_visible_only_while_it_lasts() {
        report(Sent::No);
        assert!(!is_cutting());
        cut(|| assert!(is_cutting()));
        assert!(!is_cutting());

        let panicked = std::panic::catch_unwind(|| cut(|| panic!("in a destructor")));
        assert!(panicked.is_err() && !is_cutting());
    }

    #[test]
    fn an_attempt_is_claimed_once_and_only_during_its_call() {
        let attempt = marked();
        assert!(!claim_attempt(&attempt));
        begin(|| {
            begin(|| assert!(claim_attempt(&attempt)));
            assert!(claim_attempt(&attempt) && !claim_attempt(&attempt));
        });
        let panicked = std::panic::catch_unwind(|| begin(|| panic!("in a service")));
        assert!(panicked.is_err() && !claim_attempt(&attempt));
    }

    #[test]
    fn only_the_one_request_of_an_attempt_claims_it() {
        let attempt = marked();
        begin(|| assert!(!claim_attempt(&Extensions::new()) && claim_attempt(&attempt)));
        begin(|| {
            let copy = attempt.clone();
            assert!(!claim_attempt(&attempt) && !claim_attempt(&copy));
        });
    }

    fn marked() -> Extensions {
        let mut extensions = Extensions::new();
        mark_attempt(&mut extensions);
        extensions
    }
}
