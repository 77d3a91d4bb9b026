use http::Response;

use super::{HttpClassifier, ResponseHead, ResponseRule};
use crate::classify::body::{ClassifyEos, Eos};
use crate::classify::{ClassifyHttp, Verdict};

/// Classifies the end of an HTTP body whose head was a success: see [the table](crate::classify::body).
#[derive(Clone, Copy, Debug)]
pub struct HttpEos {
    head: Verdict,
}

impl<Rule: ResponseRule> ClassifyHttp for HttpClassifier<Rule> {
    type Eos = HttpEos;

    fn classify_response<B>(&self, response: &Response<B>) -> Verdict {
        self.classify_head(&ResponseHead::of(response))
    }

    fn eos<B>(&self, _: &Response<B>, head: Verdict) -> Option<HttpEos> {
        head.is_success().then_some(HttpEos { head })
    }
}

impl ClassifyEos for HttpEos {
    fn classify_eos(self, eos: Eos<'_>) -> Verdict {
        eos.after(self.head)
    }
}
