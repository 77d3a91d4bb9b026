use http::Response;

use super::GrpcClassifier;
use crate::classify::body::{ClassifyEos, Eos};
use crate::classify::{ClassifyHttp, ResponseHead, Verdict};

/// Classifies the end of a gRPC stream by its trailers.
#[derive(Clone, Debug)]
pub struct GrpcEos {
    head: Verdict,
    classifier: GrpcClassifier,
}

impl ClassifyHttp for GrpcClassifier {
    type Eos = GrpcEos;

    fn classify_response<B>(&self, response: &Response<B>) -> Verdict {
        self.classify_head(&ResponseHead::of(response))
    }

    fn eos<B>(&self, response: &Response<B>, head: Verdict) -> Option<GrpcEos> {
        let open = head.is_success() && !GrpcClassifier::is_complete(&ResponseHead::of(response));
        open.then(|| GrpcEos { head, classifier: self.clone() })
    }
}

impl ClassifyEos for GrpcEos {
    fn classify_eos(self, eos: Eos<'_>) -> Verdict {
        match eos {
            Eos::Complete(trailers) => self.classifier.classify_trailers(trailers),
            // Even if every byte was read, the code in the trailers was not.
            Eos::Abandoned { .. } => Eos::Abandoned { all_read: false }.after(self.head),
            Eos::Short | Eos::Failed(_) | Eos::Panicked => eos.after(self.head),
        }
    }
}
