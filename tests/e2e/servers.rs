//! A server process that ends with the test, however the test ends.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::wait::wait_for;

/// The longest start of a server. It takes seconds; the limit is for a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(180);

pub(crate) struct Server {
    leash: Child,
    log: PathBuf,
}

/// Runs "$@" until it ends or standard input is closed. The test process holds the other end, so the server ends with
/// it, also after kill -9, and also if the server is in a static that is never dropped.
const LEASH: &str = r#"
exec 3<&0
"$@" 3<&- </dev/null &
server=$!
{ read -r _ <&3; kill -9 "$server"; } &
wait "$server"
ended=$?
kill "$!"
exit "$ended"
"#;

impl Server {
    /// Starts `binary` with its output in `log`, and waits until it is ready. `Err`: how it ended before that, for instance
    /// because another process uses its port.
    pub(crate) fn start<A: AsRef<OsStr>>(
        binary: &Path,
        args: impl IntoIterator<Item = A>,
        log: PathBuf,
        mut ready: impl FnMut() -> bool,
    ) -> Result<Server, String> {
        let out = File::options().create(true).append(true).open(&log);
        let out = out.unwrap_or_else(|e| panic!("{}: {e}", log.display()));
        let err = out.try_clone().expect("a file has more than one handle");
        let leash = leash(binary, args, out.into(), err.into());
        let mut server = Server { leash, log };
        let what = format!("{} ready", binary.display());
        wait_for(&what, READY_WITHIN, || {
            if let Ok(Some(status)) = server.leash.try_wait() {
                return Ok(Err(format!("{status}, having said:\n{}", server.tail())));
            }
            if ready() {
                return Ok(Ok(()));
            }
            Err(server.tail())
        })?;
        Ok(server)
    }

    fn tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(20)..];
        tail.join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.leash.stdin.take());
        let _ = self.leash.wait();
    }
}

/// Runs the program until its standard input is closed or the test process ends.
pub(crate) fn leash<A: AsRef<OsStr>>(
    binary: &Path,
    args: impl IntoIterator<Item = A>,
    stdout: Stdio,
    stderr: Stdio,
) -> Child {
    Command::new("bash")
        .args(["-c", LEASH, "leash"])
        .arg(binary)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .expect("bash runs")
}

/// Tries again with new ports: another process may take a port between its choice and its use.
pub(crate) fn with_free_ports<T>(mut start: impl FnMut() -> Result<T, String>) -> T {
    let mut said = String::new();
    for _ in 0..3 {
        match start() {
            Ok(server) => return server,
            Err(why) => said = why,
        }
    }
    panic!("gave up after three tries: {said}")
}

/// A loopback port that is free and that this process has not used before. It is below the range of outgoing ports of
/// the kernel, so it stays free while its server is down.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 18_000;
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    // Two test runs at the same time start at different ports.
    let own = (process::id() % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let next = GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (own + next % COUNT) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on the loopback interface")
}

/// The server's binary, named by an environment variable.
pub(crate) fn binary(variable: &str) -> PathBuf {
    env::var_os(variable)
        .map(PathBuf::from)
        .unwrap_or_else(|| panic!("{variable} is not set: run these tests by tests/e2e/run"))
}
