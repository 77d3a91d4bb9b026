//! Child processes that do not outlive the run, and ports for them.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// A child and all that it starts, in a process group of its own. Killed when dropped, so also by a panic.
pub struct Process {
    child: Child,
}

impl Process {
    /// Output goes to the log; the child sees the end of its standard input when this is dropped or
    /// [finished](Self::finish).
    pub fn start(command: &mut Command, log: &Path) -> io::Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let child = command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).process_group(0).spawn()?;
        Ok(Self { child })
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid(), signal);
    }

    /// `kill -9` for the whole group.
    pub fn kill(&mut self) {
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
    }

    /// Ends the child's standard input and waits until it has ended of its own accord.
    pub fn finish(mut self) -> io::Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The program, if it is installed. Debian keeps servers where the path of a user does not lead.
#[must_use]
pub fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// An address on loopback where nothing listens.
///
/// Below the ephemeral range: between a kill and the restart the kernel would otherwise give the port to one of the
/// hundreds of connections that the load opens, or even connect one to itself.
#[must_use]
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 500).unwrap_or(0) * 24;
    for _ in 0..12_000 {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port from 20000 to 31999");
}

/// Waits until something accepts connections there.
pub fn wait_until_accepts(address: SocketAddr) -> io::Result<()> {
    wait_until(|| TcpStream::connect(address).is_ok())
}

/// Waits until connections are refused there: the last process that held the socket is gone.
pub fn wait_until_refuses(address: SocketAddr) -> io::Result<()> {
    wait_until(|| TcpStream::connect(address).is_err())
}

fn wait_until(condition: impl Fn() -> bool) -> io::Result<()> {
    let begun = Instant::now();
    while !condition() {
        if begun.elapsed() > Duration::from_secs(20) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
