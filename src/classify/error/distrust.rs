use crate::classify::{Processed, Reason, Verdict};

/// Classifiers that can be told not to believe a server that refuses a stream.
///
/// By RFC 9113 (section 8.7) a stream reset with `REFUSED_STREAM` was not acted on, so such a request is sent again, even a
/// POST. Some proxies send it for requests that the server behind them has processed: **with HAProxy 9 of 6,000 POSTs were
/// processed twice** while its backend was killed three times ([haproxy#3414], [haproxy#1495]). Behind such a proxy, set
/// `distrust_refusals` on every layer that classifies. A refused stream then counts as maybe processed: only idempotent
/// requests are sent again.
///
/// [haproxy#3414]: https://github.com/haproxy/haproxy/issues/3414
/// [haproxy#1495]: https://github.com/haproxy/haproxy/issues/1495
pub trait DistrustRefusals {
    /// Takes a request whose stream was refused for one that may have been processed. Has the last word on errors, also
    /// on a verdict that a layer further inside gave.
    #[must_use]
    fn distrust_refusals(self) -> Self;
}

/// Of no use by itself: the routes of a layer that has none.
impl DistrustRefusals for () {
    fn distrust_refusals(self) -> Self {}
}

/// The verdict on an error from a classifier that distrusts refusals.
pub(in crate::classify) fn distrusted(verdict: Verdict) -> Verdict {
    if verdict.reason() == Reason::REFUSED_STREAM && verdict.is_unprocessed() {
        verdict.with_processed(Processed::Maybe)
    } else {
        verdict
    }
}
