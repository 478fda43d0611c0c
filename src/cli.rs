//! The command line: reads flags and the config, starts the log, runs the agent.

mod arguments;
mod commands;
mod descriptors;
mod flags;
mod help;
mod landlock;
mod logging;
mod panics;
mod seccomp;
mod table;

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use flags::Flags;
use tikv_jemalloc_ctl::background_thread;

use crate::agent;
use crate::config::{self, Config, Loaded, Request};
use crate::server::LogLevel;

/// Runs the program. Its exit codes are Promtail's: 0 for success, 1 for a failed config or run, 2 for a bad command
/// line.
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    if let Some(code) = commands::run(&args) {
        return code;
    }
    let is_alone = args.is_empty();
    match Flags::parse(args) {
        Ok(flags) => {
            let code = run(&flags);
            if is_alone {
                complain(format_args!("\n{}", commands::usage()));
            }
            code
        }
        Err(e) => {
            complain(format_args!("{e}\nRun with -help to get list of available parameters"));
            ExitCode::from(2)
        }
    }
}

fn run(flags: &Flags) -> ExitCode {
    if flags.on("help") {
        say(help::text().trim_end());
        return ExitCode::from(2);
    }
    if flags.on("version") {
        say_version();
        return ExitCode::SUCCESS;
    }
    if flags.on("check-syntax") && flags.text("config.file").trim().is_empty() {
        complain("Invalid config file: -check-syntax needs -config.file");
        return ExitCode::FAILURE;
    }
    let request = flags.request();
    // Before the load, so that a change between the two is detected later.
    let fingerprint = Config::fingerprint(&request);
    let (loaded, warnings) = match load(&request) {
        Ok(checked) => checked,
        Err(e) => {
            complain(format_args!("Unable to parse config: {e}"));
            return ExitCode::FAILURE;
        }
    };
    let mut warnings: Vec<_> = flags.warnings().into_iter().chain(warnings).collect();
    if loaded.config.clients.is_empty() && !flags.text("client.external-labels").is_empty() {
        warnings.push(
            "-client.external-labels: ignored: there is no client; set clients in the config, or -client.url"
                .to_string(),
        );
    }
    if flags.on("print-config-stderr") {
        let config = loaded.config.to_masked_yaml();
        complain(format_args!("---\n# Loki Config\n# {}\n{}", version(), config.trim_end()));
    }
    if flags.on("check-syntax") {
        warnings.iter().for_each(|warning| complain(format_args!("warning: {warning}")));
        say("Valid config file! No syntax issues found");
        return ExitCode::SUCCESS;
    }
    start(flags, loaded.config, &warnings, fingerprint)
}

/// Reads the config and checks it.
fn load(request: &Request) -> Result<(Loaded, config::Warnings), config::Error> {
    let loaded = Config::load(request, &environment)?;
    let warnings = config::check(&loaded)?;
    Ok((loaded, warnings))
}

fn start(flags: &Flags, config: Config, warnings: &[String], fingerprint: Option<u64>) -> ExitCode {
    let level = logging::install(config.server.log_level, config.server.log_format);
    panics::install();
    if flags.on("log-config-reverse-order") {
        config.to_masked_yaml().lines().rev().for_each(|line| tracing::info!("{line}"));
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    descriptors::raise();
    let request = flags.request();
    let (confinement, walls) = confine(flags, &config, &request);
    // Sets the crypto provider of the process. Only the first call counts.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = agent::Options {
        dry_run: flags.on("dry-run"),
        stdin: config.target_config.stdin,
        inspect: flags.on("inspect"),
        confinement,
    };
    let loader = Arc::new(ConfigFile { request, level, walls });
    let watch_interval = flags.duration("config.watch-interval");
    let reload = agent::Reload { loader, fingerprint, watch_interval };
    match agent::run(config, options, reload) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("{e}");
            ExitCode::FAILURE
        }
    }
}

/// The config file, with the flags from the start.
struct ConfigFile {
    request: Request,
    level: logging::Level,
    walls: Option<landlock::Standing>,
}

impl agent::ConfigLoader for ConfigFile {
    fn load(&self) -> Result<(Config, Vec<String>), String> {
        let loaded = Config::load(&self.request, &environment).map_err(|e| e.to_string())?;
        // Before the check, which would report a blocked file without the reason.
        if let Some(walls) = &self.walls {
            walls.allow(&loaded.config.needs_at_reload(&environment))?;
        }
        let warnings = config::check(&loaded).map_err(|e| e.to_string())?;
        Ok((loaded.config, warnings))
    }

    fn fingerprint(&self) -> Option<u64> {
        Config::fingerprint(&self.request)
    }

    fn set_log_level(&self, level: LogLevel) {
        self.level.set(level);
    }
}

/// Restricts this process. Must run before the first thread starts, because the restrictions apply to the calling
/// thread and the threads that it starts.
///
/// Returns a description of each restriction, and the Landlock rules that a reloaded config must comply with.
fn confine(
    flags: &Flags,
    config: &Config,
    request: &Request,
) -> (Vec<(&'static str, String)>, Option<landlock::Standing>) {
    // The allocator starts its threads before main, so they are stopped and started again.
    let threads = background_thread::read().unwrap_or(false) && background_thread::write(false).is_ok();
    let (landlock, walls) = match flags.on("security.landlock") {
        true => {
            let may_write = !flags.on("dry-run") && !config.target_config.stdin;
            let mut needs = config.needs(&environment);
            needs.config_files = request.file_names().map(PathBuf::from).collect();
            landlock::install(&needs, may_write)
        }
        false => ("off".into(), None),
    };
    let seccomp = match flags.on("security.seccomp") {
        true => seccomp::install(),
        false => "off".into(),
    };
    if threads {
        let _ = background_thread::write(true);
    }
    (vec![("landlock", landlock), ("seccomp", seccomp)], walls)
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn say_version() {
    say(format_args!("{}\n  platform: {}", version(), platform()));
}

fn version() -> String {
    format!("fantail, version {} (promtail-compatible, 3.6)", env!("CARGO_PKG_VERSION"))
}

fn platform() -> String {
    let libc = if cfg!(target_env = "musl") { "-musl" } else { "" };
    format!("{}/{}{libc}", std::env::consts::OS, std::env::consts::ARCH)
}

/// Prints to standard output. Ignores errors: the reader may be gone.
fn say(text: impl fmt::Display) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints to standard error.
fn complain(text: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
