//! Judging bodies: the rules of `classify::body`.

use std::convert::Infallible;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_rampart::classify::body::JudgedBody;
use tower_rampart::classify::{
    Class, ClassifiedError, Classifier, ClassifyHttp, GrpcClassifier, Health, HttpClassifier, Processed, Reason,
    Verdict,
};
use tower_rampart::{BoxError, ClassifyLayer};

use super::script::{Step, script};
use super::{Facts, facts, header_map, response};

const SUCCESS: Facts = (Class::Success, Processed::Yes, Health::Success);
const ABANDONED: Facts = (Class::Success, Processed::Yes, Health::Neutral);
const BROKEN: Facts = (Class::Ambiguous, Processed::Maybe, Health::Failure);

/// The verdicts that a judged body settled.
#[derive(Clone, Default)]
struct Settled(Arc<Mutex<Vec<Verdict>>>);

impl Settled {
    fn callback(&self) -> impl FnOnce(&Verdict) + use<> {
        let settled = self.clone();
        move |verdict: &Verdict| settled.0.lock().unwrap().push(*verdict)
    }

    /// Returns the verdict, if settled. Panics if settled more than once.
    fn once(&self) -> Option<Facts> {
        let settled = self.0.lock().unwrap();
        assert!(settled.len() <= 1, "settled more than once: {settled:?}");
        settled.first().copied().map(facts)
    }

    fn verdict(&self) -> Verdict {
        self.once();
        self.0.lock().unwrap()[0]
    }
}

type Judged<B, C> = JudgedBody<B, <C as ClassifyHttp>::Eos, Box<dyn FnOnce(&Verdict)>>;

fn judge<B, C>(head: Response<()>, body: B, classifier: C) -> (Judged<B, C>, Settled)
where
    B: Body,
    C: ClassifyHttp + Classifier<Response<B>>,
{
    let settled = Settled::default();
    let response = head.map(|()| body);
    let verdict = classifier.classify(Ok(&response));
    let settle: Box<dyn FnOnce(&Verdict)> = Box::new(settled.callback());
    (JudgedBody::wrap(response, verdict, &classifier, settle).into_body(), settled)
}

fn http<B: Body>(body: B) -> (Judged<B, HttpClassifier>, Settled) {
    judge(response(200, &[]), body, HttpClassifier::new())
}

fn grpc<B: Body>(body: B) -> (Judged<B, GrpcClassifier>, Settled) {
    judge(response(200, &[("content-type", "application/grpc")]), body, GrpcClassifier::new())
}

/// The next frame of a body that is always ready.
async fn next<B: Body + Unpin>(body: &mut B) -> Option<Result<Frame<B::Data>, B::Error>> {
    body.frame().await
}

#[tokio::test]
async fn a_complete_body_keeps_the_verdict_on_its_head() {
    let (body, settled) = http(script([Step::Data("a"), Step::Data("b")]));
    assert_eq!(settled.once(), None);
    assert_eq!(body.collect().await.unwrap().to_bytes(), "ab");
    assert_eq!(settled.once(), Some(SUCCESS));
}

#[tokio::test]
async fn a_body_at_end_of_stream_settles() {
    let (mut body, settled) = http(script([Step::Data("ab")]).telling_its_end());
    next(&mut body).await.unwrap().unwrap();
    assert!(body.is_end_stream());
    assert_eq!(settled.once(), Some(SUCCESS));
}

#[tokio::test]
async fn an_empty_body_settles_at_once() {
    let (body, settled) = http(Full::<Bytes>::default());
    assert_eq!(settled.once(), Some(SUCCESS));
    drop(body);
    assert_eq!(settled.once(), Some(SUCCESS));
    // A response to HEAD announces a body that it does not send.
    let (_, settled) =
        judge(response(200, &[("content-length", "10")]), Full::<Bytes>::default(), HttpClassifier::new());
    assert_eq!(settled.once(), Some(SUCCESS));
}

#[tokio::test]
async fn rule_1_a_head_that_is_not_a_success_settles_at_once() {
    let (body, settled) = judge(response(503, &[]), script([Step::Data("sorry"), Step::Fail]), HttpClassifier::new());
    let failed = (Class::Transient, Processed::Maybe, Health::Failure);
    assert_eq!(settled.once(), Some(failed));
    let error = body.collect().await.unwrap_err();
    assert!(error.is::<io::Error>());
    assert_eq!(settled.once(), Some(failed));
}

