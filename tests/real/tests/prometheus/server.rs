//! A Prometheus of its own, and its HTTP API.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rampart_real::process::{Process, free_address};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tower_rampart::BoxError;

/// For `$__rate_interval`, which is at least four times the scrape interval.
pub(crate) const RANGE: &str = "4s";

const CONFIG: &str = "\
global: { scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms }
rule_files: [RULES]
scrape_configs:
  - job_name: rampart
    static_configs: [{ targets: [TARGET] }]
";

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Prometheus {
    address: SocketAddr,
    // Ends before its directory goes.
    _process: Process,
    _directory: TempDir,
}

/// One series of an answer.
pub(crate) struct Found {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Prometheus {
    /// Starts it, scraping that address and evaluating those rules.
    pub(crate) async fn start(program: &Path, target: SocketAddr, rules: &Path) -> Self {
        let (directory, address) = (TempDir::new().unwrap(), free_address());
        let (config, log) = (directory.path().join("prometheus.yml"), directory.path().join("log"));
        let text = CONFIG.replace("RULES", rules.to_str().unwrap()).replace("TARGET", &format!("\"{target}\""));
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(program);
        command.arg("--config.file").arg(config);
        command.arg("--storage.tsdb.path").arg(directory.path().join("data"));
        command.arg(format!("--web.listen-address={address}"));
        let process = Process::start(&mut command, &log).unwrap();
        let this = Self { address, _process: process, _directory: directory };
        eventually(async || match get(address, "/-/ready").await {
            Ok((200, _)) => Ok(()),
            other => Err(format!("{other:?}: {}", std::fs::read_to_string(&log).unwrap())),
        })
        .await;
        this
    }

    /// The answer to a query in PromQL.
    pub(crate) async fn query(&self, expression: &str) -> Vec<Found> {
        let data = self.api(&format!("query?query={}", encoded(expression))).await;
        let series = data["result"].as_array().unwrap().iter();
        series
            .map(|series| Found {
                labels: serde_json::from_value(series["metric"].clone()).unwrap(),
                value: series["value"][1].as_str().unwrap().parse().unwrap(),
            })
            .collect()
    }

    /// The data of an answer of the API, which must not be an error.
    pub(crate) async fn api(&self, path: &str) -> Value {
        let (_, body) = get(self.address, &format!("/api/v1/{path}")).await.unwrap();
        let mut answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer["status"], "success", "{path}: {}", answer["error"]);
        answer["data"].take()
    }
}

/// Status and body.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Result<(u16, String), BoxError> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let response = client.get(format!("http://{address}{path}").parse()?).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8(body.into())?))
}

/// Asks again and again until it is right.
pub(crate) async fn eventually(mut is_right: impl AsyncFnMut() -> Result<(), String>) {
    let end = Instant::now() + PATIENCE;
    while let Err(error) = is_right().await {
        assert!(Instant::now() < end, "{error}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// For a query of a URI: all but small letters and digits percent-encoded.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        let _ = match byte {
            b'a'..=b'z' | b'0'..=b'9' => encoded.write_char(byte.into()),
            _ => write!(encoded, "%{byte:02X}"),
        };
        encoded
    })
}
