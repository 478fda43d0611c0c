//! `fantail health`: asks the running agent whether it is ready. For images without a shell or curl.

use std::process::ExitCode;
use std::time::Duration;

use super::super::{environment, say};
use super::{Arguments, Command, Failed, OwnFlag};
use crate::agent;
use crate::config::Config;

/// How the agent of most examples is asked.
const EXAMPLE: &str = "-server http://127.0.0.1:9080";

pub(super) const COMMAND: Command = Command {
    name: "health",
    arguments: "[-server URL | -config.file FILE]",
    summary: "ask the running agent whether it is ready; the exit code is 0 or 1",
    details: "\
Asks /ready of the agent on this host, and prints the answer. The exit code is 0 if the agent is ready, otherwise 1.
The address comes from -server, or from the server block of the config file, or else is http://127.0.0.1:80.
Certificates are not verified, as in probes of the kubelet. For a server with passwords, write them into the URL:
-server http://user:password@127.0.0.1:9080.",
    operands: &[],
    takes_files: false,
    agent_flags: true,
    flags: &[
        OwnFlag { name: "server", value: "URL", help: "the agent's HTTP server, such as http://127.0.0.1:9080" },
        OwnFlag { name: "healthy", value: "", help: "ask /-/healthy: only whether reading makes progress" },
        OwnFlag { name: "timeout", value: "SECONDS", help: "the longest wait for the answer (default 5)" },
    ],
    run,
};

fn run(arguments: &Arguments) -> Result<ExitCode, Failed> {
    let seconds = arguments.text("timeout").unwrap_or("5");
    let seconds: u64 = seconds
        .parse()
        .ok()
        .filter(|seconds| (1..=3600).contains(seconds))
        .ok_or_else(|| Failed::Usage(format!("-timeout {seconds:?}: expected seconds, from 1 to 3600")))?;
    let path = if arguments.on("healthy") { "/-/healthy" } else { "/ready" };
    let url = server_url(arguments)? + path;
    let is_unset = |flag| arguments.agent.text(flag).is_empty();
    let is_guess = arguments.text("server").is_none() && is_unset("config.file") && is_unset("server.http-listen-port");
    let answer = agent::ask(&url, &[], Duration::from_secs(seconds)).map_err(|why| {
        Failed::Because(match is_guess {
            true => format!("{why}\nThis is the default port. Name the agent's own: {EXAMPLE}, or its -config.file."),
            false => why,
        })
    })?;
    say(answer.body.trim_end());
    Ok(if answer.status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The address of the running agent's HTTP server, without a slash at the end.
pub(super) fn server_url(arguments: &Arguments) -> Result<String, Failed> {
    if let Some(url) = arguments.text("server") {
        if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(Failed::Usage(format!("-server {url:?} has no scheme: write http://{url} or https://{url}")));
        }
        return Ok(url.trim_end_matches('/').to_string());
    }
    let request = arguments.agent.request();
    let loaded = Config::load(&request, &environment).map_err(|e| Failed::Because(e.to_string()))?;
    if loaded.config.server.disable {
        return Err(Failed::Because("the config has server.disable: there is no server to ask".into()));
    }
    Ok(loaded.config.server.local_url())
}
