//! A POST is processed at most once, by whichever client it is sent, and whatever becomes of it.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use tokio::io::AsyncReadExt;
use tower::ServiceBuilder;
use tower_rampart::BoxError;
use tower_rampart::breaker::Mode;
use tower_rampart::clients::reqwest::{ReqwestService, SendExt};
use tower_rampart::retry::Hedge;

use super::service::{breaker, retry};
use super::upstream::{Act, Upstream, answer};
use crate::kit::frames::{self, NO_ERROR, REFUSED_STREAM};
use crate::kit::server::{Server, fin, read_head_text, rst, say};

type Call = Pin<Box<dyn Future<Output = Result<u16, BoxError>> + Send>>;
type Post = Box<dyn Fn(&str) -> Call + Send + Sync>;

/// A client that posts a body to a URL.
struct Poster {
    name: &'static str,
    post: Post,
}

impl Poster {
    fn post(&self, url: &str) -> Call {
        (self.post)(url)
    }
}

/// Each way to a client, with hedged retries and a breaker that rejects nothing. The builders make clients alike.
fn posters(builder: impl Fn() -> ClientBuilder) -> Vec<Poster> {
    let retry = retry().hedge(Hedge::after(Duration::from_secs(1)));
    let breaker = || breaker().mode(Mode::Disabled);
    let built_here = ReqwestService::from_builder(builder()).unwrap();
    let elsewhere = ReqwestService::new(builder().redirect(Policy::none()).build().unwrap()).unwrap();
    let stack = |service: ReqwestService| {
        let client = service.client().clone();
        let stack = ServiceBuilder::new().layer(retry.clone()).layer(breaker()).service(service);
        Box::new(move |url: &str| -> Call {
            let call = stack.send(client.post(url).body("4711"));
            Box::pin(async { Ok(call.await?.status().as_u16()) })
        })
    };
    let mut posters = vec![
        Poster { name: "from_builder", post: stack(built_here.clone()) },
        Poster { name: "new", post: stack(elsewhere.clone()) },
    ];
    #[cfg(feature = "reqwest-middleware")]
    {
        use reqwest_middleware::ClientWithMiddleware;
        use tower_rampart::clients::reqwest_middleware::{LayerMiddleware, MiddlewareService};

        let layers = || LayerMiddleware::new(ServiceBuilder::new().layer(retry.clone()).layer(breaker()));
        let with = |client: Client, middleware| -> Post {
            let client = reqwest_middleware::ClientBuilder::new(client).with(middleware).build();
            Box::new(move |url| {
                let call = client.post(url).body("4711").send();
                Box::pin(async { Ok(call.await?.status().as_u16()) })
            })
        };
        let inside = |client: Client, known: Option<&ReqwestService>| -> Post {
            let service = MiddlewareService::new(ClientWithMiddleware::from(client.clone()));
            let service = known.map_or(service.clone(), |known| service.over(known));
            let stack = ServiceBuilder::new().layer(retry.clone()).layer(breaker()).service(service);
            Box::new(move |url| {
                let call = stack.send(client.post(url).body("4711"));
                Box::pin(async { Ok(call.await?.status().as_u16()) })
            })
        };
        let known = |service: &ReqwestService| service.client().clone();
        posters.extend([
            Poster { name: "layers over", post: with(known(&built_here), layers().over(&built_here)) },
            Poster { name: "layers over new", post: with(known(&elsewhere), layers().over(&elsewhere)) },
            Poster { name: "layers", post: with(builder().build().unwrap(), layers()) },
            Poster { name: "inside over", post: inside(known(&built_here), Some(&built_here)) },
            Poster { name: "inside over new", post: inside(known(&elsewhere), Some(&elsewhere)) },
            Poster { name: "inside", post: inside(builder().build().unwrap(), None) },
        ]);
    }
    posters
}

/// The posters whose client follows no redirect.
fn without_redirects(name: &str) -> bool {
    !matches!(name, "layers" | "inside")
}

#[tokio::test]
async fn rule_1_no_redirect_makes_a_second_post() {
    let policies: [fn() -> Policy; 3] =
        [Policy::default, || Policy::limited(3), || Policy::custom(|attempt| attempt.follow())];
    for policy in policies {
        for poster in posters(|| Client::builder().redirect(policy())) {
            for status in [301, 302, 303, 307, 308] {
                // Another host, which throttles: proof, if it were about the first request.
                let other = Upstream::start(|_, _| answer("429 Too Many Requests")).await;
                let head = format!("{status} Elsewhere\r\nlocation: {}", other.url());
                let upstream = Upstream::start(move |_, _| answer(&head)).await;
                let outcome = poster.post(&upstream.url()).await.unwrap();
                assert_eq!(upstream.count(), 1, "{} {status}", poster.name);
                if without_redirects(poster.name) {
                    assert_eq!((outcome, other.count()), (status, 0), "{}", poster.name);
                } else {
                    assert!(other.lines().iter().all(|line| line.starts_with("get ")), "{} {status}", poster.name);
                }
            }
        }
    }
}

/// Drops the call at each of its polls in turn.
#[tokio::test]
async fn rule_1_a_call_dropped_at_any_moment_has_posted_at_most_once() {
    for act in [Act::Reset, answer("503 Service Unavailable"), answer("200 OK")] {
        for poster in posters(Client::builder) {
            for polls in 1.. {
                let act = act.clone();
                let upstream = Upstream::start(move |_, _| act.clone()).await;
                let mut call = poster.post(&upstream.url());
                let mut left = polls;
                let ended = poll_fn(|cx| {
                    left -= 1;
                    let is_ready = call.as_mut().poll(cx).is_ready();
                    if is_ready || left == 0 { Poll::Ready(is_ready) } else { Poll::Pending }
                });
                let has_ended = ended.await;
                drop(call);
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                assert!(upstream.count() <= 1, "{} {polls}", poster.name);
                if has_ended {
                    assert_eq!(upstream.count(), 1, "{}", poster.name);
                    break;
                }
            }
        }
    }
}

