//! nginx and HAProxy as child processes, with three listeners each: HTTP/1.1, HTTP/2 and HTTP/2 over TLS.

mod haproxy;
mod nginx;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::certificate::Certificate;
use crate::process::{Process, free_address, installed, wait_until_accepts, wait_until_refuses};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    Nginx,
    Haproxy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    Http1,
    /// HTTP/2 with prior knowledge.
    H2c,
    H2Tls,
}

impl Protocol {
    pub const ALL: [Self; 3] = [Self::Http1, Self::H2c, Self::H2Tls];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::H2c => "h2c",
            Self::H2Tls => "h2 over TLS",
        }
    }
}

/// What the proxy does to requests above its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// 429 with `Retry-After: 1`.
    TooManyRequests,
    /// 503 and no hint.
    Unavailable,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// nginx: requests per connection; `None` is its default, 1,000.
    pub keepalive_requests: Option<u32>,
    pub limit: Option<Limit>,
    /// HAProxy: HTTP/2 to the app.
    pub backend_h2: bool,
}

#[derive(Clone, Copy)]
struct Listeners {
    http1: SocketAddr,
    h2c: SocketAddr,
    h2_tls: SocketAddr,
}

pub struct Proxy {
    server: Server,
    program: PathBuf,
    directory: PathBuf,
    listeners: Listeners,
    process: Option<Process>,
}

impl Server {
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    #[must_use]
    pub fn is_installed(self) -> bool {
        installed(self.program()).is_some()
    }
}

impl Proxy {
    /// Writes the configuration and starts the server in front of the app.
    pub fn start(
        server: Server,
        setup: Setup,
        app: SocketAddr,
        certificate: &Certificate,
        directory: &Path,
    ) -> io::Result<Self> {
        let program = installed(server.program()).ok_or(io::ErrorKind::NotFound)?;
        let listeners = Listeners { http1: free_address(), h2c: free_address(), h2_tls: free_address() };
        let config = match server {
            Server::Nginx => nginx::config(setup, listeners, app, certificate, directory),
            Server::Haproxy => haproxy::config(setup, listeners, app, certificate),
        };
        std::fs::write(directory.join("proxy.conf"), config)?;
        let mut this = Self { server, program, directory: directory.to_owned(), listeners, process: None };
        this.restart()?;
        Ok(this)
    }

    #[must_use]
    pub fn origin(&self, protocol: Protocol) -> String {
        match protocol {
            Protocol::Http1 => format!("http://{}", self.listeners.http1),
            Protocol::H2c => format!("http://{}", self.listeners.h2c),
            Protocol::H2Tls => format!("https://{}", self.listeners.h2_tls),
        }
    }

    /// Starts the server again and waits until it accepts.
    pub fn restart(&mut self) -> io::Result<()> {
        let mut command = Command::new(&self.program);
        let config = self.directory.join("proxy.conf");
        match self.server {
            Server::Nginx => {
                command.arg("-p").arg(&self.directory).arg("-e").arg(self.log()).arg("-c").arg(config);
            }
            Server::Haproxy => {
                command.arg("-W").arg("-f").arg(config);
            }
        }
        self.process = Some(Process::start(&mut command, &self.log())?);
        for address in [self.listeners.http1, self.listeners.h2c, self.listeners.h2_tls] {
            wait_until_accepts(address).map_err(|error| {
                let log = std::fs::read_to_string(self.log()).unwrap_or_default();
                io::Error::new(error.kind(), format!("{} does not accept:\n{log}", self.server.program()))
            })?;
        }
        Ok(())
    }

    /// New workers take over; old ones end what they have begun.
    pub fn reload(&self) {
        if let Some(process) = &self.process {
            process.signal(match self.server {
                Server::Nginx => Signal::HUP,
                Server::Haproxy => Signal::USR2,
            });
        }
    }

    /// `kill -9` for master and workers, old ones included.
    pub fn kill(&mut self) -> io::Result<()> {
        drop(self.process.take());
        wait_until_refuses(self.listeners.http1)
    }

    fn log(&self) -> PathBuf {
        self.directory.join("proxy.log")
    }
}
