use http::Response;

use super::{Head, HttpClassifier, Rule};
use crate::classify::body::{BodyEnd, JudgeEnd};
use crate::classify::{ClassifyHttp, Verdict};

/// The end of a body whose head was a success: see [the table](crate::classify::body).
#[derive(Clone, Copy, Debug)]
pub struct HttpEnding {
    head: Verdict,
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

impl JudgeEnd for HttpEnding {
    fn judge(self, end: BodyEnd<'_>) -> Verdict {
        end.after(self.head)
    }
}
