//! `fantail positions`: shows and changes the saved positions while no agent uses them.

use std::path::PathBuf;
use std::process::ExitCode;

use super::super::{environment, say};
use super::{Arguments, Command, Failed};
use crate::config::Config;
use crate::positions::{self, Listed, Positions, take_over};

pub(super) const COMMAND: Command = Command {
    name: "positions",
    arguments: "list | export | reset FILE | move FROM TO | import FILE  [-positions.file F | -config.file C]",
    summary: "list, reset, move, export and import saved positions",
    details: "\
list           prints each saved position: the file, the offset in bytes, the client and the job.
export         prints the positions in the format of Promtail's positions.yaml.
reset FILE     forgets the positions of a file: the next start reads it from its beginning, so its lines are sent again.
move FROM TO   gives the positions of a file to another path, for a file that was moved while no agent ran.
import FILE    takes over another agent's positions (Promtail's positions.yaml, or fantail's), if there are none yet.

list and export may be used while the agent runs. The others need the lock of the positions: stop the agent first.
The positions file is that of -positions.file or of the config file, or else /var/log/positions.yaml.",
    operands: &["list", "export", "reset", "move", "import"],
    takes_files: true,
    agent_flags: true,
    flags: &[],
    run,
};

fn run(arguments: &Arguments) -> Result<ExitCode, Failed> {
    let rest: Vec<&str> = arguments.rest.iter().map(String::as_str).collect();
    let config = config(arguments, matches!(rest[..], ["list"] | ["export"]))?;
    if matches!(rest[..], ["list"] | ["export"]) && !Positions::exist(&config) {
        return Err(Failed::Because(format!(
            "there is no file {}: name the agent's with -positions.file or -config.file",
            config.filename.display()
        )));
    }
    match rest[..] {
        ["list"] => say(table(&open(config)?.list())),
        ["export"] => say(open(config)?.promtail().trim_end()),
        ["reset", log] => change(config, log, "reset", |positions| positions.reset(log))?,
        ["move", from, to] => change(config, from, "moved", |positions| positions.rename(from, to))?,
        ["import", file] => import(&config, file)?,
        [] => return Err(Failed::Usage("say what to do with the positions".into())),
        _ => return Err(Failed::Usage(format!("{:?} is not understood", rest.join(" ")))),
    }
    Ok(ExitCode::SUCCESS)
}

fn config(arguments: &Arguments, read_only: bool) -> Result<positions::Config, Failed> {
    let loaded = Config::load(&arguments.agent.request(), &environment);
    let config = loaded.map_err(|e| Failed::Because(e.to_string()))?.config;
    Ok(positions::Config {
        filename: PathBuf::from(&config.positions.filename),
        ignore_invalid_yaml: false,
        read_only,
        readers: Default::default(),
    })
}

fn open(config: positions::Config) -> Result<Positions, Failed> {
    Positions::open_to_edit(config).map_err(|e| Failed::Because(e.to_string()))
}

fn change(
    config: positions::Config,
    log: &str,
    done: &str,
    change: impl FnOnce(&Positions) -> usize,
) -> Result<(), Failed> {
    let _lock = Positions::take(&config).map_err(|e| Failed::Because(e.to_string()))?;
    let positions = open(config)?;
    let file = positions.filename().display().to_string();
    match change(&positions) {
        0 => Err(Failed::Because(format!("{file} has no position of {log}: `fantail positions list` shows all"))),
        count => {
            positions.persist().map_err(|e| Failed::Because(format!("cannot write {file}: {e}")))?;
            say(format_args!("{done}: {count} position{} of {log}", if count == 1 { "" } else { "s" }));
            Ok(())
        }
    }
}

fn import(config: &positions::Config, file: &str) -> Result<(), Failed> {
    let because = |e: positions::Error| Failed::Because(e.to_string());
    let _lock = Positions::take(config).map_err(because)?;
    let own = config.filename.display();
    if config.filename.exists() {
        return Err(Failed::Because(format!("{own} exists already: move it and {own}.journal away first")));
    }
    if !std::path::Path::new(file).exists() {
        return Err(Failed::Because(format!("there is no file {file}")));
    }
    take_over(config, &[file.into()]).map_err(because)?;
    say(format_args!("imported: {} positions from {file} into {own}", open(config.clone())?.list().len()));
    Ok(())
}

/// The positions as aligned columns.
fn table(positions: &[Listed]) -> String {
    let row = |listed: &Listed| {
        let (client, job) = match &listed.reader {
            Some((client, job)) => (client.to_string(), job.to_string()),
            None => ("(any)".into(), "(any)".into()),
        };
        [listed.at.clone(), client, job, listed.log.clone()]
    };
    let head = ["OFFSET", "CLIENT", "JOB", "FILE"].map(String::from);
    let rows: Vec<[String; 4]> = std::iter::once(head).chain(positions.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths = [width(0), width(1), width(2)];
    let line = |[at, client, job, log]: &[String; 4]| {
        format!("{at:>w0$}  {client:w1$}  {job:w2$}  {log}", w0 = widths[0], w1 = widths[1], w2 = widths[2])
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
