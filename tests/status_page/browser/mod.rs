//! The page in Chromium. Skipped where there is none, but not by CI that has installed it.

mod devtools;

use std::convert::Infallible;
use std::io::{Write, stderr};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower::Service;
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{Mode, partition};
use tower_rampart::status_page::{ResponseBody, StatusPage};

use self::devtools::Tab;
use crate::support::*;

/// The partitions in the table, from top to bottom.
const PARTITIONS: &str = "[...document.querySelectorAll('#rows td:nth-child(2) span')].map(cell => cell.textContent)";

/// The name of the browser, if there is one.
fn chromium() -> Option<&'static str> {
    let is_there =
        |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(is_there);
    if found.is_none() {
        // Not captured as `eprintln!` is.
        let _ = writeln!(stderr(), "skipped: there is no Chromium");
    }
    found
}

/// Serves a page with plain hyper.
fn serve<Guard>(runtime: &Runtime, page: StatusPage<Guard>) -> SocketAddr
where
    Guard: Fn(&Parts) -> bool + Clone + Send + Sync + 'static,
{
    serve_at("127.0.0.1:0".parse().unwrap(), runtime, page)
}

fn serve_at<Guard>(address: SocketAddr, runtime: &Runtime, page: StatusPage<Guard>) -> SocketAddr
where
    Guard: Fn(&Parts) -> bool + Clone + Send + Sync + 'static,
{
    serve_service(address, runtime, move |request| page.clone().call(request))
}

