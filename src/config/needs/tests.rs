use std::fs;
use std::path::Path;

use super::*;
use crate::config::Request;

fn needs(yaml: &str) -> Needs {
    needs_with(yaml, &|_| None)
}

fn needs_with(yaml: &str, env: &dyn Fn(&str) -> Option<String>) -> Needs {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("config.yaml");
    fs::write(&file, yaml).expect("written");
    let request = Request { files: file.display().to_string(), ..Request::default() };
    Config::load(&request, env).map_err(|e| e.to_string()).expect(yaml).config.needs(env)
}

fn paths(paths: &BTreeSet<PathBuf>) -> Vec<&str> {
    paths.iter().map(|path| path.to_str().expect("text")).collect()
}

#[test]
fn each_file_and_each_port_that_a_config_names_is_found() {
    let needs = needs(
        "server: {http_listen_port: 9080, external_url: 'http://x:7'}
positions: {filename: /state/p.yaml}
clients:
  - url: https://a:1/push
    tls_config: {ca_file: /1, cert_file: /2, key_file: /3}
    basic_auth: {username_file: /4, password_file: /5}
    proxy_url: http://user:p@ss@proxy:2
    headers: {x_file: /no, a_url: 'http://no:99'}
    http_headers: {url: {files: [/6, /7]}}
    external_labels: {a_file: /no, url: 'http://no:99'}
  - {url: 'https://b/push', authorization: {credentials_file: /8}}
  - {url: 'http://[::1]/push', bearer_token_file: /9}
  - url: https://c:3/push
    oauth2: {token_url: 'https://d:4', client_secret_file: /10, tls_config: {ca_file: /11}, proxy_url: 'socks5://e'}
scrape_configs:
  - job_name: j
    kubernetes_sd_configs:
      - role: pod
        api_server: https://k:6443
        basic_auth: {username_file: /12, password_file: /13}
        tls_config: {ca_file: /14, cert_file: /15, key_file: /16}
      - {role: pod, api_server: 'https://k:6443', bearer_token_file: /17}
      - {role: pod, api_server: 'https://k:6443', authorization: {credentials_file: /18}}
    pipeline_stages:
      - match: {selector: '{a=\"b\"}', stages: [{geoip: {db: /proc/version, db_type: city, source: a}}]}
      - labels: {db: /no, log_file: }
    relabel_configs: [{target_label: __path__, replacement: /srv/app/*.log}]
",
    );
    let mut expected: Vec<String> = (1..19).map(|n| format!("/{n}")).chain(["/proc/version".into()]).collect();
    expected.sort();
    assert_eq!(paths(&needs.files), expected);
    assert_eq!(needs.ports, [1, 2, 3, 4, 53, 80, 443, 1080, 6443].into());
    assert_eq!((needs.listens, needs.positions.to_str()), ([9080].into(), Some("/state/p.yaml")));
    assert_eq!((needs.anywhere, needs.any_port), (Vec::<String>::new(), Vec::new()));
    assert_eq!(paths(&needs.logs), ["/srv/app", "/var/log/pods"]);
}

/// These files are read again when they change, long after the start.
#[test]
fn the_files_that_a_web_config_names() {
    let dir = tempfile::tempdir().expect("a folder");
    let web = dir.path().join("web.yaml");
    fs::write(&web, "tls_server_config: {cert_file: tls.crt, key_file: /k/tls.key, client_ca_file: /ca.pem, client_auth_type: RequireAndVerifyClientCert}")
        .expect("written");
    let known = needs(&format!("{{clients: [{{url: 'https://l'}}], server: {{web_config_file: {}}}}}", web.display()));
    for file in [&*web, &dir.path().join("tls.crt"), Path::new("/k/tls.key"), Path::new("/ca.pem")] {
        assert!(known.files.contains(file), "{}: {:?}", file.display(), known.files);
    }
}

#[test]
fn where_logs_may_be() {
    let of = |jobs: &str, more: &str| {
        needs(&format!(
            "{{clients: [{{url: 'https://l'}}], server: {{disable: true}}, scrape_configs: {jobs}, target_config: {{{more}}}}}"
        ))
    };
    let statics = "[{job_name: a, static_configs: [{labels: {__path__: '{/a/x/*.log,/b/c/y.log}'}}, \
                   {targets: [t], labels: {p: z, __path__: /old/x.log}}], \
                   relabel_configs: [{source_labels: [p], regex: (.+), target_label: __path__, replacement: /host/$1/a.log}]}]";
    let known = of(statics, "");
    assert_eq!(paths(&known.logs), ["/a/x", "/b/c", "/host/z"], "rules are run over targets that are known");
    assert_eq!(paths(&known.named_logs), ["/b/c/y.log", "/host/z/a.log"]);
    assert_eq!((known.anywhere.len(), known.runtimes.len(), known.listens.len()), (0, 0, 0));

    let pods = "[{job_name: k, kubernetes_sd_configs: [{role: pod, api_server: 'https://k'}], relabel_configs: RULES}]";
    let mounted =
        of(&pods.replace("RULES", "[{target_label: __path__, replacement: '/host/var/log/containers/$1.log'}]"), "");
    assert_eq!(paths(&mounted.logs), ["/host/var/log/containers", "/var/log/pods"]);
    assert!(mounted.runtimes.contains(Path::new("/host/var/lib/docker/containers")), "{mounted:?}");
    assert!(mounted.runtimes.contains(Path::new("/var/lib/docker/containers")) && mounted.anywhere.is_empty());

    let annotated =
        pods.replace("RULES", "[{target_label: __path__, source_labels: [__meta_kubernetes_pod_annotation_path]}]");
    let why = of(&annotated, "").anywhere;
    assert!(why.len() == 1 && why[0].contains("relabel_configs[0] of job \"k\""), "{why:?}");
    let said = of(&annotated, "read_roots: [/logs/app], link_roots: [/data/links]");
    assert_eq!((paths(&said.logs), said.anywhere.len()), (vec!["/data/links", "/logs/app", "/var/log/pods"], 0));

    let files = "[{job_name: f, file_sd_configs: [{files: [/etc/targets/*.yaml]}]}]";
    let listed = of(files, "");
    assert!(listed.anywhere.len() == 1 && listed.files.contains(Path::new("/etc/targets/*.yaml")), "{listed:?}");
    let http = of("[{job_name: h, http_sd_configs: [{url: 'http://sd:8080/t', bearer_token_file: /t}]}]", "");
    assert!(http.anywhere.len() == 1 && http.files.contains(Path::new("/t")), "{http:?}");
    assert_eq!(http.ports, [53, 443, 8080].into());
    let consul = of(
        "[{job_name: c, consul_sd_configs: [{server: 'c:8501', token: t, node_meta: {url: 'http://x:1'}}, {server: c, scheme: https}], \
         consulagent_sd_configs: [{tls_config: {ca_file: /ca}}], \
         relabel_configs: [{source_labels: [__meta_consul_service], target_label: __path__, replacement: /srv/log/$1.log}]}]",
        "",
    );
    assert_eq!((paths(&consul.logs), paths(&consul.files)), (vec!["/srv/log"], vec!["/ca"]));
    assert_eq!((consul.ports, consul.anywhere.len()), ([53, 443, 8500, 8501].into(), 0));
    let docker = "[{job_name: d, docker_sd_configs: [{host: 'unix:///var/run/docker.sock'}, \
                   {host: 'tcp://h:2376', tls_config: {ca_file: /ca}}], relabel_configs: RULES}]";
    let containers = of(&docker.replace("RULES", "[]"), "");
    assert_eq!((paths(&containers.logs), paths(&containers.files)), (vec!["/var/lib/docker/containers"], vec!["/ca"]));
    assert_eq!((containers.ports, containers.anywhere.len()), ([53, 443, 2376].into(), 0));
    let swarm = "[{job_name: s, dockerswarm_sd_configs: [{host: 'tcp://h:2377', role: tasks}]}]";
    let tasks = of(swarm, "");
    assert_eq!((paths(&tasks.logs), tasks.ports), (vec!["/var/lib/docker/containers"], [53, 443, 2377].into()));
    let named = of(&docker.replace("RULES", "[{target_label: __path__, replacement: '/srv/log/$1.log'}]"), "");
    assert_eq!(paths(&named.logs), ["/srv/log", "/var/lib/docker/containers"]);
    let root = of("[{job_name: r, static_configs: [{labels: {__path__: '/*/log/*.log'}}]}]", "");
    assert!(root.logs.is_empty() && root.anywhere.len() == 1, "{root:?}");
    assert!(of(files, "stdin: true").anywhere.is_empty(), "nothing is discovered");
}

#[test]
fn what_the_environment_names() {
    let env = |name: &str| match name {
        "HTTPS_PROXY" => Some("http://p:3128".to_string()),
        "http_proxy" => Some("q:8080".to_string()),
        "KUBERNETES_SERVICE_HOST" => Some("10.0.0.1".to_string()),
        _ => None,
    };
    let job = "scrape_configs: [{job_name: k, kubernetes_sd_configs: [{role: pod}]}]";
    let asked =
        needs_with(&format!("{{clients: [{{url: 'https://l:1', proxy_from_environment: true}}], {job}}}"), &env);
    assert_eq!(asked.ports, [1, 53, 443, 3128, 8080].into());
    assert!(asked.files.contains(Path::new("/var/run/secrets/kubernetes.io/serviceaccount/token")), "{asked:?}");
    let not_asked = needs_with("clients: [{url: 'http://l:1', follow_redirects: false}]", &env);
    assert_eq!(not_asked.ports, [1, 53].into());
    assert_eq!(needs_with("clients: [{url: 'http://l:1'}]", &env).ports, [1, 53, 443].into());
    let job = "scrape_configs: [{job_name: k, kubernetes_sd_configs: [{role: pod, kubeconfig_file: /nowhere/k, kubeconfig_exec: true}]}]";
    let unknown = needs(&format!("{{clients: [{{url: 'https://l:1'}}], {job}}}"));
    assert!(unknown.runs_programs && unknown.any_port.len() == 1 && unknown.unknown_files.len() == 1, "{unknown:?}");
    // `read_roots` says nothing about the files of an unreadable kubeconfig.
    let said = needs(&format!("{{clients: [{{url: 'https://l:1'}}], target_config: {{read_roots: [/x]}}, {job}}}"));
    assert_eq!((said.unknown_files.len(), said.anywhere.len()), (1, 0), "{said:?}");
}

#[test]
fn the_folders_of_the_journal_may_be_read() {
    let of =
        |job: &str| needs(&format!("{{clients: [{{url: 'https://l'}}], scrape_configs: [{{job_name: j, {job}}}]}}"));
    let default = of("journal: {}");
    assert_eq!(paths(&default.logs), ["/run/log/journal", "/var/log/journal"]);
    assert!(default.files.contains(Path::new("/etc/machine-id")) && default.anywhere.is_empty());
    assert_eq!(paths(&of("journal: {path: /host/journal}").logs), ["/host/journal"]);
    // The job reads no journal.
    let files = of("journal: {path: /host/journal}, static_configs: [{labels: {__path__: /srv/a.log}}]");
    assert!(!files.logs.contains(Path::new("/host/journal")));
}

/// Keys with names like a file or an address that are not read or connected to.
const OTHERS: [&str; 16] = [
    "host",                 // of Docker: `Config::needs` has it
    "host_networking_host", // in a label
    "dir",                  // of `wal`, which is ignored
    "http_allowed_hosts",   // host names of the pages
    "http_listen_address",  // to listen on
    "http_path_prefix",     // of the pages
    "listen_address",       // listened at
    "link_roots",           // `Config::needs` has it
    "no_proxy",             // not connected to through a proxy
    "path",                 // of `journal`; `Needs::job` has it
    "path_prefix",          // of Consul's API
    "proxy_connect_header", // sent to a proxy
    "read_roots",           // `Config::needs` has it
    "server",               // of Consul: `Needs::job` has it
    "server_name",          // in a certificate
    "username_ref",         // refused
];

/// Keys of files and addresses have names by which `needs` finds them, so that no new key is forgotten.
#[test]
fn keys_of_files_and_addresses_are_called_so() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut strange, mut seen) = (vec![src], Vec::new(), BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                // Objects of the API server are not config.
                if !path.ends_with("discovery/kubernetes/role") {
                    folders.push(path);
                }
                continue;
            }
            // Nor are the answers of other servers.
            if path.ends_with("api.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            // Keys are fields of structs that are read from YAML, or names that a stage looks up.
            let fields = text.lines().filter(|_| text.contains("Deserialize")).filter_map(|line| {
                let (name, kind) = line.trim().trim_start_matches("pub ").split_once(": ")?;
                let holds_text =
                    ["String", "Url", "PathBuf"].iter().any(|text| kind.contains(text)) && kind.ends_with(',');
                holds_text.then_some(name)
            });
            let asked = [".required(\"", ".optional(\"", ".text(\""]
                .into_iter()
                .flat_map(|call| text.split(call).skip(1).filter_map(|rest| rest.split('"').next()));
            for name in fields.chain(asked).filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_')) {
                let sounds =
                    ["file", "path", "url", "dir", "folder", "server", "host", "address", "root", "proxy", "socket"];
                if !sounds.iter().any(|sound| name.contains(sound)) && name != "db" {
                    continue;
                }
                seen.insert(name.to_string());
                if !is_path(name) && !is_url(name) && !OTHERS.contains(&name) {
                    strange.push(format!("{name} in {}", path.display()));
                }
            }
        }
    }
    for known in ["ca_file", "password_file", "kubeconfig_file", "token_url", "url", "db", "files"] {
        assert!(seen.contains(known), "the search finds nothing any more: {seen:?}");
    }
    assert!(strange.is_empty(), "call it …_file or …_url, or say in OTHERS what it is:\n{}", strange.join("\n"));
}
