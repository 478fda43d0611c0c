//! The binary as a user, a CI job or a manifest starts it: its output and its exit code.

#[path = "cli/completion.rs"]
mod completion;

use std::fs;
use std::io::{BufRead, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output};

const CONFIG: &str = "clients: [{url: 'http://user:hunter2@127.0.0.1:1/push', headers: {X-Key: hunter2}}]\n";

/// Runs it with `args`. `@` in them is replaced by a file with `config`.
fn fantail(args: &str, config: &str) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("promtail.yaml");
    fs::write(&file, config).expect("a file");
    let args = args.replace('@', &file.display().to_string());
    let mut command = Command::new(env!("CARGO_BIN_EXE_fantail"));
    command.args(args.split_whitespace()).env("SIZE", "5").output().expect("it starts")
}

#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

fn said(args: &str, config: &str) -> Said {
    let output = fantail(args, config);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Said { code: output.status.code().expect("no signal"), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn a_wrong_command_line_is_2() {
    for (args, want) in [
        ("-nonsense", "flag provided but not defined: -nonsense"),
        ("--confg.file=x", "flag provided but not defined: -confg.file, did you mean -config.file?"),
        ("-client.timeout=5", "invalid value \"5\" for flag -client.timeout: "),
        ("-config.file", "flag needs an argument: -config.file"),
    ] {
        let said = said(args, "");
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{args}");
        assert!(said.err.starts_with(want), "{}", said.err);
        assert!(said.err.ends_with("\nRun with -help to get list of available parameters\n"), "{}", said.err);
    }
}

#[test]
fn a_wrong_config_is_1() {
    for (args, config, want) in [
        ("-config.file=@", "client: 5", "promtail.yaml:1:1: client: expected a mapping, got 5"),
        (
            "-config.file=@",
            "scrape_confgs: []",
            "promtail.yaml:1:1: scrape_confgs: unknown key, did you mean scrape_configs?",
        ),
        ("-config.file=@", "", "at least one client config must be provided"),
        ("-config.file=@.not,@.there", "", "none of these config files exists: "),
        ("-config.file=@ -config.expand-env", "a: ${", "promtail.yaml:1:4: missing closing brace"),
        ("", "", "at least one client config must be provided"),
    ] {
        for more in ["", " -check-syntax"].iter().take(if args.is_empty() { 1 } else { 2 }) {
            let said = said(&format!("{args}{more}"), config);
            assert_eq!((said.code, said.out.as_str()), (1, ""), "{args}: {}", said.err);
            assert!(said.err.starts_with("Unable to parse config: ") && said.err.contains(want), "{}", said.err);
        }
    }
}

#[test]
fn check_syntax() {
    let good = said("-check-syntax -config.file @", CONFIG);
    assert_eq!((good.code, good.out.as_str()), (0, "Valid config file! No syntax issues found\n"));
    let none = said("-check-syntax", "");
    assert_eq!((none.code, none.out.as_str()), (1, ""));
    assert!(none.err.starts_with("Invalid config file"), "{}", none.err);
    let warned =
        said("-check-syntax -config.file @ -server.grpc-listen-port=0", &format!("{CONFIG}wal: {{enabled: true}}"));
    assert_eq!(warned.code, 0);
    assert!(
        warned.err.contains("warning: -server.grpc-listen-port: ignored: fantail has no gRPC listener"),
        "{}",
        warned.err
    );
    assert!(warned.err.contains("promtail.yaml:2:7: wal.enabled: ignored"), "{}", warned.err);
    let inspected = said("-check-syntax -config.file @ --inspect", CONFIG);
    assert!(
        inspected.code == 0 && inspected.err.contains("warning: -inspect: prints the content of lines"),
        "{}",
        inspected.err
    );
}

#[test]
fn version_needs_no_config() {
    let said = said("--version -config.file=/not/there", "");
    assert_eq!(said.code, 0);
    assert!(
        said.out.starts_with(concat!("fantail, version ", env!("CARGO_PKG_VERSION"), " (promtail-compatible")),
        "{}",
        said.out
    );
}

#[test]
fn help_goes_to_standard_output() {
    for flag in ["-help", "--help", "-h"] {
        let said = said(flag, "");
        assert_eq!((said.code, said.err.as_str()), (2, ""));
        assert!(said.out.contains("-config.file text"), "{}", said.out);
    }
}

#[test]
fn the_effective_config_has_flags_and_no_secrets() {
    let config = format!("{CONFIG}positions: {{filename: '/${{SIZE}}'}}\n");
    let said = said(
        "-check-syntax -print-config-stderr -config.file=@ -config.expand-env=true -target.sync-period=7s",
        &config,
    );
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.starts_with("---\n# Loki Config\n# fantail, version "), "{}", said.err);
    for want in ["filename: /5\n", "sync_period: 7s\n", "X-Key: <secret>"] {
        assert!(said.err.contains(want), "{want} in {}", said.err);
    }
    assert!(!said.err.contains("hunter2"), "{}", said.err);
}

#[test]
fn without_arguments_or_with_a_wrong_one_it_says_how_it_is_used() {
    let alone = said("", "");
    assert_eq!(alone.code, 1);
    let help = said("help", "");
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    let file = said("promtail.yaml", "");
    assert_eq!((file.code, file.out.as_str()), (2, ""));
    assert!(
        file.err.contains("to run the agent with this config file: fantail -config.file=promtail.yaml"),
        "{}",
        file.err
    );
    for text in [&alone.err, &help.out, &file.err] {
        assert!(text.contains("fantail -config.file=promtail.yaml [flags]    run the agent"), "{text}");
        assert!(text.contains("\n  health "), "{text}");
    }
    let near = said("healt", "");
    assert!(near.code == 2 && near.err.contains("did you mean `fantail health`?"), "{}", near.err);
    for args in ["help health", "health -h", "health --help"] {
        let manual = said(args, "");
        assert_eq!(manual.code, 0, "{args}");
        assert!(manual.out.starts_with("Usage: fantail health [-server URL"), "{}", manual.out);
    }
}

#[test]
fn health_without_an_agent_fails() {
    let said = said("health -server http://127.0.0.1:1", "");
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert!(said.err.contains("http://127.0.0.1:1/ready: ") && !said.err.contains("default port"), "{}", said.err);
    let flag = self::said("health -server.http-listen-port=1", "");
    assert!(flag.code == 1 && !flag.err.contains("default port"), "{}", flag.err);
    let bare = self::said("health -server 127.0.0.1:1", "");
    assert!(bare.code == 2 && bare.err.contains("write http://127.0.0.1:1 or https://127.0.0.1:1"), "{}", bare.err);
    // Nobody said where the agent is. Something else may listen there.
    if TcpListener::bind("127.0.0.1:80").is_ok() {
        let guess = self::said("health", "");
        assert!(guess.code == 1 && guess.err.contains("This is the default port. Name"), "{}", guess.err);
    }
}

#[test]
fn the_version_is_a_flag_and_a_command() {
    let flag = said("-version", "");
    assert!(flag.code == 0 && flag.out.starts_with("fantail, version "), "{}", flag.err);
    let command = said("version", "");
    assert_eq!((command.code, command.out), (0, flag.out));
    assert_eq!(said("version 2", "").code, 2);
}

const JOBS: &str = "
clients: [{url: 'http://127.0.0.1:1/loki/api/v1/push'}]
positions: {filename: /proc/none/positions.yaml}
scrape_configs:
  - job_name: pods
    static_configs: [{labels: {__path__: /proc/none/*.log, namespace: shop}}]
    relabel_configs: [{source_labels: [namespace], action: keep, regex: shop}]
    pipeline_stages: [{drop: {expression: secret}}]
";

#[test]
fn a_server_that_does_not_speak_tls_is_named_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("an address"));
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut hello = [0; 4096];
        let _ = stream.read(&mut hello);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    let said = said(&format!("health -server {url}"), "");
    server.join().expect("no panic");
    assert!(said.code == 1 && said.err.contains("write http:// instead of https://"), "{}", said.err);
}

#[test]
fn explain_answers_from_the_config() {
    let shown = said("explain -config.file=@ namespace=test", JOBS);
    assert_eq!((shown.code, shown.err.as_str()), (0, ""));
    assert!(shown.out.contains("not read: rule 0: keep if [namespace] matches \"shop\""), "{}", shown.out);
    let shown = said("explain namespace=shop,__path__=/x -line a-secret -config.file @", JOBS);
    assert!(shown.out.contains("pipeline_stages[0].drop  -> drops the line, reason drop_stage"), "{}", shown.out);
    // Discovery finds the static target.
    let shown = said("explain -config.file=@ -json", JOBS);
    let json: serde_json::Value = serde_json::from_str(&shown.out).expect("JSON");
    assert_eq!(json["targets"][0]["source"], "static_configs[0]/static", "{}", shown.out);
    assert_eq!(json["targets"][0]["labels"]["namespace"], "shop");
    assert!(json["targets"][0]["nothing"].as_str().expect("a reason").contains("/proc/none"), "{}", shown.out);
    for (args, want) in [
        ("explain", "-config.file or -server is needed"),
        ("explain -config.file=@ web-0", "is not a pod"),
        ("explain -config.file=@ a=b -nonsense", "flag provided but not defined: -nonsense"),
    ] {
        let wrong = said(args, JOBS);
        assert!(wrong.code == 2 && wrong.err.contains(want), "{args}: {}", wrong.err);
    }
    let wrong = said("explain -config.file=@ a=b -job other", JOBS);
    assert!(wrong.code == 1 && wrong.err.contains("no job \"other\""), "{}", wrong.err);
}

/// A Docker with a container whose log is `file`, and one whose log is in the journal.
fn docker(socket: &std::path::Path, file: &std::path::Path) {
    let listener = UnixListener::bind(socket).expect("a socket");
    let file = file.display().to_string();
    let container = |id: &str, name: &str| serde_json::json!({"Id": id, "Names": [name], "State": "running", "Labels": {}, "HostConfig": {"NetworkMode": "none"}});
    let of_driver = |driver: &str, file: &str| {
        serde_json::json!({"LogPath": file, "HostConfig": {"LogConfig": {"Type": driver}}}).to_string()
    };
    let answers = [
        ("/containers/json", serde_json::json!([container("aa", "/web"), container("bb", "/db")]).to_string()),
        ("/containers/aa/json", of_driver("json-file", &file)),
        ("/containers/bb/json", of_driver("journald", "")),
        ("/networks", "[]".to_string()),
        ("/info", r#"{"DockerRootDir": "/var/lib/docker"}"#.to_string()),
    ];
    let serve = move |mut stream: std::os::unix::net::UnixStream, answers: &[(&str, String)]| {
        let mut reader = std::io::BufReader::new(stream.try_clone().expect("a second handle"));
        loop {
            let (mut request, mut line) = (String::new(), String::new());
            while line != "\r\n" {
                line.clear();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                request.push_str(&line);
            }
            let path = request.split([' ', '?']).nth(1).unwrap_or_default();
            let answer = match answers.iter().find(|(known, _)| *known == path) {
                Some((_, body)) => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
                // The events: none comes, and they do not end.
                None => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_string(),
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answers = answers.clone();
            std::thread::spawn(move || serve(stream, &answers));
        }
    });
}

#[test]
fn explain_lists_the_containers_of_docker() {
    let folder = tempfile::tempdir().expect("a folder");
    let (socket, file) = (folder.path().join("docker.sock"), folder.path().join("containers/aa/aa-json.log"));
    fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    fs::write(&file, "").expect("a file");
    let config = format!(
        "target_config: {{read_roots: [{}]}}\nscrape_configs: [{{job_name: docker, docker_sd_configs: [{{host: 'unix://{}'}}], \
         relabel_configs: [{{source_labels: [__meta_docker_container_name], target_label: container}}]}}]\n",
        folder.path().display(),
        socket.display()
    );
    let away = said("explain -config.file=@", &config);
    let note = format!(
        "job \"docker\": the containers of docker_sd_configs are not listed: cannot connect to the socket {}",
        socket.display()
    );
    assert!(away.code == 0 && away.out.contains(&note), "{} {}", away.out, away.err);

    docker(&socket, &file);
    let shown = said("explain -config.file=@ -json", &config);
    let json: serde_json::Value = serde_json::from_str(&shown.out).unwrap_or_else(|e| panic!("{e}: {shown:?}"));
    let targets = json["targets"].as_array().expect("a list");
    assert_eq!(targets.len(), 1, "{}", shown.out);
    assert_eq!(targets[0]["source"], "docker_sd_configs[0]/container/aa");
    assert_eq!(
        (&targets[0]["labels"]["container"], &targets[0]["path"]),
        (&"/web".into(), &file.display().to_string().into())
    );
    let notes = json["notes"].to_string();
    assert!(notes.contains("are read through Docker's API") && notes.contains("db"), "{notes}");
}

#[test]
fn check_finds_all_mistakes_and_is_strict_if_told() {
    let warned = said("check @", JOBS);
    assert_eq!((warned.code, warned.out.as_str()), (0, "0 errors, 2 warnings\n"), "{}", warned.err);
    assert!(
        warned
            .err
            .contains("promtail.yaml:6:32: scrape_configs[0].static_configs[0].labels.__path__: matches no file now")
    );
    assert!(warned.err.contains("the directory /proc/none does not exist: create it"), "{}", warned.err);
    assert_eq!(said("check -strict @", JOBS).code, 1);
    let wrong = said("check -config.file=@", &format!("{JOBS}  - job_name: pods\nserve: {{}}\n"));
    assert_eq!((wrong.code, wrong.out.as_str()), (1, "3 errors, 2 warnings\n"), "{}", wrong.err);
    let queues = "  - job_name: q\n    gelf: {}\n  - job_name: r\n    kafka: {}\nserve: {}\n";
    let queues = said("check @", &format!("{JOBS}{queues}"));
    assert!(queues.code == 1 && queues.out == "3 errors, 2 warnings\n", "{}", queues.err);
    assert_eq!(said("check", "").code, 2);
    let missing = said("check /proc/none/promtail.yaml", "");
    assert!(missing.code == 1 && missing.err.contains("/proc/none/promtail.yaml does not exist"), "{}", missing.err);
}

#[test]
fn test_runs_tests_and_says_what_differs() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("promtail.yaml"), JOBS).expect("a file");
    let tests = "config: promtail.yaml
tests:
- {name: kept, labels: {namespace: shop, __path__: /x}, lines: [a, secret], expect: {entries: [{line: a}], drops: [drop_stage]}}
- {name: wrong, labels: {namespace: shop, __path__: /x}, lines: [a], expect: {entries: [{line: b}]}}
";
    fs::write(at("tests.yaml"), tests).expect("a file");
    let failed = said(&format!("test {} -junit {}", at("tests.yaml"), at("junit.xml")), "");
    assert_eq!(failed.code, 1, "{}", failed.err);
    for part in [": wrong\n  entry 0, line:\n    - expected \"b\"\n    + got      \"a\"\n", "1 passed, 1 failed\n"] {
        assert!(failed.out.contains(part), "{part}: {}", failed.out);
    }
    let xml = fs::read_to_string(at("junit.xml")).expect("written");
    assert!(xml.contains("tests=\"2\" failures=\"1\""), "{xml}");
    fs::write(at("tests.yaml"), tests.replace("line: b", "line: a")).expect("a file");
    assert_eq!(said(&format!("test {}", at("tests.yaml")), "").code, 0);
    let missing = said("test /proc/none/t.yaml", "");
    assert!(missing.code == 1 && missing.err.contains("/proc/none/t.yaml: "), "{}", missing.err);
}

#[test]
fn positions_are_listed_reset_moved_exported_and_imported() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("promtails.yaml"), "positions:\n  /a.log: \"1\"\n  /b.log: \"2\"\n").expect("a file");
    let positions = |args: &str| said(&format!("positions {args} -positions.file={}", at("positions.yaml")), "");
    let imported = positions(&format!("import {}", at("promtails.yaml")));
    assert!(
        imported.code == 0 && imported.out.starts_with("imported: 2 positions"),
        "{} {}",
        imported.out,
        imported.err
    );
    let again = positions(&format!("import {}", at("promtails.yaml")));
    assert!(again.code == 1 && again.err.contains("exists already"), "{}", again.err);
    assert_eq!(
        positions("list").out,
        "OFFSET  CLIENT  JOB    FILE\n     1  (any)   (any)  /a.log\n     2  (any)   (any)  /b.log\n"
    );
    assert_eq!(positions("reset /a.log").out, "reset: 1 position of /a.log\n");
    assert_eq!(positions("move /b.log /c.log").out, "moved: 1 position of /b.log\n");
    assert_eq!(positions("export").out, "positions:\n  /c.log: \"2\"\n");
    let missing = positions("reset /a.log");
    assert!(missing.code == 1 && missing.err.contains("has no position of /a.log"), "{}", missing.err);
    assert_eq!((positions("").code, positions("lost").code), (2, 2));
}

/// Advice to remove a file would cost somebody who named the wrong one the positions, or another file.
#[test]
fn a_wrong_positions_file_is_named_and_nobody_is_told_to_remove_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().join("positions.yaml");
    for (args, wants) in [
        (format!("positions list -positions.file={}", own.display()), "there is no file"),
        (format!("positions export -positions.file={}", own.display()), "name the agent's with -positions.file"),
        (format!("positions import @ -positions.file={}", own.display()), "it is not a positions file"),
        (format!("positions list -positions.file={}", folder.path().display()), "name a file in it, such as"),
    ] {
        let said = said(&args, "logging: {level: info}\n");
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{args}: {said:?}");
        assert!(said.err.contains(wants) && !said.err.contains("remove it"), "{args}: {said:?}");
    }
}

#[test]
fn migrate_says_what_becomes_of_each_part() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("positions.yaml"), format!("positions:\n  {}: \"1\"\n  /proc/none/b.log: \"2\"\n", at("a.log")))
        .expect("a file");
    fs::write(at("a.log"), "12\n").expect("a file");
    let config = format!("positions: {{filename: {}}}\nwal: {{enabled: true}}\n{JOBS}", at("positions.yaml"));
    let config = config.replace("positions: {filename: /proc/none/positions.yaml}\n", "");
    let fine = said("migrate @", &config);
    for part in [
        "same     clients[].url",
        "ignored  wal.enabled",
        "has the positions of 2 logs. 1 of them do not exist now.",
        "1. run: fantail check ",
    ] {
        assert!(fine.code == 0 && fine.out.contains(part), "{part}: {} {}", fine.out, fine.err);
    }
    let refused = said("migrate -json @", &format!("{config}  - job_name: queue\n    kafka: {{topics: [a]}}\n"));
    assert_eq!(refused.code, 1, "{}", refused.err);
    let json: serde_json::Value = serde_json::from_str(&refused.out).expect("JSON");
    let kafka = json["parts"].as_array().expect("parts").iter().find(|part| part["key"] == "scrape_configs[].kafka");
    assert_eq!(kafka.expect("kafka")["verdict"], "refused");
    assert!(json["mistakes"].to_string().contains("loki_push_api"), "{json}");
    let wrong = format!("{config}  - job_name: queue\n    gelf: {{}}\nlimits_config: {{readline_burst: x}}\n");
    let wrong = said("migrate @", &wrong);
    for part in
        ["1 refused, 2 mistakes\n", "mistake  limits_config.readline_burst", "1. change the mistakes above, and run"]
    {
        assert!(wrong.code == 1 && wrong.out.contains(part), "{part}: {} {}", wrong.out, wrong.err);
    }
    let empty = said("migrate @", "");
    for part in [": 0 parts: ", "No client is set", "1. set clients, or give -client.url, and run: fantail check "] {
        assert!(empty.out.contains(part), "{part}: {} {}", empty.out, empty.err);
    }
    assert!(said("migrate /proc/none/promtail.yaml", "").code == 1 && said("migrate", "").code == 2);
}