fn serve_service<Responds>(
    address: SocketAddr,
    runtime: &Runtime,
    service: impl Fn(Request<Incoming>) -> Responds + Clone + Send + 'static,
) -> SocketAddr
where
    Responds: Future<Output = Result<Response<ResponseBody>, Infallible>> + Send + 'static,
{
    let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service_fn(service.clone());
            tokio::spawn(async move {
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(socket), service).await;
            });
        }
        Ok::<_, Infallible>(())
    });
    address
}
#[test]
fn an_operator_finds_what_is_open_and_closes_it() {
    let Some(chromium) = chromium() else { return };
    let runtime = Runtime::new().unwrap();
    let billing = tenants("billing");
    let hostile = ["<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "</td></tr>&amp;"];
    for name in hostile.into_iter().chain(["tenant-20", "tenant-3", "tenant-2", "tenant-10", "tenant-1"]) {
        tenant(&billing, name).try_acquire().unwrap().succeed();
    }
    let two = tenant(&billing, "tenant-2");
    let ten = tenant(&billing, "tenant-10");
    ten.force_open();
    let secret = CircuitBreakerLayer::new_for_http().name("secret").partition_by(partition::extension::<String>());
    let secret = secret.redact_labels(true).handle();
    let redacted = tenant(&secret, "hunter2");
    let page = StatusPage::new().prefix("/admin/breakers").breakers(billing).breakers(secret).guard(|_| true);
    let address = serve(&runtime, page);

    let mut tab = Tab::open(chromium, "operator");
    // Without a slash at the end, relative addresses would lead elsewhere.
    tab.go(&format!("http://{address}/admin/breakers"));
    tab.until("document.querySelectorAll('#rows tr').length === 9");
    tab.until("document.querySelector('#connection').textContent.includes('Live')");
    assert_eq!(tab.eval("document.title"), "(1 open) Circuit breakers");

    // Open ones first, and the others in the order of their numbers.
    let partitions = tab.eval(PARTITIONS);
    let partitions: Vec<_> = partitions.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(
        (partitions[0], &partitions[4..]),
        ("tenant-10", &["tenant-1", "tenant-2", "tenant-3", "tenant-20", redacted.partition()][..])
    );
    assert_eq!(tab.eval("document.querySelector('#rows td').innerText"), "■ open\nforced open");
    assert_eq!(tab.eval("document.querySelector('#rows td:nth-child(5)').innerText"), "not until reset");
    // It opened before the page was made: what was before is not known.
    let strip = tab.eval("document.querySelector('#rows tr svg').getAttribute('aria-label')");
    assert!(strip.as_str().unwrap().starts_with("open ") && strip.as_str().unwrap().ends_with(" ago"), "{strip}");

    // Escaped and redacted.
    for name in hostile.map(|name| format!("{name:?}")).map(|name| name[1..name.len() - 1].to_owned()) {
        assert!(partitions.contains(&&*name), "{name} is not in {partitions:?}");
    }
    assert_eq!(tab.eval("[document.scripts.length, document.images.length]"), json!([1, 0]));
    assert_eq!(tab.eval("document.documentElement.outerHTML.includes('hunter2')"), false);

    // A change arrives.
    fail(&two, 2);
    tab.until(&format!("{PARTITIONS}.slice(0, 2).join() === 'tenant-2,tenant-10'"));
    let row = "document.querySelector('#rows tr')";
    tab.until(&format!("/^in \\d+ s$/.test({row}.children[4].innerText)"));
    assert_eq!(tab.eval(&format!("{row}.children[2].innerText")), "67 %\n2 of 3 calls");
    let since = tab.eval(&format!("{row}.children[5].innerText"));
    let why = "s\nconsecutive failures. It opened because 2 calls in a row failed (2 of 3 in the window).";
    assert!(since.as_str().unwrap().ends_with(why), "{since}");
    let strip = tab.eval(&format!("{row}.querySelector('svg').getAttribute('aria-label')"));
    assert!(strip.as_str().unwrap().starts_with("closed, then open "), "{strip}");

    // Search, with the keyboard.
    tab.press("/", "/");
    tab.write("TENANT-1");
    tab.until(&format!("{PARTITIONS}.join() === 'tenant-10,tenant-1'"));
    assert_eq!(tab.eval("document.querySelector('#summary').textContent"), "Showing 2 of 9 breakers");
    assert_eq!(
        tab.eval("[...document.querySelectorAll('#filters button')].map(button => button.textContent).join()"),
        "All 2,Open 1,Half-open 0,Closed 1,Not automatic 1"
    );

    // Reset, with the keyboard.
    tab.eval("document.querySelector('#rows button[aria-label=\"Reset billing tenant-10\"]').focus()");
    tab.press("Enter", "\r");
    tab.until("document.querySelector('#ask').open");
    assert_eq!(tab.eval("document.querySelector('#question').textContent"), "Reset billing, partition tenant-10?");
    // Nothing happens by a second Enter alone.
    assert_eq!(tab.eval("document.activeElement.id"), "no");
    assert_eq!(ten.mode(), Mode::ForcedOpen);
    tab.press("Tab", "");
    tab.press("Enter", "\r");
    tab.until(&format!("{PARTITIONS}.join() === 'tenant-1,tenant-10'"));
    assert_eq!(ten.mode(), Mode::Automatic);
    let focus = "document.activeElement.getAttribute('aria-label')";
    assert_eq!(tab.eval(focus), "Reset billing tenant-10");
    // A row that moves keeps the focus.
    ten.force_open();
    tab.until(&format!("{PARTITIONS}.join() === 'tenant-10,tenant-1'"));
    assert_eq!(tab.eval(focus), "Reset billing tenant-10");
    assert_eq!(tab.errors, Vec::<String>::new());
}

#[test]
fn a_reader_sees_thousands_and_no_button_to_press() {
    let Some(chromium) = chromium() else { return };
    let runtime = Runtime::new().unwrap();
    let billing = tenants("billing");
    for number in 0..5_000 {
        // One that has counted nothing may be evicted.
        tenant(&billing, &format!("tenant-{number}")).try_acquire().unwrap().succeed();
    }
    let last = tenant(&billing, "tenant-4999");
    let address = serve(&runtime, StatusPage::new().breakers(billing));

    let mut tab = Tab::open(chromium, "reader");
    tab.go(&format!("http://{address}/"));
    tab.until("document.querySelectorAll('#rows tr').length === 200");
    assert_eq!(tab.eval("document.querySelector('#summary').textContent"), "Showing 200 of 5,000 breakers");
    assert_eq!(tab.eval("[...document.querySelectorAll('.acts')].some(acts => acts.offsetParent)"), false);
    fail(&last, 2);
    tab.until(&format!("{PARTITIONS}[0] === 'tenant-4999'"));
    tab.eval("document.querySelector('#more').click()");
    assert_eq!(tab.eval("document.querySelectorAll('#rows tr').length"), 400);
    tab.eval("document.querySelector('[data-filter=Open]').click()");
    assert_eq!(tab.eval(PARTITIONS), json!(["tenant-4999"]));
    assert_eq!(tab.errors, Vec::<String>::new());
}

#[test]
fn the_page_finds_a_server_that_was_restarted() {
    let Some(chromium) = chromium() else { return };
    let runtime = Runtime::new().unwrap();
    let before = tenants("billing");
    let _ = (tenant(&before, "one"), tenant(&before, "six"), tenant(&before, "two"));
    let address = serve(&runtime, StatusPage::new().breakers(before.clone()));
    let mut tab = Tab::open(chromium, "restarted");
    tab.go(&format!("http://{address}/"));
    tab.until(&format!("{PARTITIONS}.join() === 'one,six,two'"));
    // Those that come and go have their places among the others.
    assert!(before.remove(&"one".to_owned()));
    let _ = (tenant(&before, "zero"), tenant(&before, "ten"), tenant(&before, "five"));
    tab.until(&format!("{PARTITIONS}.join() === 'five,six,ten,two,zero'"));

    drop(runtime);
    tab.until("document.querySelector('#connection').textContent === 'Connection lost, trying again…'");
    // What was known is still to be seen.
    assert_eq!(tab.eval(PARTITIONS), json!(["five", "six", "ten", "two", "zero"]));
    let runtime = Runtime::new().unwrap();
    let after = tenants("billing");
    let _ = tenant(&after, "three");
    serve_at(address, &runtime, StatusPage::new().breakers(after));
    tab.until(&format!("{PARTITIONS}.join() === 'three'"));
}

#[test]
fn the_recordings_of_layers_are_links_that_follow_a_restart() {
    let Some(chromium) = chromium() else { return };
    let runtime = Runtime::new().unwrap();
    let page = |names: [&str; 3]| {
        let layer = |name: &str| CircuitBreakerLayer::new_for_http().name(name).flight_recorder(64).handle();
        names.iter().fold(StatusPage::new(), |page, name| page.breakers(layer(name)))
    };
    let long = format!("<b>{}", "x".repeat(300));
    let address = serve(&runtime, page(["one", "two", &long]));
    let mut tab = Tab::open(chromium, "recordings");
    tab.go(&format!("http://{address}/"));
    let links = "[...document.querySelectorAll('#recordings a')].map(link => link.pathname + ' ' + link.textContent)";
    tab.until(&format!("{links}.length === 3"));
    let text = tab.eval("document.querySelector('#recordings').textContent");
    assert_eq!(text, format!("Recording of one Recording of two Recording of {long} "));
    assert_eq!(tab.eval("document.documentElement.scrollWidth <= innerWidth"), true);

    drop(runtime);
    let runtime = Runtime::new().unwrap();
    serve_at(address, &runtime, page(["zero", "one", "two"]));
    tab.until(&format!("{links}[1] === '/recordings/1 Recording of one'"));
}

#[test]
fn a_hidden_tab_gives_its_stream_back() {
    let Some(chromium) = chromium() else { return };
    let runtime = Runtime::new().unwrap();
    let billing = tenants("billing");
    let one = tenant(&billing, "one");
    let page = StatusPage::new().breakers(billing);
    let streams = || runtime.block_on(async { send(page.clone(), get("/events")).await });
    // The tab has the last of the sixteen streams.
    let mut held: Vec<_> = (0..15).map(|_| streams()).collect();
    let address = serve(&runtime, page.clone());
    let mut tab = Tab::open(chromium, "hidden");
    tab.go(&format!("http://{address}/"));
    tab.until(&format!("{PARTITIONS}.join() === 'one'"));
    assert_eq!(streams().status(), StatusCode::SERVICE_UNAVAILABLE);

    let hide = |is_hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{ value: {is_hidden}, configurable: true }});
             document.dispatchEvent(new Event('visibilitychange'))"
        )
    };
    tab.eval(&hide(true));
    assert_eq!(tab.eval("document.title"), "Circuit breakers (paused)");
    tab.until("document.querySelector('#connection').textContent === 'Connecting…'");
    let until_free = "(async () => { while ((await fetch('/events', { method: 'HEAD' })).status === 503); })()";
    tab.eval(until_free);
    held.push(streams());
    assert_eq!(held[15].status(), StatusCode::OK);
    one.force_open();

    // Shown again, it finds no place, says so, and comes back later.
    tab.eval(&hide(false));
    tab.until("document.querySelector('#connection').textContent === 'Too many viewers, trying again…'");
    assert_eq!(tab.eval("document.querySelector('#rows td').innerText"), "○ closed");
    held.clear();
    tab.until("document.querySelector('#connection').textContent.includes('Live')");
    tab.until("document.querySelector('#rows td').innerText === '■ open\\nforced open'");
    assert_eq!(tab.eval("document.title"), "(1 open) Circuit breakers");
}

