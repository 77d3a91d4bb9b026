//! One run: a server, a protocol, a scenario, a load.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::watch;

use crate::audit::{Audit, Outage};
use crate::certificate::Certificate;
use crate::client::{Client, Stack};
use crate::ledger::Ledger;
use crate::load::{Load, Progress, drive};
use crate::process::{Process, free_address, wait_until_accepts};
use crate::proxy::{Protocol, Proxy, Server, Setup};
use crate::request::Kind;

/// How long after a restart an outage lasts for the audit.
const SETTLE: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Nothing happens but what the server does by itself.
    Steady,
    Reload,
    /// `kill -9` of the proxy, then a restart.
    KillProxy,
    /// `kill -9` of the app, which stays away for a moment.
    KillApp,
    /// The proxy admits only so many requests a second; all of the run counts as an outage.
    Limited,
}

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub server: Server,
    pub setup: Setup,
    pub protocol: Protocol,
    pub scenario: Scenario,
    pub stack: Stack,
    pub load: Load,
    /// How often the servers are disturbed, at least: the load goes on for as long.
    pub rounds: usize,
    /// The time between disturbances.
    pub every: Duration,
}

impl Plan {
    /// A few thousand calls at most, with all defaults but for a limit of an attempt.
    #[must_use]
    pub const fn short(server: Server, protocol: Protocol, scenario: Scenario) -> Self {
        Self {
            server,
            setup: Setup { keepalive_requests: None, limit: None, backend_h2: false },
            protocol,
            scenario,
            stack: Stack::HttpTimed,
            load: Load { calls: 1_000, at_once: 100, kinds: &[Kind::Get, Kind::Post, Kind::Get, Kind::PostSmall] },
            rounds: match scenario {
                Scenario::Steady => 0,
                _ => 2,
            },
            every: Duration::from_millis(300),
        }
    }

    #[must_use]
    pub fn name(&self) -> String {
        let Self { server, setup, protocol, scenario, stack, load, .. } = self;
        format!(
            "{server:?} {} {scenario:?} {setup:?} {stack:?} {:?} at {} at once",
            protocol.as_str(),
            load.kinds,
            load.at_once
        )
    }
}

/// Runs the plan.
///
/// `app` is this package's program, which serves the app.
pub async fn run(plan: &Plan, app: &Path) -> io::Result<Audit> {
    let directory = directory()?;
    let certificate = Certificate::create(directory.path())?;
    let mut app = App::start(app, directory.path())?;
    let mut proxy = Proxy::start(plan.server, plan.setup, app.address, &certificate, directory.path())?;
    let client = Client::new(plan.stack, plan.protocol, Some(&certificate));
    let (progress, watched) = watch::channel(Progress::default());
    let origin = proxy.origin(plan.protocol);

    let begun = Instant::now();
    let load = drive(&client, &origin, plan.load, watched);
    let disturbed = async {
        let outages = disturb(plan, &mut proxy, &mut app, &client, &progress).await;
        // Also where a server did not come back: the load must not go on for ever.
        progress.send_modify(|progress| progress.over = true);
        outages
    };
    let (calls, outages) = tokio::join!(load, disturbed);
    let mut outages = outages?;
    if plan.scenario == Scenario::Limited {
        outages.push(Outage { begun, ended: Instant::now() });
    }

    // No request reaches the app from here on, and it works off what it has.
    proxy.kill()?;
    let ledger = app.finish()?;
    Ok(Audit::new(&calls, &Ledger::read(&ledger)?, &outages))
}

async fn disturb(
    plan: &Plan,
    proxy: &mut Proxy,
    app: &mut App,
    client: &Client,
    progress: &watch::Sender<Progress>,
) -> io::Result<Vec<Outage>> {
    let mut outages = Vec::new();
    for _ in 0..plan.rounds {
        tokio::time::sleep(plan.every).await;
        let begun = Instant::now();
        // The servers are waited for in this thread, because the load has others.
        tokio::task::block_in_place(|| match plan.scenario {
            Scenario::Steady | Scenario::Limited => Ok(()),
            Scenario::Reload => {
                proxy.reload();
                Ok(())
            }
            Scenario::KillProxy => {
                proxy.kill()?;
                proxy.restart()
            }
            Scenario::KillApp => {
                app.kill();
                // Long enough for the proxy to answer some requests with 502.
                std::thread::sleep(Duration::from_millis(30));
                app.restart()
            }
        })?;
        match plan.scenario {
            Scenario::Steady | Scenario::Reload => {}
            Scenario::Limited => client.reset(),
            Scenario::KillProxy | Scenario::KillApp => {
                client.reset();
                // Calls that failed during the outage have yet to notice, and may open a breaker once more.
                tokio::time::sleep(SETTLE).await;
                client.reset();
                outages.push(Outage { begun, ended: Instant::now() });
            }
        }
        progress.send_modify(|progress| progress.rounds += 1);
    }
    Ok(outages)
}

/// A directory that the workers of a server started by root can enter, too.
pub(crate) fn directory() -> io::Result<TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::Builder::new().prefix("rampart-real-").tempdir()?;
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
    Ok(directory)
}

/// The app as a process.
struct App {
    program: PathBuf,
    directory: PathBuf,
    address: SocketAddr,
    process: Option<Process>,
}

impl App {
    fn start(program: &Path, directory: &Path) -> io::Result<Self> {
        let mut app = Self {
            program: program.to_owned(),
            directory: directory.to_owned(),
            address: free_address(),
            process: None,
        };
        app.restart()?;
        Ok(app)
    }

    fn restart(&mut self) -> io::Result<()> {
        let mut command = Command::new(&self.program);
        command.arg("app").arg(self.address.to_string()).arg(self.ledger());
        self.process = Some(Process::start(&mut command, &self.directory.join("app.log"))?);
        wait_until_accepts(self.address)
    }

    fn kill(&mut self) {
        drop(self.process.take());
    }

    fn finish(mut self) -> io::Result<PathBuf> {
        if let Some(process) = self.process.take() {
            process.finish()?;
        }
        Ok(self.ledger())
    }

    fn ledger(&self) -> PathBuf {
        self.directory.join("ledger")
    }
}