/// The connection of the first request stays open. The server takes the second one and closes or resets.
#[tokio::test]
async fn rule_1_a_post_on_a_kept_connection_that_breaks_is_sent_once() {
    for poster in posters(Client::builder) {
        for is_reset in [false, true] {
            let (posts, connections) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
            let (counted, connected) = (posts.clone(), connections.clone());
            let server = Server::start(move |mut stream| {
                let (counted, connected) = (counted.clone(), connected.clone());
                async move {
                    connected.fetch_add(1, Relaxed);
                    for n in 0.. {
                        let head = read_head_text(&mut stream).await.to_ascii_lowercase();
                        let mut body = vec![0; if head.contains("chunked") { 4 + 5 + 5 } else { 4 }];
                        stream.read_exact(&mut body).await.unwrap();
                        counted.fetch_add(1, Relaxed);
                        if n == 1 {
                            break;
                        }
                        say(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                    }
                    if is_reset { rst(stream) } else { fin(stream) }
                }
            })
            .await;
            let url = server.uri().to_string();
            assert_eq!(poster.post(&url).await.unwrap(), 200);
            poster.post(&url).await.unwrap_err();
            assert_eq!((posts.load(Relaxed), connections.load(Relaxed)), (2, 1), "{}", poster.name);
        }
    }
}

#[tokio::test]
async fn rule_1_a_post_is_not_hedged() {
    for poster in posters(Client::builder) {
        let upstream = Upstream::start(|_, _| Act::Hang).await;
        let call = tokio::spawn(poster.post(&upstream.url()));
        upstream.hangs().await;
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(60)).await;
        tokio::time::resume();
        assert_eq!(upstream.count(), 1, "{}", poster.name);
        call.abort();
    }
}

/// A GOAWAY proves nothing; a refused stream does, unless the client may have sent several requests.
#[tokio::test]
async fn rule_1_a_post_that_http_2_gives_back_is_sent_again_only_with_proof() {
    for poster in posters(|| Client::builder().http2_prior_knowledge()) {
        for is_goaway in [true, false] {
            let posts = Arc::new(AtomicU32::new(0));
            let counted = posts.clone();
            let server = Server::start(move |mut stream| {
                let counted = counted.clone();
                async move {
                    frames::greet(&mut stream).await;
                    while let Ok(frame) = frames::next_frame(&mut stream).await {
                        if frame.kind != frames::HEADERS {
                        } else if counted.fetch_add(1, Relaxed) > 0 {
                            frames::headers(&mut stream, frame.id, &[(":status", "200")], true).await;
                        } else if is_goaway {
                            frames::go_away(&mut stream, 0, NO_ERROR).await;
                        } else {
                            frames::reset_stream(&mut stream, frame.id, REFUSED_STREAM).await;
                        }
                    }
                }
            })
            .await;
            let outcome = poster.post(&server.uri().to_string()).await;
            let is_proof = !is_goaway && !matches!(poster.name, "layers" | "inside");
            let posts = posts.load(Relaxed);
            assert_eq!((posts, outcome.is_ok()), if is_proof { (2, true) } else { (1, false) }, "{}", poster.name);
        }
    }
}

/// Each of many posts arrives once, whichever clone it takes.
#[tokio::test]
async fn rule_1_clones_post_once_each() {
    for poster in posters(Client::builder) {
        let upstream = Upstream::start(|n, _| if n == 3 { Act::Reset } else { answer("200 OK") }).await;
        let calls: Vec<_> = (0..8).map(|_| tokio::spawn(poster.post(&upstream.url()))).collect();
        for call in calls {
            let _ = call.await.unwrap();
        }
        assert_eq!(upstream.count(), 8, "{}", poster.name);
    }
}

/// The server closes every connection right after its answer and does not announce it, so that the next request may be
/// on its way. Each request has an id, and some connections break with the request in the hands of the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_1_connections_that_close_behind_each_answer_double_no_post() {
    let seen = Arc::<Mutex<HashMap<String, u32>>>::default();
    let counted = seen.clone();
    let server = Server::start(move |mut stream| {
        let counted = counted.clone();
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                head.push(byte);
            }
            let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
            let mut body = vec![0; if head.contains("chunked") { 4 + 5 + 5 } else { 4 }];
            if stream.read_exact(&mut body).await.is_err() {
                return;
            }
            let path = head.split(' ').nth(1).unwrap().to_owned();
            let breaks = path.ends_with('7');
            *counted.lock().unwrap().entry(path).or_default() += 1;
            if breaks {
                return rst(stream);
            }
            say(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            fin(stream);
        }
    })
    .await;
    let posts = posts();
    for (index, poster) in posters(Client::builder).into_iter().enumerate() {
        let poster = Arc::new(poster);
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let (poster, url) = (poster.clone(), server.uri());
                tokio::spawn(async move {
                    for n in (caller..posts).step_by(4) {
                        let _ = poster.post(&format!("{url}{index}/{n}")).await;
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        let seen = seen.lock().unwrap();
        let doubled: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
        assert!(doubled.is_empty(), "{}: {doubled:?}", poster.name);
        assert!(seen.len() > posts * (index + 1) / 2, "{}: only {} have arrived", poster.name, seen.len());
    }
}

/// For a run by hand: `RAMPART_POSTS=4000 cargo test -p wire --all-features behind_each`.
fn posts() -> usize {
    std::env::var("RAMPART_POSTS").map_or(50, |posts| posts.parse().unwrap())
}
