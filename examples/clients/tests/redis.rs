//! What the errors of redis mean, on the real server, killed and restarted. Skipped where `redis-server` is not
//! installed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Arg, AsyncConnectionConfig, Client, Cmd, RedisError, RetryMethod, Value, cmd};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::classify::{Class, ClassifiedError, Classifier, Health, Processed, Verdict, classifier_fn};
use tower_rampart::retry::{Backoff, GiveUp, RetryError, RetryEvent};
use tower_rampart::{BoxError, RetryLayer};

const MS: Duration = Duration::from_millis(1);

/// As in the program of the newcomer.
fn verdicts() -> impl Classifier<Value> + Copy + Send + Sync + 'static {
    classifier_fn(|outcome: Result<&Value, _>| match outcome {
        Ok(_) => Verdict::success(),
        Err(error) => match error.downcast_ref().map(RedisError::retry_method) {
            Some(RetryMethod::NoRetry) => Verdict::terminal(),
            Some(RetryMethod::WaitAndRetry) => Verdict::transient().with_processed(Processed::No),
            _ => Verdict::of_error(error),
        },
    })
}

fn is_get(command: &Cmd) -> bool {
    command.args_iter().next() == Some(Arg::Simple(b"GET"))
}

fn get(key: &str) -> Cmd {
    cmd("GET").arg(key).take()
}

/// A server of its own in a folder of its own, which is killed at the end.
struct Server {
    process: Child,
    port: u16,
    folder: PathBuf,
}