#[tokio::test]
async fn a_failed_body_is_ambiguous_and_its_error_carries_the_verdict() {
    let (body, settled) = http(script([Step::Data("a"), Step::Fail]));
    let error = body.collect().await.unwrap_err();
    assert_eq!((settled.once(), settled.verdict().reason()), (Some(BROKEN), Reason::BODY));
    assert_eq!(Verdict::of_error(&*error), settled.verdict());
    let classified = error.downcast::<ClassifiedError>().unwrap();
    assert_eq!(classified.into_source().unwrap().downcast::<io::Error>().unwrap().kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_body_shorter_than_announced_is_ambiguous() {
    let (body, settled) = http(script([Step::Data("abc")]).announced(4));
    body.collect().await.unwrap();
    assert_eq!((settled.once(), settled.verdict().reason()), (Some(BROKEN), Reason::BODY));

    // Announced by the head alone, with the end known before it is polled.
    let short = script([Step::Data("abc")]).telling_its_end();
    let (mut body, settled) = judge(response(200, &[("content-length", "4")]), short, HttpClassifier::new());
    next(&mut body).await.unwrap().unwrap();
    assert_eq!(settled.once(), Some(BROKEN));

    // With trailers.
    let short = script([Step::Data("abc"), Step::Trailers(&[("x", "y")])]);
    let (body, settled) = judge(response(200, &[("content-length", "4")]), short, HttpClassifier::new());
    body.collect().await.unwrap();
    assert_eq!(settled.once(), Some(BROKEN));
}

#[tokio::test]
async fn a_body_as_long_as_announced_or_longer_is_complete() {
    for data in ["abcd", "abcde"] {
        let (body, settled) =
            judge(response(200, &[("content-length", "4")]), script([Step::Data(data)]), HttpClassifier::new());
        body.collect().await.unwrap();
        assert_eq!(settled.once(), Some(SUCCESS));
    }
    for junk in ["four", "-4", "+4", "99999999999999999999999999"] {
        let (body, settled) =
            judge(response(200, &[("content-length", junk)]), script([Step::Data("a")]), HttpClassifier::new());
        body.collect().await.unwrap();
        assert_eq!(settled.once(), Some(SUCCESS), "{junk}");
    }
}

#[tokio::test]
async fn a_body_dropped_early_is_neutral() {
    // Never polled.
    let (body, settled) = http(script([Step::Data("a")]));
    drop(body);
    assert_eq!((settled.once(), settled.verdict().reason()), (Some(ABANDONED), Reason::ABANDONED));

    // In the middle, and while pending.
    let (mut body, settled) = http(script([Step::Data("a"), Step::Wait]));
    next(&mut body).await.unwrap().unwrap();
    let mut waiting = tokio_test::task::spawn(body);
    assert!(waiting.enter(|cx, body| body.poll_frame(cx)).is_pending());
    assert_eq!(settled.once(), None);
    drop(waiting);
    assert_eq!(settled.once(), Some(ABANDONED));
}

#[tokio::test]
async fn a_body_dropped_after_all_bytes_is_complete() {
    let (mut body, settled) = http(script([Step::Data("abcd")]).announced(4));
    next(&mut body).await.unwrap().unwrap();
    assert_eq!(settled.once(), None);
    drop(body);
    assert_eq!(settled.once(), Some(SUCCESS));
}

#[tokio::test]
async fn rule_3_a_body_that_continues_after_its_end_settles_once() {
    let steps = [Step::Data("a"), Step::End, Step::Data("b"), Step::Fail, Step::End, Step::Fail];
    let (mut body, settled) = http(script(steps));
    next(&mut body).await.unwrap().unwrap();
    assert!(next(&mut body).await.is_none());
    assert_eq!(settled.once(), Some(SUCCESS));
    assert_eq!(next(&mut body).await.unwrap().unwrap().into_data().unwrap(), "b");
    assert!(next(&mut body).await.unwrap().unwrap_err().is::<io::Error>());
    assert!(next(&mut body).await.is_none());
    assert!(next(&mut body).await.unwrap().is_err());
    drop(body);
    assert_eq!(settled.once(), Some(SUCCESS));
}

#[test]
fn a_body_that_panics_is_ambiguous() {
    let (body, settled) = http(script([Step::Panic]));
    let mut body = tokio_test::task::spawn(body);
    let polled = AssertUnwindSafe(|| body.enter(|cx, body| drop(body.poll_frame(cx))));
    assert!(catch_unwind(polled).is_err());
    assert_eq!(settled.once(), None);
    drop(body);
    assert_eq!((settled.once(), settled.verdict().reason()), (Some(BROKEN), Reason::PANIC));
}

#[test]
fn a_body_dropped_by_a_panicking_reader_is_abandoned() {
    let (body, settled) = http(script([Step::Data("a")]));
    let reading = AssertUnwindSafe(|| {
        let _body = body;
        panic!("the reader panics");
    });
    assert!(catch_unwind(reading).is_err());
    assert_eq!(settled.once(), Some(ABANDONED));
}

#[tokio::test]
async fn frames_hints_and_trailers_pass_unchanged() {
    let (mut body, _) = http(script([Step::Data("ab"), Step::Trailers(&[("a", "b")])]).announced(2).telling_its_end());
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(2), false));
    assert_eq!(next(&mut body).await.unwrap().unwrap().into_data().unwrap(), "ab");
    let trailers = next(&mut body).await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers, header_map(&[("a", "b")]));
    assert!(body.is_end_stream());
}

