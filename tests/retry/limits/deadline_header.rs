//! Rule 10: what every attempt sends of its time limits.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::retry::{Backoff, Deadline, DeadlineHeader, GiveUp, ReplayBody};
use tower_rampart::{BoxError, RetryLayer};

use crate::support::*;

const NAME: &str = "x-request-timeout-ms";

fn header() -> DeadlineHeader {
    DeadlineHeader::milliseconds(NAME)
}

/// The header of each attempt, if every one takes 200 ms and fails.
async fn sent(layer: RetryLayer, request: Request<Full<Bytes>>) -> Vec<Option<String>> {
    async fn answer<B: Body>(request: Request<B>, seen: &Mutex<Vec<HeaderMap>>) -> Result<Response<()>, BoxError> {
        seen.lock().unwrap().push(request.into_parts().0.headers);
        tokio::time::sleep(200 * MS).await;
        Ok(Response::builder().status(503).body(()).unwrap())
    }
    let layer = layer.backoff(Backoff::fixed(100 * MS)).no_budget();
    let again = Request::from_parts(request.clone().into_parts().0, request.body().clone());
    let seen = [Mutex::new(Vec::new()), Mutex::new(Vec::new())];
    let wrapped = service_fn(|request: Request<ReplayBody<Full<Bytes>>>| answer(request, &seen[0]));
    let cloned = service_fn(|request: Request<Full<Bytes>>| answer(request, &seen[1]));
    let _ =
        tokio::join!(layer.layer(wrapped).oneshot(request), layer.clone().clone_bodies().layer(cloned).oneshot(again));
    let [wrapped, cloned] = seen.map(|seen| {
        let text = |headers: HeaderMap| headers.get(NAME).map(|value| value.to_str().unwrap().to_owned());
        seen.into_inner().unwrap().into_iter().map(text).collect::<Vec<_>>()
    });
    assert_eq!(wrapped.len(), cloned.len());
    wrapped
}

#[track_caller]
fn assert_near(sent: &[Option<String>], expected: &[u32]) {
    let millis: Vec<u32> = sent.iter().map(|sent| sent.as_deref().unwrap().parse().unwrap()).collect();
    assert_eq!(millis.len(), expected.len(), "{millis:?}");
    // A timer fires up to a millisecond late.
    assert!(millis.iter().zip(expected).all(|(is, most)| (most - most.min(&6)..=*most).contains(is)), "{millis:?}");
}

fn layer() -> RetryLayer {
    RetryLayer::new_for_http().deadline_header(header())
}

#[tokio::test(start_paused = true)]
async fn rule_10_every_attempt_sends_the_earlier_of_deadline_and_attempt_timeout() {
    assert_near(&sent(layer().deadline(2 * SECOND), get()).await, &[2_000, 1_700, 1_400]);
    assert_near(&sent(layer().attempt_timeout(SECOND), get()).await, &[1_000; 3]);
    assert_near(&sent(layer().deadline(SECOND).attempt_timeout(800 * MS), get()).await, &[800, 700, 400]);
    let by = |attempt: tower_rampart::retry::Attempt, _| SECOND * attempt.number();
    assert_near(&sent(layer().attempt_timeout_by(by), get()).await, &[1_000, 2_000, 3_000]);
    // The request's own deadline counts like the layer's.
    let mut request = get();
    request.extensions_mut().insert(Deadline::within(SECOND));
    assert_near(&sent(layer().deadline(9 * SECOND), request).await[..1], &[1_000]);
}

#[tokio::test(start_paused = true)]
async fn rule_10_without_a_limit_nothing_is_sent() {
    assert_eq!(sent(layer(), get()).await, [None, None, None]);
    let no_header = RetryLayer::new_for_http().deadline(SECOND).attempt_timeout(SECOND);
    assert_eq!(sent(no_header, get()).await, [None, None, None]);
}

