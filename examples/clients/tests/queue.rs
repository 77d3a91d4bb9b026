//! The consumer of the example: no message is lost, and none is acknowledged before it was processed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../queue.rs"]
#[allow(dead_code)]
mod queue;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use clients::Queue;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Service, ServiceBuilder, service_fn};
use tower_rampart::classify::{ClassifiedError, Verdict};
use tower_rampart::retry::{Backoff, ReplayBody};
use tower_rampart::{BoxError, CircuitBreakerLayer, RetryLayer};

const SECOND: Duration = Duration::from_secs(1);

/// What the upstream does with a request: `Hang` after it has processed the message.
#[derive(Clone, Copy, Debug)]
enum Do {
    Answer(u16),
    Throttle(&'static str),
    Reset,
    Garble,
    Hang,
}

/// The messages that were processed.
type Processed = Arc<Mutex<Vec<String>>>;

/// The client of the example over an upstream that follows a script, and then answers 200.
fn client(
    script: impl IntoIterator<Item = Do>,
    processed: Processed,
) -> impl Service<Request<Full<Bytes>>, Response = Response<()>, Error = BoxError> + Clone {
    let script = Arc::new(Mutex::new(VecDeque::from_iter(script)));
    ServiceBuilder::new()
        .layer(RetryLayer::new_for_http().backoff(Backoff::none()).deadline(5 * SECOND).no_budget())
        .layer(CircuitBreakerLayer::new_for_http().consecutive_failures(3).open_for(7 * SECOND))
        .service(service_fn(move |request: Request<ReplayBody<Full<Bytes>>>| {
            let step = script.lock().unwrap().pop_front().unwrap_or(Do::Answer(200));
            let processed = processed.clone();
            async move {
                let body = request.into_body().collect().await?.to_bytes();
                tokio::time::sleep(SECOND / 10).await;
                if let Do::Answer(200) | Do::Hang = step {
                    processed.lock().unwrap().push(String::from_utf8(body.to_vec()).unwrap());
                }
                let response = match step {
                    Do::Answer(status) => Response::builder().status(status),
                    Do::Throttle(wait) => Response::builder().status(429).header("retry-after", wait),
                    Do::Reset => return Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
                    Do::Garble => return Err(ClassifiedError::new(Verdict::ambiguous()).into()),
                    Do::Hang => std::future::pending().await,
                };
                Ok::<_, BoxError>(response.body(()).unwrap())
            }
        }))
}

#[tokio::test(start_paused = true)]
async fn each_outcome_settles_the_delivery_in_its_way() {
    let down = [Do::Answer(503); 3];
    for (script, expected) in [
        (vec![], &["a: acknowledged"][..]),
        (vec![Do::Answer(503), Do::Reset], &["a: acknowledged"]),
        (vec![Do::Answer(422)], &["a: dead letter"]),
        (vec![Do::Garble], &["a: dead letter"]),
        (vec![Do::Throttle("90")], &["a: again after 90s", "a: acknowledged"]),
        // Three failures open the circuit in the first call. A second later it is open for six more.
        (down.to_vec(), &["a: again after 1s", "a: again after 6s", "a: acknowledged"]),
        (vec![Do::Hang], &["a: again after 1s", "a: acknowledged"]),
    ] {
        let mut queue = Queue::new(["a"]);
        queue::consume(&mut queue, client(script.clone(), Processed::default()), "http://upstream/").await.unwrap();
        assert_eq!(queue.log(), expected, "{script:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_gives_the_message_in_hand_back() {
    let processed = Processed::default();
    let mut queue = Queue::new(["a", "b"]);
    let hangs = client([Do::Answer(200), Do::Hang], processed.clone());
    let consumed = tokio::time::timeout(SECOND, queue::consume(&mut queue, hangs, "http://upstream/")).await;
    assert!(consumed.is_err());
    assert_eq!(
        (queue.log(), processed.lock().unwrap().concat()),
        (vec!["a: acknowledged".to_owned()], "ab".to_owned())
    );
    let back = queue.next().await.unwrap();
    assert_eq!(back.message, "b");
    back.acknowledge();
    assert!(queue.next().await.is_none());
}

/// Whenever the consumer is stopped, and whatever the upstream does.
#[tokio::test(start_paused = true)]
async fn no_message_is_lost_and_none_is_acknowledged_before_it_was_processed() {
    const ALL: [Do; 6] = [Do::Answer(200), Do::Answer(503), Do::Answer(422), Do::Throttle("1"), Do::Reset, Do::Hang];
    let messages: Vec<String> = (0..12).map(|number| number.to_string()).collect();
    let mut stops = 0;
    for seed in 0..60_usize {
        let processed = Processed::default();
        let mut queue = Queue::new(messages.iter().map(String::as_str));
        let script: Vec<_> = (0..40).map(|step| ALL[(seed * 31 + step * step * 7 + step * seed) % 6]).collect();
        let client = client(script, processed.clone());
        // Stopped every few hundred milliseconds for a while, in the middle of anything.
        let stop = Duration::from_millis(130 + 37 * seed as u64);
        for _ in 0..20 {
            let consumed = tokio::time::timeout(stop, queue::consume(&mut queue, client.clone(), "http://upstream/"));
            stops += u32::from(consumed.await.is_err());
        }
        queue::consume(&mut queue, client, "http://upstream/").await.unwrap();

        let log = queue.log();
        let of =
            |what: &str| log.iter().filter_map(|line| line.strip_suffix(what).map(str::to_owned)).collect::<Vec<_>>();
        let (acknowledged, dead) = (of(": acknowledged"), of(": dead letter"));
        let mut settled = [acknowledged.clone(), dead].concat();
        settled.sort_by_key(|message| message.parse::<u32>().unwrap());
        assert_eq!(settled, messages, "each once, with seed {seed}");
        let processed = processed.lock().unwrap();
        assert!(acknowledged.iter().all(|message| processed.contains(message)), "seed {seed}");
    }
    assert!(stops > 150, "{stops}");
}