#[tokio::test]
async fn rule_2_grpc_trailers_decide() {
    let ended = async |trailers: &'static [(&str, &str)]| {
        let (body, settled) = grpc(script([Step::Data("message"), Step::Trailers(trailers)]));
        assert_eq!(settled.once(), None);
        body.collect().await.unwrap();
        settled.verdict()
    };
    assert_eq!(ended(&[("grpc-status", "0")]).await, Verdict::success());
    let unavailable = ended(&[("grpc-status", "14"), ("grpc-retry-pushback-ms", "70")]).await;
    assert_eq!(facts(unavailable), (Class::Transient, Processed::Maybe, Health::Failure));
    assert_eq!((unavailable.code(), unavailable.retry_after().unwrap().as_millis()), (Some(14), 70));
    // Without a code the call is unknown, never a success.
    for trailers in [&[][..], &[("grpc-message", "oops")], &[("grpc-status", "zero")]] {
        assert_eq!(facts(ended(trailers).await), BROKEN);
    }
}

#[tokio::test]
async fn grpc_without_trailers_is_unknown() {
    let (body, settled) = grpc(script([Step::Data("message")]));
    body.collect().await.unwrap();
    assert_eq!((settled.once(), settled.verdict().code()), (Some(BROKEN), Some(2)));

    // No message either, and no code in the head.
    let (_, settled) = grpc(Full::<Bytes>::default());
    assert_eq!((settled.once(), settled.verdict().code()), (Some(BROKEN), Some(2)));
}

#[tokio::test]
async fn grpc_trailers_only_settles_at_once() {
    let head = response(200, &[("content-type", "application/grpc"), ("grpc-status", "0")]);
    let (_, settled) = judge(head, Full::<Bytes>::default(), GrpcClassifier::new());
    assert_eq!(settled.once(), Some(SUCCESS));
}

#[tokio::test]
async fn grpc_dropped_before_its_trailers_is_neutral() {
    let (mut body, settled) = grpc(script([Step::Data("abcd"), Step::Trailers(&[("grpc-status", "0")])]).announced(4));
    next(&mut body).await.unwrap().unwrap();
    drop(body);
    assert_eq!(settled.once(), Some(ABANDONED));
}

#[tokio::test]
async fn a_grpc_head_is_never_held_back() {
    let settled = Settled::default();
    let layer = {
        let settled = settled.clone();
        ClassifyLayer::new_for_grpc().judge_body().on_verdict(move |verdict| settled.0.lock().unwrap().push(*verdict))
    };
    let service = layer.layer(service_fn(|_: Request<()>| async {
        let head = response(200, &[("content-type", "application/grpc")]);
        Ok::<_, Infallible>(head.map(|()| script([Step::Data("message"), Step::Wait])))
    }));
    // The body never ends, but the head has arrived.
    let response = service.oneshot(Request::new(())).await.unwrap();
    assert_eq!((Verdict::of(&response), settled.once()), (Verdict::success(), None));
    drop(response);
    assert_eq!(settled.once(), Some(ABANDONED));
}

#[tokio::test]
async fn a_layer_that_judges_bodies_reports_at_their_end() {
    let settled = Settled::default();
    let layer = {
        let settled = settled.clone();
        ClassifyLayer::new_for_http()
            .on_verdict(move |verdict: &Verdict| settled.0.lock().unwrap().push(*verdict))
            .judge_body()
    };
    let service = layer.layer(service_fn(|_: Request<()>| async {
        Ok::<_, BoxError>(response(200, &[]).map(|()| script([Step::Data("half"), Step::Fail])))
    }));
    let response = service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(settled.once(), None);
    let error = response.into_body().collect().await.unwrap_err();
    assert_eq!(settled.once(), Some(BROKEN));
    assert_eq!(Verdict::of_error(&*error), settled.verdict());
}

/// Two nested layers report the same verdict.
#[tokio::test]
async fn two_layers_report_the_same_verdict() {
    let (inner, outer) = (Settled::default(), Settled::default());
    let layer = |settled: &Settled| {
        let settled = settled.clone();
        ClassifyLayer::new_for_http().judge_body().on_verdict(move |verdict| settled.0.lock().unwrap().push(*verdict))
    };
    let service = layer(&outer).layer(layer(&inner).layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(script([Step::Data("half"), Step::Fail])))
    })));
    let error = service.oneshot(Request::new(())).await.unwrap().into_body().collect().await.unwrap_err();
    assert_eq!((inner.once(), outer.once()), (Some(BROKEN), Some(BROKEN)));
    // Wrapped once.
    assert!(std::error::Error::source(&*error).unwrap().is::<io::Error>());
}
