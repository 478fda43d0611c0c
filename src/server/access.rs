//! Certificates and users for connections, read from files that may change while the agent runs.
//!
//! When a connection arrives, but at most once per [`LOOK`], changed files are read again. If they cannot be read, do
//! not fit together, or are less strict than before, nothing changes, and the log reports it once.

mod turns;
pub(super) mod users;
mod web;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use super::Config;
use super::tls::Tls;
use users::Users;

/// The minimum time between two checks of the files.
const LOOK: Duration = Duration::from_secs(1);

/// The requirements for a connection.
#[derive(Default)]
pub(super) struct Door {
    pub tls: Option<Arc<ServerConfig>>,
    /// None: no password is required.
    pub users: Option<Arc<Users>>,
    /// Whether a client without a certificate is rejected.
    asks_certificates: bool,
}

impl Door {
    /// The first requirement of `before` that is missing here.
    fn lacks(&self, before: &Self) -> Option<&'static str> {
        if before.users.is_some() && self.users.is_none() {
            return Some("basic_auth_users");
        }
        if before.tls.is_some() && self.tls.is_none() {
            return Some("tls_server_config");
        }
        (before.asks_certificates && !self.asks_certificates).then_some("client_auth_type")
    }

    fn asks_nothing(&self) -> bool {
        self.users.is_none() && self.tls.is_none()
    }
}

pub(super) struct Access {
    /// The block of the config for messages: `server`.
    block: String,
    tls: Tls,
    web_config_file: String,
    now: Mutex<Now>,
}

struct Now {
    door: Arc<Door>,
    files: Vec<(PathBuf, Stamp)>,
    looked: Instant,
    /// The last error, as in the log.
    trouble: Option<String>,
}

/// Identifies a state of a file. None: the file cannot be examined.
type Stamp = Option<(u64, u64, i64, i64, u64)>;

fn stamp(path: &Path) -> Stamp {
    let meta = fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()))
}

fn stamped(files: impl Iterator<Item = PathBuf>) -> Vec<(PathBuf, Stamp)> {
    files.map(|path| (path.clone(), stamp(&path))).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Access {
    /// Reads the files of the config. An error here stops the agent from starting with an open port.
    pub(super) fn open(config: &Config, block: &str) -> Result<Self, String> {
        let (tls, web_config_file) = (config.tls(), config.web_config_file().to_string());
        let (files, door) = load(block, &tls, &web_config_file, None);
        let door = door?;
        if !web_config_file.is_empty() && door.asks_nothing() {
            tracing::warn!(
                file = web_config_file,
                "http server: the web config asks for neither HTTPS nor a password, whoever connects is let in: write \
                 tls_server_config or basic_auth_users into it, or remove {block}.web_config_file"
            );
        }
        let now = Now { door: Arc::new(door), files, looked: Instant::now(), trouble: None };
        Ok(Self { block: block.to_string(), tls, web_config_file, now: Mutex::new(now) })
    }

    pub(super) fn now(&self) -> Arc<Door> {
        let mut now = lock(&self.now);
        if !now.files.is_empty() && now.looked.elapsed() >= LOOK {
            now.looked = Instant::now();
            self.look(&mut now);
        }
        now.door.clone()
    }

    fn look(&self, now: &mut Now) {
        // After an error, files are read again even if they did not change: a certificate may have arrived without its
        // key.
        if now.trouble.is_none() && now.files.iter().all(|(path, then)| stamp(path) == *then) {
            return;
        }
        let (files, door) = load(&self.block, &self.tls, &self.web_config_file, now.door.users.as_deref());
        // A file that is being written, or was cut by a full disk, may look less strict.
        let door = door.and_then(|door| match door.lacks(&now.door) {
            None => Ok(door),
            Some(key) => Err(format!(
                "{}: {key} is missing: add it again, or restart the agent to run without it",
                self.web_config_file
            )),
        });
        match door {
            Ok(door) => {
                now.door = Arc::new(door);
                now.files = files;
                now.trouble = None;
                tracing::info!("http server: certificates and users were read again");
            }
            Err(error) if now.trouble.as_ref() == Some(&error) => {}
            Err(error) => {
                tracing::warn!(
                    error,
                    "http server: cannot use the changed certificates or users: the previous ones stay in use"
                );
                now.trouble = Some(error);
            }
        }
    }
}

impl Config {
    /// All files that are read again when they change, including the files that a web config names.
    pub fn files(&self) -> Vec<PathBuf> {
        load("", &self.tls(), self.web_config_file(), None).0.into_iter().map(|(path, _)| path).collect()
    }
}

/// The state of the files before they were read, and the requirements that they define.
fn load(
    block: &str,
    tls: &Tls,
    web_config_file: &str,
    before: Option<&Users>,
) -> (Vec<(PathBuf, Stamp)>, Result<Door, String>) {
    if web_config_file.is_empty() {
        let files = stamped(tls.files());
        let loaded = (!tls.is_empty()).then(|| tls.load()).transpose();
        let loaded = loaded.map_err(|error| format!("{block}.http_tls_config.{error}"));
        return (
            files,
            loaded.map(|loaded| Door { tls: loaded, users: None, asks_certificates: tls.asks_certificates() }),
        );
    }
    let path = Path::new(web_config_file);
    let mut files = stamped([path.to_path_buf()].into_iter());
    let door = web::Web::read(path).and_then(|web| {
        files.extend(stamped(web.tls().files()));
        web.door(before)
    });
    (files, door.map_err(|error| format!("{web_config_file}: {error}")))
}

#[cfg(test)]
mod tests;
