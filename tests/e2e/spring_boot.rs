//! The real program of the tutorial with its own JVM. Its output is stored as by the container runtime and the kubelet.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use reqwest::Client;

use crate::http::{self, Answer};
use crate::pods::{ContainerLog, Output};
use crate::servers;
use crate::wait::wait_for;

pub(crate) struct SpringBoot {
    port: u16,
    client: Client,
    leash: Child,
    readers: Vec<JoinHandle<()>>,
    log: Arc<Mutex<ContainerLog>>,
}

impl SpringBoot {
    /// Starts the program and waits until it is healthy, as its pod's readiness probe does. Its output goes to `log`.
    pub(crate) fn start(log: ContainerLog) -> SpringBoot {
        let jar = servers::binary("FANTAIL_E2E_SPRING_BOOT");
        assert!(
            jar.is_file(),
            "the program of examples/spring-boot was not built, and tests/e2e/run has said why when it began: a JDK (17 or \
             later) and Maven are needed, which are Debian's packages default-jdk-headless and maven, and Maven has to \
             reach Maven Central"
        );
        let (port, client) = (servers::free_port(), http::client(None));
        let arguments = [
            // It shares the machine with all servers.
            "-Xmx192m".to_owned(),
            "-jar".to_owned(),
            jar.display().to_string(),
            format!("--server.port={port}"),
            "--server.address=127.0.0.1".to_owned(),
        ];
        let mut leash = servers::leash(Path::new("java"), arguments, Stdio::piped(), Stdio::piped());
        let log = Arc::new(Mutex::new(log));
        let readers = vec![
            keep(leash.stdout.take().expect("it is piped"), Output::Stdout, &log),
            keep(leash.stderr.take().expect("it is piped"), Output::Stderr, &log),
        ];
        let mut program = SpringBoot { port, client, leash, readers, log };
        wait_for("the program is healthy", Duration::from_secs(180), || {
            let ended = program.leash.try_wait().ok().flatten();
            assert!(ended.is_none(), "the program ended, having said: {:?}", program.log().written());
            let answer = program.get("/actuator/health")?;
            if answer.is_success() { Ok(()) } else { Err(format!("{answer:?}")) }
        });
        program
    }

    pub(crate) fn get(&self, path: &str) -> Result<Answer, String> {
        http::send(self.client.get(format!("http://{}{path}", self.address())))
    }

    /// The address of its metrics.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, ContainerLog> {
        lock(&self.log)
    }

    /// Kills the program. Its log then has all of its output.
    pub(crate) fn kill(&mut self) {
        drop(self.leash.stdin.take());
        let _ = self.leash.wait();
        for reader in self.readers.drain(..) {
            reader.join().expect("its output is read");
        }
    }
}

impl Drop for SpringBoot {
    fn drop(&mut self) {
        drop(self.leash.stdin.take());
        let _ = self.leash.wait();
    }
}

fn keep(output: impl Read + Send + 'static, of: Output, log: &Arc<Mutex<ContainerLog>>) -> JoinHandle<()> {
    let log = Arc::clone(log);
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n') {
            let line = line.expect("its output is read");
            lock(&log).say(of, &String::from_utf8_lossy(&line));
        }
    })
}

/// A test that failed meanwhile has its own message.
fn lock(log: &Mutex<ContainerLog>) -> MutexGuard<'_, ContainerLog> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
