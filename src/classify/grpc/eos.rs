use http::Response;

use super::GrpcClassifier;
use crate::classify::body::{BodyEnd, JudgeEnd};
use crate::classify::{ClassifyHttp, Head, Verdict};

/// The end of a gRPC stream, whose trailers decide.
#[derive(Clone, Debug)]
pub struct GrpcEnding {
    head: Verdict,
    classifier: GrpcClassifier,
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
