use super::body::BodyEnd;
use super::{GrpcClassifier, Head, HttpClassifier, Rule, Verdict};

/// A classifier of HTTP answers that does not ask what type their body is.
///
/// [`HttpClassifier`] and [`GrpcClassifier`] are such. Judging [at the end of the body](super::body) needs one.
pub trait ClassifyHttp {
    /// The verdict on a head.
    fn classify_head(&self, head: &Head<'_>) -> Verdict;

    /// Whether the end of the body can still change this verdict on the head.
    ///
    /// By default that of a success can.
    fn awaits_end(&self, head: &Head<'_>, verdict: Verdict) -> bool {
        let _ = head;
        verdict.is_success()
    }

    /// The verdict on an answer whose head was judged so, and whose body has ended so.
    ///
    /// By default what [`BodyEnd::after`] says.
    fn classify_end(&self, head: Verdict, end: BodyEnd<'_>) -> Verdict {
        end.after(head)
    }
}

impl<R: Rule> ClassifyHttp for HttpClassifier<R> {
    fn classify_head(&self, head: &Head<'_>) -> Verdict {
        HttpClassifier::classify_head(self, head)
    }
}

impl ClassifyHttp for GrpcClassifier {
    fn classify_head(&self, head: &Head<'_>) -> Verdict {
        GrpcClassifier::classify_head(self, head)
    }

    /// Not if the code came with the head.
    fn awaits_end(&self, head: &Head<'_>, verdict: Verdict) -> bool {
        verdict.is_success() && !GrpcClassifier::is_complete(head)
    }

    /// By the trailers. A stream that was dropped before they came tells nothing, however much of it was read.
    fn classify_end(&self, head: Verdict, end: BodyEnd<'_>) -> Verdict {
        match end {
            BodyEnd::Complete(trailers) => self.classify_trailers(trailers),
            BodyEnd::Abandoned { .. } => BodyEnd::Abandoned { all_read: false }.after(head),
            BodyEnd::Short | BodyEnd::Failed(_) | BodyEnd::Panicked => end.after(head),
        }
    }
}