impl Server {
    /// Returns none, with a message, where there is no `redis-server`.
    fn start(name: &str, options: &str) -> Option<Self> {
        if Command::new("redis-server").arg("--version").output().is_err() {
            eprintln!("skipped: redis-server is not installed");
            return None;
        }
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("redis-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let process = launch(port, &folder, options, "Ready to accept connections");
        Some(Self { process, port, folder })
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn restart(&mut self, options: &str, until: &str) {
        self.process = launch(self.port, &self.folder, options, until);
    }

    fn client(&self) -> Client {
        client(self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn client(port: u16) -> Client {
    Client::open(format!("redis://127.0.0.1:{port}")).unwrap()
}

/// Returns once the server has logged these words.
fn launch(port: u16, folder: &Path, options: &str, until: &str) -> Child {
    let mut process = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
        .arg(folder)
        .args(options.split(' '))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let found = lines.by_ref().map_while(Result::ok).any(|line| line.contains(until));
    assert!(found, "redis-server ended before {until:?}");
    std::thread::spawn(move || lines.for_each(drop));
    process
}

/// Connects anew for each command that finds no connection, and leaves the waiting to the layers.
async fn manager(client: Client) -> ConnectionManager {
    let config = ConnectionManagerConfig::new().set_number_of_retries(0);
    client.get_connection_manager_with_config(config).await.unwrap()
}

fn over(
    redis: ConnectionManager,
    retries: Arc<AtomicUsize>,
) -> impl Service<Cmd, Response = Value, Error = BoxError, Future: Send> + Clone + Send {
    ServiceBuilder::new()
        .layer(
            RetryLayer::new(verdicts())
                .idempotent(is_get)
                .max_attempts(500)
                .backoff(Backoff::fixed(10 * MS))
                .no_budget()
                .on_retry(move |_: &RetryEvent<'_>| {
                    retries.fetch_add(1, Relaxed);
                }),
        )
        .service(service_fn(move |command: Cmd| {
            let mut redis = redis.clone();
            async move { command.query_async::<Value>(&mut redis).await }
        }))
}

#[tokio::test]
async fn the_default_takes_every_error_for_transient_and_the_closure_knows_better() {
    let Some(mut server) = Server::start("errors", "--save") else { return };
    let mut redis = server.client().get_multiplexed_async_connection().await.unwrap();
    let mut run = async |command: &mut Cmd| command.query_async::<Value>(&mut redis).await;
    run(cmd("SET").arg("number").arg(1)).await.unwrap();
    let wrong_type = run(cmd("LPUSH").arg("number").arg(1)).await.unwrap_err();
    let unknown = run(&mut cmd("NONSENSE")).await.unwrap_err();

    let impatient = AsyncConnectionConfig::new().set_response_timeout(Some(20 * MS));
    let mut other = server.client().get_multiplexed_async_connection_with_config(&impatient).await.unwrap();
    run(cmd("CLIENT").arg("PAUSE").arg(60).arg("ALL")).await.unwrap();
    let timed_out = get("number").query_async::<Value>(&mut other).await.unwrap_err();
    assert!(timed_out.is_timeout());

    let blocked =
        tokio::spawn(async move { cmd("BLPOP").arg("nothing").arg(0).query_async::<Value>(&mut redis).await });
    tokio::task::yield_now().await;
    server.kill();
    let dropped = blocked.await.unwrap().unwrap_err();
    assert!(dropped.is_connection_dropped(), "{dropped}");
    let refused = server.client().get_multiplexed_async_connection().await.unwrap_err();
    assert!(refused.is_connection_refusal());

    server.restart("--cluster-enabled yes --save", "Ready to accept connections");
    let mut redis = server.client().get_multiplexed_async_connection().await.unwrap();
    let cluster_down = get("number").query_async::<Value>(&mut redis).await.unwrap_err();
    let of_cluster = |answer: &[u8]| redis::parse_redis_value(answer).unwrap().extract_error().unwrap_err();
    let read_only = of_cluster(b"-READONLY You can't write against a read only replica.\r\n");
    let moved = of_cluster(b"-MOVED 3999 127.0.0.1:6381\r\n");
    let try_again = of_cluster(b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n");

    use Class::{Terminal, Transient};
    use Processed::{Maybe, No, Yes};
    // By default: the reason. By the closure: what is done.
    for (error, reason, class, processed, health) in [
        (wrong_type, "unknown", Terminal, Yes, Health::Success),
        (unknown, "unknown", Terminal, Yes, Health::Success),
        (read_only, "unknown", Terminal, Yes, Health::Success),
        (timed_out, "timeout", Transient, Maybe, Health::Failure),
        (dropped, "reset", Transient, Maybe, Health::Failure),
        (refused, "connect", Transient, Maybe, Health::Failure),
        (cluster_down, "unknown", Transient, No, Health::Failure),
        (try_again, "unknown", Transient, No, Health::Failure),
        (moved, "unknown", Transient, Maybe, Health::Failure),
    ] {
        let default = Verdict::of_error(&error);
        let told = (default.class(), default.processed(), default.health(), default.reason().as_str());
        assert_eq!(told, (Transient, Maybe, Health::Failure, reason), "{error}");
        let better = verdicts().classify(Err(&error));
        assert_eq!((better.class(), better.processed(), better.health()), (class, processed, health), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_outlives_a_restart_and_no_push_is_doubled_or_lost() {
    let options = "--appendonly yes --appendfsync always --save";
    let Some(mut server) = Server::start("restart", options) else { return };
    let retries = Arc::new(AtomicUsize::new(0));
    let redis = over(manager(server.client()).await, retries.clone());
    redis.clone().oneshot(cmd("SET").arg("greeting").arg("hello").take()).await.unwrap();

    let (sender, mut acknowledged) = tokio::sync::mpsc::unbounded_channel();
    let caller = tokio::spawn({
        let redis = redis.clone();
        async move {
            let mut unknown = 0;
            for number in 0..2_000_usize {
                match redis.clone().oneshot(cmd("RPUSH").arg("numbers").arg(number).take()).await {
                    Ok(_) => drop(sender.send(number)),
                    Err(error) => {
                        assert_eq!(RetryError::find(&*error).unwrap().kind(), GiveUp::NotIdempotent, "{error}");
                        unknown += 1;
                        // A GET waits for the server to come back.
                        redis.clone().oneshot(get("greeting")).await.unwrap();
                    }
                }
            }
            unknown
        }
    });
    let mut pushed = HashSet::new();
    for kill_at in [300, 600, 900] {
        while pushed.len() < kill_at {
            pushed.insert(acknowledged.recv().await.unwrap());
        }
        server.kill();
        server.restart(options, "Ready to accept connections");
    }
    let unknown: usize = caller.await.unwrap();
    while let Some(number) = acknowledged.recv().await {
        pushed.insert(number);
    }
    let numbers = redis.oneshot(cmd("LRANGE").arg("numbers").arg(0).arg(-1).take()).await.unwrap();
    let numbers: Vec<usize> = redis::from_redis_value(numbers).unwrap();
    let distinct: HashSet<_> = numbers.iter().copied().collect();
    assert_eq!(distinct.len(), numbers.len(), "none is doubled");
    assert!(pushed.is_subset(&distinct), "none that was acknowledged is lost");
    assert_eq!(pushed.len() + unknown, 2_000);
    assert!(unknown >= 3 && retries.load(Relaxed) >= 3, "{unknown} pushes, {} retries", retries.load(Relaxed));
}

/// A server that loads its data has done nothing: a command that is not idempotent is sent again, too.
#[tokio::test]
async fn a_server_that_is_loading_gets_every_command_again() {
    let Some(mut server) = Server::start("loading", "--save  --rdbcompression no") else { return };
    let mut redis = server.client().get_multiplexed_async_connection().await.unwrap();
    for key in 0..20 {
        cmd("SET").arg(key).arg("x".repeat(4_096)).query_async::<()>(&mut redis).await.unwrap();
    }
    cmd("SAVE").query_async::<()>(&mut redis).await.unwrap();
    server.kill();
    // Half a second, in which it answers after every kilobyte.
    server.restart("--key-load-delay 25000 --loading-process-events-interval-bytes 1024", "Server initialized");
    let retries = Arc::new(AtomicUsize::new(0));
    // The handshake of the client is answered with LOADING as well, which it ignores.
    let redis = over(manager(server.client()).await, retries.clone());
    let count = redis.oneshot(cmd("INCR").arg("count").take()).await.unwrap();
    assert_eq!(count, Value::Int(1));
    assert!(retries.load(Relaxed) >= 2, "{} retries", retries.load(Relaxed));
}

/// Where connecting is a step of its own, as with a pool, what fails there was never sent.
#[tokio::test]
async fn an_incr_is_retried_only_where_connecting_is_a_step_of_its_own() {
    let unused = client(TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port());
    for (own_step, kind, attempts) in [(true, GiveUp::Exhausted, 3), (false, GiveUp::NotIdempotent, 1)] {
        let unsent = move |error: RedisError| -> BoxError {
            let verdict = Verdict::of_error(&error);
            if own_step {
                ClassifiedError::with_source(verdict.with_processed(Processed::No), error).into()
            } else {
                error.into()
            }
        };
        let unused = &unused;
        let redis = ServiceBuilder::new()
            .layer(RetryLayer::new(verdicts()).idempotent(is_get).backoff(Backoff::none()))
            .service(service_fn(move |command: Cmd| async move {
                let mut redis = unused.get_multiplexed_async_connection().await.map_err(unsent)?;
                Ok::<Value, BoxError>(command.query_async(&mut redis).await?)
            }));
        let error = redis.oneshot(cmd("INCR").arg("count").take()).await.unwrap_err();
        let gave_up = RetryError::find(&*error).unwrap();
        assert_eq!((gave_up.kind(), gave_up.attempts()), (kind, attempts));
    }
}
