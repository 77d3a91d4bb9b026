use http::Response;

use super::body::{BodyEnd, JudgeEnd};
use super::{GrpcClassifier, Head, HttpClassifier, Rule, Verdict};

/// A classifier of HTTP answers that does not ask what type their body is, and that can judge how the body ends.
///
/// [`HttpClassifier`] and [`GrpcClassifier`] are such. Judging [at the end of the body](super::body) needs one.
pub trait ClassifyHttp {
    /// What judges the end of a body.
    type Ending: JudgeEnd;

    /// The verdict on a head.
    fn classify_response<B>(&self, response: &Response<B>) -> Verdict;

    /// What is to judge the end of this response's body, whose head was judged so. `None` if the end cannot change the
    /// verdict any more.
    fn ending<B>(&self, response: &Response<B>, head: Verdict) -> Option<Self::Ending>;
}

/// The end of a body whose head was a success: see [the table](super::body).
#[derive(Clone, Copy, Debug)]
pub struct HttpEnding {
    head: Verdict,
}

/// The end of a gRPC stream, whose trailers decide.
#[derive(Clone, Debug)]
pub struct GrpcEnding {
    head: Verdict,
    classifier: GrpcClassifier,
}

impl<R: Rule> ClassifyHttp for HttpClassifier<R> {
    type Ending = HttpEnding;

    fn classify_response<B>(&self, response: &Response<B>) -> Verdict {
        self.classify_head(&Head::of(response))
    }

    fn ending<B>(&self, _: &Response<B>, head: Verdict) -> Option<HttpEnding> {
        head.is_success().then_some(HttpEnding { head })
    }
}

impl ClassifyHttp for GrpcClassifier {
    type Ending = GrpcEnding;

    fn classify_response<B>(&self, response: &Response<B>) -> Verdict {
        self.classify_head(&Head::of(response))
    }

    fn ending<B>(&self, response: &Response<B>, head: Verdict) -> Option<GrpcEnding> {
        let open = head.is_success() && !GrpcClassifier::is_complete(&Head::of(response));
        open.then(|| GrpcEnding { head, classifier: self.clone() })
    }
}

impl JudgeEnd for HttpEnding {
    fn judge(self, end: BodyEnd<'_>) -> Verdict {
        end.after(self.head)
    }
}

impl JudgeEnd for GrpcEnding {
    fn judge(self, end: BodyEnd<'_>) -> Verdict {
        match end {
            BodyEnd::Complete(trailers) => self.classifier.classify_trailers(trailers),
            // However much of the stream was read, its code was not.
            BodyEnd::Abandoned { .. } => BodyEnd::Abandoned { all_read: false }.after(self.head),
            BodyEnd::Short | BodyEnd::Failed(_) | BodyEnd::Panicked => end.after(self.head),
        }
    }
}
