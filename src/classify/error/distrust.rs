use std::error::Error;

use crate::classify::{Processed, Reason, Verdict};

/// Classifiers that can stop trusting a server that refuses a stream.
///
/// By RFC 9113 (section 8.7) a server did not act on a stream that it reset with `REFUSED_STREAM`, so the retry layer
/// resends such a request, even a POST. Some proxies send this code for requests that their backend has processed:
/// **with HAProxy, 9 of 6,000 POSTs were processed twice** while its backend was killed three times ([haproxy#3414],
/// [haproxy#1495]). Behind such a proxy, set `distrust_refusals` on every layer that classifies. A refused stream then
/// counts as maybe processed, and only idempotent requests are resent.
///
/// [haproxy#3414]: https://github.com/haproxy/haproxy/issues/3414
/// [haproxy#1495]: https://github.com/haproxy/haproxy/issues/1495
pub trait DistrustRefusals {
    /// Treats a request whose stream was refused as one that may have been processed. Also applies to a verdict of an
    /// inner layer.
    #[must_use]
    fn distrust_refusals(self) -> Self;
}

/// For layers without routes.
impl DistrustRefusals for () {
    fn distrust_refusals(self) -> Self {}
}

/// Returns the verdict on an error, by a classifier that may distrust refusals.
pub(in crate::classify) fn verdict_of_error(error: &(dyn Error + 'static), distrusts_refusals: bool) -> Verdict {
    let verdict = Verdict::of_error(error);
    let is_refusal = verdict.reason() == Reason::REFUSED_STREAM && verdict.is_unprocessed();
    if distrusts_refusals && is_refusal { verdict.with_processed(Processed::Maybe) } else { verdict }
}
