//! What a call costs through the breaker, over the inner service alone. `cargo bench --bench breaker`
//!
//! Rounds of all paths take turns, and the smallest of each counts: what else the machine does only adds.

#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use http::{Request, Response};
use tower::{Layer, Service, service_fn};
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{Window, partition};

const CALLS: u32 = 200_000;
const ROUNDS: u32 = 15;

fn inner(request: Request<()>) -> Ready<Result<Response<()>, Infallible>> {
    black_box(request);
    ready(Ok(Response::new(())))
}

fn requests(hosts: usize) -> Vec<http::Uri> {
    (0..hosts).map(|host| format!("http://host-{host}.example/").parse().unwrap()).collect()
}

/// Nanoseconds a call.
fn measure<S>(service: &mut S, uris: &[http::Uri], calls: u32) -> f64
where
    S: Service<Request<()>>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let mut index = 0;
    let start = Instant::now();
    for _ in 0..calls {
        let mut request = Request::new(());
        *request.uri_mut() = uris[index].clone();
        // A stride that is no divisor: neighbours are not called in a row.
        index = (index + 7_919) % uris.len();
        let _ = black_box(service.poll_ready(&mut cx));
        let _ = black_box(pin!(service.call(request)).poll(&mut cx));
    }
    start.elapsed().as_nanos() as f64 / f64::from(calls)
}

type Path<'a> = (&'a str, usize, Box<dyn FnMut(&[http::Uri]) -> f64>);

fn path<'a, S>(name: &'a str, hosts: usize, mut service: S) -> Path<'a>
where
    S: Service<Request<()>> + 'static,
{
    (name, hosts, Box::new(move |uris| measure(&mut service, uris, CALLS)))
}

fn main() {
    let plain = CircuitBreakerLayer::new_for_http;
    let open = plain();
    open.breaker().force_open();
    let tripped = plain().window(Window::count(1)).open_for(Duration::from_secs(3_600));
    let mut opener = tripped.layer(service_fn(|_: Request<()>| {
        ready(Ok::<_, Infallible>(Response::builder().status(503).body(()).unwrap()))
    }));
    measure(&mut opener, &requests(1), 1);
    let by_host = || plain().partition_by(partition::host()).max_partitions(200_000);
    let mut paths = [
        path("bare", 1, service_fn(inner)),
        path("bare, 1,000 hosts", 1_000, service_fn(inner)),
        path("bare, 100,000 hosts", 100_000, service_fn(inner)),
        path("closed, count 100", 1, plain().window(Window::count(100)).layer(service_fn(inner))),
        path("closed, count 10,000", 1, plain().window(Window::count(10_000)).layer(service_fn(inner))),
        path("closed, time", 1, plain().layer(service_fn(inner))),
        path("closed, time, slow", 1, plain().slow_calls(Duration::from_secs(1), 0.9).layer(service_fn(inner))),
        path("by host, 1,000", 1_000, by_host().window(Window::count(100)).layer(service_fn(inner))),
        path("by host, 100,000", 100_000, by_host().window(Window::count(100)).layer(service_fn(inner))),
        path("open", 1, tripped.layer(service_fn(inner))),
        path("forced open", 1, open.layer(service_fn(inner))),
    ];
    let uris = [1, 1_000, 100_000].map(requests);
    // With a name, that path alone, and so many rounds of it: for a profiler.
    let rounds = std::env::args().nth(2).and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    if let Some(only) = std::env::args().nth(1).filter(|argument| !argument.starts_with('-')) {
        for (_, hosts, run) in paths.iter_mut().filter(|(name, ..)| *name == only) {
            (0..rounds).for_each(|_| {
                run(uris.iter().find(|uris| uris.len() == *hosts).unwrap());
            });
        }
        return;
    }
    let mut least = [f64::INFINITY; 11];
    for _ in 0..ROUNDS {
        for ((_, hosts, run), least) in paths.iter_mut().zip(&mut least) {
            let uris = uris.iter().find(|uris| uris.len() == *hosts).unwrap();
            *least = least.min(run(uris));
        }
    }
    for ((name, hosts, _), ns) in paths.iter().zip(&least) {
        let bare = match hosts {
            1 => least[0],
            1_000 => least[1],
            _ => least[2],
        };
        println!("{name:24} {ns:7.1} ns  over bare {:7.1}", ns - bare);
    }
    let (one, two) = (threads(1), threads(2));
    println!("one breaker, one thread {one:.1} ns, two threads {two:.1} ns a call and thread (bare included)");
}

fn threads(count: usize) -> f64 {
    let layer = CircuitBreakerLayer::new_for_http().window(Window::count(100));
    let service = layer.layer(service_fn(inner));
    let uris = requests(1);
    (0..ROUNDS)
        .map(|_| {
            std::thread::scope(|scope| {
                let workers: Vec<_> = (0..count)
                    .map(|_| {
                        let (mut service, uris) = (service.clone(), &uris);
                        scope.spawn(move || measure(&mut service, uris, CALLS))
                    })
                    .collect();
                workers.into_iter().map(|worker| worker.join().unwrap()).sum::<f64>() / count as f64
            })
        })
        .fold(f64::INFINITY, f64::min)
}
