//! Replayed bodies against a slow and obvious model.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use proptest::prelude::*;
use tower::{Layer, ServiceExt, service_fn};
use tower_rampart::BoxError;
use tower_rampart::retry::{ReplayBody, RetryError, RetryReport};

use crate::support::{layer, settle};

/// The caller's body: chunks of these sizes, in which every byte encodes its position.
#[derive(Clone, Debug)]
struct Plan {
    chunks: Vec<usize>,
    trailers: bool,
    exact: bool,
    cap: usize,
    attempts: Vec<Attempt>,
}

#[derive(Clone, Debug)]
struct Attempt {
    /// Frames read, at most.
    read: usize,
    /// What becomes of the body when the attempt ends.
    then: Then,
    /// Answered, or failed.
    answered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Drop,
    Hold,
    /// Held by a task that tries to read on.
    ReadOn,
}

fn plans() -> impl Strategy<Value = Plan> {
    let chunk = prop_oneof![4 => 0_usize..4, 2 => 4..300_usize, 1 => 4_000..5_000_usize, 1 => 9_000..20_000_usize];
    let attempt = (0_usize..8, prop_oneof![Just(Then::Drop), Just(Then::Hold), Just(Then::ReadOn)], any::<bool>())
        .prop_map(|(read, then, answered)| Attempt { read: if read == 7 { 100 } else { read }, then, answered });
    (
        prop::collection::vec(chunk, 0..10),
        any::<bool>(),
        any::<bool>(),
        prop::collection::vec(attempt, 2..6),
        0_usize..5,
    )
        .prop_flat_map(|(chunks, trailers, exact, attempts, around)| {
            let total: usize = chunks.iter().sum();
            // Around the size of the body, and anything.
            let cap = match around {
                0 => Just(total).boxed(),
                1 => Just(total.saturating_sub(1)).boxed(),
                2 => Just(total + 1).boxed(),
                3 => (0..=total).boxed(),
                _ => Just(64 * 1024).boxed(),
            };
            cap.prop_map(move |cap| Plan { chunks: chunks.clone(), trailers, exact, cap, attempts: attempts.clone() })
        })
}

fn byte_at(place: usize) -> u8 {
    u8::try_from(place % 251).unwrap()
}

fn content(range: std::ops::Range<usize>) -> Bytes {
    range.map(byte_at).collect::<Vec<_>>().into()
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("checksum".parse().unwrap(), "1f3a".parse().unwrap())])
}

struct Source {
    plan: Plan,
    pulled: Arc<Mutex<Pulled>>,
}

/// How much of the source was read. Nothing may be read twice, so that it only ever grows.
#[derive(Debug, Default)]
struct Pulled {
    chunks: usize,
    bytes: usize,
    trailers: bool,
    ended: bool,
}

impl Source {
    fn total(&self) -> usize {
        self.plan.chunks.iter().sum()
    }
}

impl Body for Source {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut pulled = self.pulled.lock().unwrap();
        Poll::Ready(if let Some(&len) = self.plan.chunks.get(pulled.chunks) {
            let data = content(pulled.bytes..pulled.bytes + len);
            pulled.chunks += 1;
            pulled.bytes += len;
            Some(Ok(Frame::data(data)))
        } else if self.plan.trailers && !pulled.trailers {
            pulled.trailers = true;
            Some(Ok(Frame::trailers(trailers())))
        } else {
            assert!(!pulled.ended, "polled after its end");
            pulled.ended = true;
            None
        })
    }

    fn is_end_stream(&self) -> bool {
        let pulled = self.pulled.lock().unwrap();
        self.plan.exact && pulled.chunks == self.plan.chunks.len() && (pulled.trailers || !self.plan.trailers)
    }

    fn size_hint(&self) -> SizeHint {
        if !self.plan.exact {
            return SizeHint::default();
        }
        SizeHint::with_exact((self.total() - self.pulled.lock().unwrap().bytes) as u64)
    }
}

/// Whether the model expects another attempt after this one, given how much of the source was pulled by now and whether
/// the attempt knew to have read everything.
fn is_retried(plan: &Plan, number: usize, pulled: &Pulled, was_complete: bool) -> bool {
    let total: usize = plan.chunks.iter().sum();
    // A body that is known to be larger and of which nothing was read is still whole.
    let known_larger = plan.exact && total > plan.cap;
    let lost = pulled.bytes > plan.cap || (known_larger && (pulled.bytes > 0 || pulled.trailers));
    let attempt = &plan.attempts[number];
    let sending = attempt.then != Then::Drop && !was_complete;
    number + 1 < plan.attempts.len() && !lost && !(attempt.answered && sending)
}