#[tokio::test(start_paused = true)]
async fn rule_10_a_header_in_the_request_is_a_deadline_of_the_whole_call() {
    let request = |value: &str| {
        let mut request = get();
        request.headers_mut().insert(NAME, value.parse().unwrap());
        request
    };
    assert_near(&sent(layer(), request("2000")).await, &[2_000, 1_700, 1_400]);
    assert_near(&sent(layer().deadline(9 * SECOND), request("2000")).await, &[2_000, 1_700, 1_400]);
    assert_near(&sent(layer().deadline(2 * SECOND), request("9000")).await, &[2_000, 1_700, 1_400]);
    // What is no number is replaced if there is a limit, and else passes unchanged.
    for rubbish in ["0", "-1", "soon", "1.5"] {
        assert_near(&sent(layer().deadline(2 * SECOND), request(rubbish)).await, &[2_000, 1_700, 1_400]);
        assert_eq!(
            sent(layer(), request(rubbish)).await,
            [Some(rubbish.to_owned()), Some(rubbish.to_owned()), Some(rubbish.to_owned())]
        );
    }
    let endless = sent(layer(), request(&"9".repeat(40))).await;
    assert_eq!(endless, [Some("2147483647".to_owned()), Some("2147483647".to_owned()), Some("2147483647".to_owned())]);

    let upstream = Upstream::new([hang()]);
    let log = upstream.log();
    let error = send(layer(), upstream, request("300")).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), log.elapsed()), (GiveUp::Deadline, 300 * MS));
}

#[tokio::test(start_paused = true)]
async fn rule_10_no_attempt_sends_zero() {
    assert_eq!(sent(layer().deadline(MS / 2), get()).await, [Some("1".to_owned())]);
    let seconds = RetryLayer::new_for_http().deadline_header(DeadlineHeader::seconds(NAME));
    let sent = sent(seconds.deadline(1_900 * MS), get()).await;
    assert_eq!(sent, [Some("1".to_owned()), Some("1".to_owned()), Some("1".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn rule_10_an_attempt_of_an_outer_layer_limits_what_is_sent() {
    let seen = Mutex::new(Vec::new());
    let inner = service_fn(|request: Request<ReplayBody<Full<Bytes>>>| {
        seen.lock().unwrap().push(request.headers()[NAME].to_str().unwrap().to_owned());
        async { Ok::<_, BoxError>(Response::new(())) }
    });
    let outer = RetryLayer::new_for_http().attempt_timeout(700 * MS).clone_bodies();
    ServiceBuilder::new().layer(outer).layer(layer().deadline(SECOND)).service(inner).oneshot(get()).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["700"]);
}

/// The server of one call is the client of the next: it passes on what is left.
#[tokio::test(start_paused = true)]
async fn rule_10_a_server_reads_what_the_caller_sent() {
    let at_the_bottom = Mutex::new(None);
    let bottom = service_fn(|request: Request<ReplayBody<Full<Bytes>>>| {
        *at_the_bottom.lock().unwrap() = header().read(request.headers()).map(Deadline::remaining);
        async { Ok::<_, BoxError>(Response::new(())) }
    });
    let middle = layer().layer(bottom);
    let handler = service_fn(|request: Request<ReplayBody<Full<Bytes>>>| {
        let middle = middle.clone();
        async move {
            tokio::time::sleep(50 * MS).await;
            let mut outbound = get();
            // A server counts from the moment at which it reads the header.
            outbound.extensions_mut().insert(header().read(request.headers()).unwrap());
            middle.oneshot(outbound).await
        }
    });
    layer().deadline(SECOND).layer(handler).oneshot(get()).await.unwrap();
    assert_eq!(*at_the_bottom.lock().unwrap(), Some(Duration::from_millis(1_000)));
}

#[tokio::test(start_paused = true)]
async fn rule_10_grpc_sends_both_headers() {
    let seen = Mutex::new(Vec::new());
    let inner = service_fn(|request: Request<ReplayBody<Full<Bytes>>>| {
        seen.lock().unwrap().push(request.headers().clone());
        async { Ok::<_, BoxError>(Response::builder().header("grpc-status", "0").body(()).unwrap()) }
    });
    let grpc = RetryLayer::new_for_grpc().deadline_header(header()).attempt_timeout(SECOND).deadline(5 * SECOND);
    let request = post("").map(|_| Full::default());
    grpc.layer(inner).oneshot(request).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!((&seen[0]["grpc-timeout"], &seen[0][NAME]), (&"5000000u".parse().unwrap(), &"1000".parse().unwrap()));
}
