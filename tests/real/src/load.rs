//! Makes calls, so many at once, and notes how each ended.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_rampart::BoxError;
use tower_rampart::breaker::CircuitOpen;
use tower_rampart::classify::{Reason, Verdict};
use tower_rampart::retry::{GiveUp, RetryError};

use crate::client::{AnswerBody, Client};
use crate::request::{Kind, request};

/// Longer than any server here takes, however busy the machine.
const HANG: Duration = Duration::from_secs(30);

/// What a connection ends with whose server was killed. GOAWAY is not among them: a dead server says nothing.
const DEAD: [Reason; 4] = [Reason::RESET, Reason::INCOMPLETE, Reason::CANCELED, Reason::TLS];

#[derive(Clone, Debug)]
pub struct Call {
    pub id: u64,
    pub kind: Kind,
    pub begun: Instant,
    pub ended: Instant,
    pub ending: Ending,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// 200 and the whole body.
    Good,
    /// Another status, or a gRPC code other than OK.
    Declined { status: u16, unprocessed: bool },
    /// An error, of the call or of the body.
    Failed { why: Why, unprocessed: bool, text: String },
    /// Neither answer nor error.
    Hung,
}

/// The kinds of errors that an outage can explain, and the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    CircuitOpen,
    Budget,
    /// The last attempt found no connection, or the attempts were used up on a server that was not there.
    Unreachable,
    /// A good head whose body broke off, which no layer can take back.
    Body,
    Other,
}

/// How far the disturbance of the servers has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub rounds: usize,
    pub over: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub calls: usize,
    pub at_once: usize,
    pub kinds: &'static [Kind],
}

/// How long a worker waits after a rejection, unless the outage ends before.
const PAUSE: Duration = Duration::from_millis(200);

/// Ids are unique in the process, so that one ledger can take several loads.
static IDS: AtomicU64 = AtomicU64::new(1);

/// Goes on until the calls are made and the disturbance is over.
pub async fn drive(client: &Client, origin: &str, load: Load, progress: watch::Receiver<Progress>) -> Vec<Call> {
    let made = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..load.at_once {
        let (client, origin, made, mut progress) = (client.clone(), origin.to_owned(), made.clone(), progress.clone());
        workers.spawn(async move {
            let mut calls = Vec::new();
            loop {
                let number = made.fetch_add(1, Ordering::Relaxed);
                if number >= load.calls && progress.borrow_and_update().over {
                    return calls;
                }
                let call = call(&client, &origin, load.kinds[number % load.kinds.len()]).await;
                let at_once = matches!(
                    call.ending,
                    Ending::Failed { why: Why::CircuitOpen | Why::Budget | Why::Unreachable, .. }
                );
                calls.push(call);
                if at_once {
                    // Rejections take no time: without a pause they would be all that is counted.
                    let _ = timeout(PAUSE, progress.changed()).await;
                }
            }
        });
    }
    workers.join_all().await.into_iter().flatten().collect()
}

async fn call(client: &Client, origin: &str, kind: Kind) -> Call {
    let id = IDS.fetch_add(1, Ordering::Relaxed);
    let begun = Instant::now();
    let ending = timeout(HANG, async {
        match client.send(request(origin, kind, id)).await {
            Ok(response) => read(response, kind, id).await,
            Err(error) => failed(&*error),
        }
    });
    let ending = ending.await.unwrap_or(Ending::Hung);
    Call { id, kind, begun, ended: Instant::now(), ending }
}

async fn read(response: Response<AnswerBody>, kind: Kind, id: u64) -> Ending {
    let unprocessed = Verdict::of(&response).is_unprocessed();
    let (head, body) = response.into_parts();
    let collected = match body.collect().await {
        Ok(collected) => collected,
        Err(error) => return broken(&error),
    };
    let code =
        |headers: &HeaderMap| headers.get("grpc-status").and_then(|code| code.to_str().ok()?.parse::<u16>().ok());
    let code = collected.trailers().and_then(code).or_else(|| code(&head.headers));
    let body = collected.to_bytes();
    match (head.status, kind.is_grpc(), code) {
        (StatusCode::OK, false, _) if is_answer(&body, id) => Ending::Good,
        (StatusCode::OK, true, Some(0)) if body.len() > 5 && is_answer(&body.slice(5..), id) => Ending::Good,
        (StatusCode::OK, false, _) | (StatusCode::OK, true, Some(0)) => {
            wrong(&format!("an answer of {} bytes that is not its own", body.len()))
        }
        (StatusCode::OK, true, Some(status)) => Ending::Declined { status, unprocessed },
        (StatusCode::OK, true, None) => wrong("no grpc-status"),
        (status, ..) => Ending::Declined { status: status.as_u16(), unprocessed },
    }
}

fn is_answer(body: &Bytes, id: u64) -> bool {
    body == id.to_string().as_bytes()
}

fn broken(error: &BoxError) -> Ending {
    Ending::Failed { why: Why::Body, unprocessed: false, text: format!("body: {}", chain(&**error)) }
}

fn wrong(text: &str) -> Ending {
    Ending::Failed { why: Why::Other, unprocessed: false, text: text.to_owned() }
}

fn failed(error: &(dyn Error + 'static)) -> Ending {
    let gave_up = RetryError::find(error);
    let verdict = gave_up.map_or_else(|| Verdict::of_error(error), RetryError::verdict);
    let kind = gave_up.map(RetryError::kind);
    let why = if CircuitOpen::find(error).is_some() {
        Why::CircuitOpen
    } else if kind == Some(GiveUp::Budget) {
        Why::Budget
    } else if verdict.reason() == Reason::CONNECT
        || (kind == Some(GiveUp::Exhausted) && gave_up.is_some_and(met_an_outage))
    {
        Why::Unreachable
    } else {
        Why::Other
    };
    Ending::Failed { why, unprocessed: verdict.is_unprocessed(), text: chain(error) }
}

/// Whether an attempt of the call ended as one does whose server is down.
fn met_an_outage(gave_up: &RetryError) -> bool {
    gave_up.report().history().iter().map(|sending| sending.verdict()).any(|verdict| {
        verdict.reason() == Reason::CONNECT
            || DEAD.contains(&verdict.reason())
            || matches!(verdict.code(), Some(502..=504))
    })
}

/// The messages of an error and its sources, with digits masked so that equal failures count together.
fn chain(error: &(dyn Error + 'static)) -> String {
    let errors = std::iter::successors(Some(error), |&error| error.source());
    let text = errors.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    text.replace(|letter: char| letter.is_ascii_digit(), "#")
}