/// Reads so many frames, checking every byte, the size and the end on the way. Whether it knows to have read
/// everything.
async fn read(plan: &Plan, body: &mut Pin<Box<ReplayBody<Source>>>, frames: usize) -> bool {
    let total: usize = plan.chunks.iter().sum();
    let mut seen = 0;
    let mut seen_trailers = false;
    for _ in 0..frames {
        if plan.exact {
            assert_eq!(body.size_hint().exact(), Some((total - seen) as u64), "after {seen} bytes");
        }
        match body.frame().await.transpose().expect("the body of the present attempt does not fail") {
            Some(frame) => match frame.into_data() {
                Ok(data) => {
                    assert!(!seen_trailers, "data after trailers");
                    assert_eq!(data, content(seen..seen + data.len()), "after {seen} bytes");
                    seen += data.len();
                }
                Err(frame) => {
                    assert_eq!((frame.into_trailers().ok(), seen), (Some(trailers()), total));
                    seen_trailers = true;
                }
            },
            None => {
                assert_eq!((seen, seen_trailers), (total, plan.trailers), "an end that is none");
                assert!(body.is_end_stream());
                assert!(body.frame().await.is_none(), "after the end comes the end");
                return true;
            }
        }
    }
    let ended = body.is_end_stream();
    assert!(!ended || (seen, seen_trailers) == (total, plan.trailers), "an end that is none");
    ended
}

async fn run(plan: Plan) {
    let pulled = Arc::new(Mutex::new(Pulled::default()));
    let calls = Mutex::new(0);
    let expected = Mutex::new(1);
    let held = Mutex::new(Vec::new());
    let inner = service_fn(|request: Request<ReplayBody<Source>>| {
        let number = std::mem::replace(&mut *calls.lock().unwrap(), request_number(&request));
        assert_eq!(*expected.lock().unwrap(), number + 1, "an attempt too many");
        let (plan, pulled, expected, held) = (&plan, &pulled, &expected, &held);
        async move {
            let attempt = &plan.attempts[number];
            let mut body = Box::pin(request.into_body());
            let is_complete = read(plan, &mut body, attempt.read).await;
            let retried = is_retried(plan, number, &pulled.lock().unwrap(), is_complete);
            *expected.lock().unwrap() = number + 1 + usize::from(retried);
            match attempt.then {
                Then::Drop => drop(body),
                Then::Hold => held.lock().unwrap().push((body, is_complete)),
                Then::ReadOn => {
                    tokio::spawn(async move {
                        // Runs in the wait, when the body is this attempt's no more if there will be another.
                        let frame = body.frame().await;
                        assert!(!retried || is_complete || frame.unwrap().is_err(), "stole a frame");
                    });
                }
            }
            if attempt.answered {
                Ok(Response::builder().status(503).body(()).unwrap())
            } else {
                Err::<_, BoxError>(io::Error::from(io::ErrorKind::ConnectionReset).into())
            }
        }
    });
    let request = Request::put("/").body(Source { plan: plan.clone(), pulled: Arc::clone(&pulled) }).unwrap();
    let attempts = u32::try_from(plan.attempts.len()).unwrap();
    let service = layer().max_attempts(attempts).max_replay_bytes(plan.cap).layer(inner);
    let made = match service.oneshot(request).await {
        Ok(response) => RetryReport::of(&response).map_or(1, RetryReport::attempts),
        Err(error) => RetryError::find(&*error).unwrap().attempts(),
    };
    settle().await;
    let expected = expected.into_inner().unwrap();
    assert_eq!((*calls.lock().unwrap(), made as usize), (expected, expected));
    // The body of an abandoned attempt returns an error or its own end, and never bytes of another attempt.
    let last = made as usize - 1;
    for (number, (mut body, was_complete)) in held.into_inner().unwrap().into_iter().enumerate() {
        let is_last = plan.attempts.iter().take(last).filter(|attempt| attempt.then == Then::Hold).count() == number;
        match body.frame().await {
            None => assert!(was_complete || is_last),
            Some(frame) => assert!(frame.is_err() || is_last),
        }
    }
}

fn request_number<B>(request: &Request<B>) -> usize {
    tower_rampart::retry::Attempt::of(request).number() as usize
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn rule_8_replays_agree_with_the_model(plan in plans()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(plan));
    }
}
