use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::AGE;
use crate::process::{Process, free_address, wait_until_accepts};

/// A Python that has grpcio: `$RAMPART_PYTHON`, or `python3`.
#[must_use]
pub fn python() -> Option<String> {
    let python = std::env::var("RAMPART_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let status =
        Command::new(&python).args(["-c", "import grpc"]).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    status.success().then_some(python)
}

pub(super) struct Grpcio {
    pub(super) address: SocketAddr,
    process: Process,
}

pub(super) fn start(directory: &Path, ledger: &Path) -> io::Result<Grpcio> {
    let python = python().ok_or(io::ErrorKind::NotFound)?;
    let script = directory.join("server.py");
    std::fs::write(&script, include_str!("server.py"))?;
    let address = free_address();
    let mut command = Command::new(python);
    command.arg(script).arg(address.to_string()).arg(ledger).arg(AGE.as_millis().to_string());
    let process = Process::start(&mut command, &directory.join("grpcio.log"))?;
    wait_until_accepts(address).map_err(|error| {
        let log = std::fs::read_to_string(directory.join("grpcio.log")).unwrap_or_default();
        io::Error::new(error.kind(), format!("grpcio does not accept:\n{log}"))
    })?;
    Ok(Grpcio { address, process })
}

impl Grpcio {
    pub(super) fn finish(self) -> io::Result<()> {
        self.process.finish()
    }
}