#[test]
fn the_page_says_that_it_loads_and_that_an_action_has_no_answer() {
    let Some(chromium) = chromium() else { return };
    let runtime = Runtime::new().unwrap();
    let billing = tenants("billing");
    let one = tenant(&billing, "one");
    let page = StatusPage::new().breakers(billing).guard(|_| true);
    let is_loading = Arc::new(AtomicBool::new(true));
    let first = is_loading.clone();
    // A server that answers neither the first streams nor any action.
    let address = serve_service("127.0.0.1:0".parse().unwrap(), &runtime, move |request| {
        let hangs = request.method() == Method::POST || (request.uri() == "/events" && first.load(Ordering::Relaxed));
        let answer = page.clone().call(request);
        async move { if hangs { std::future::pending().await } else { answer.await } }
    });
    let mut tab = Tab::open(chromium, "slow");
    tab.go(&format!("http://{address}/"));
    tab.until("document.querySelector('#summary').textContent === 'Loading…'");
    assert_eq!(tab.eval("document.querySelector('#connection').textContent"), "Connecting…");
    assert_eq!(tab.eval("document.querySelector('#filters').innerText.includes('0')"), false);

    is_loading.store(false, Ordering::Relaxed);
    tab.go(&format!("http://{address}/"));
    tab.until(&format!("{PARTITIONS}.join() === 'one'"));
    // A hundred times sooner.
    tab.eval(
        "{ const wait = AbortSignal.timeout.bind(AbortSignal); AbortSignal.timeout = millis => wait(millis / 100); }",
    );
    tab.eval("document.querySelector('#rows button').click(); document.querySelector('#yes').click()");
    let failure = "document.querySelector('#failure').textContent";
    tab.until(&format!("{failure} === 'Force open one: no answer within ten seconds'"));
    assert_eq!(one.mode(), Mode::Automatic);
}
