//! A way to the API server: named in the config, or that of the pod, or that of the person at the keyboard.

use std::fs::{self, File};
use std::sync::Once;

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::bounded::bounded;
use super::config::Config;
use super::failure::{Failure, chain};
use crate::http_client::Url;
use crate::model::{bounded, nesting};

/// The most bytes of a file with a token. A token has some hundred bytes.
const SECRET: u64 = 64 << 10;

/// A kubeconfig may have certificates in it, of several clusters.
const KUBECONFIG: u64 = 4 << 20;

/// Whether `url` can be an `api_server`.
pub(super) fn check_url(url: &Url) -> Result<(), String> {
    to(url).map(|_| ())
}

/// A client that takes lists of up to `list` bytes; it is as new as the files it was made from (one is made for each fresh start), and the address it asks.
pub(super) async fn connect(config: &Config, list: usize) -> Result<(Client, String), Failure> {
    let mut access = access(config).await.map_err(Failure::credentials)?;
    take_user(&mut access).map_err(Failure::credentials)?;
    let server = access.cluster_url.to_string();
    let agent = concat!("fantail/", env!("CARGO_PKG_VERSION"));
    access.headers.push(("user-agent".parse().map_err(invalid)?, agent.parse().map_err(invalid)?));
    // One place retries, counts and says so.
    access.default_retry = false;
    if access.cluster_url.scheme_str() == Some("http") && access.root_cert_file.is_none() {
        // Nothing is verified, so that an image without CA certificates will do.
        access.root_cert = Some(Vec::new());
    }
    let client = Client::try_from(access).map_err(|e| Failure::credentials(chain(&e)))?;
    Ok((bounded(client, list), server))
}

fn invalid(error: impl std::error::Error) -> Failure {
    Failure::credentials(chain(&error))
}

async fn access(config: &Config) -> Result<kube::Config, String> {
    if !config.api_server.is_empty() {
        return named(config);
    }
    if !config.kubeconfig_file.is_empty() {
        check_kubeconfig(&config.kubeconfig_file)?;
        let kubeconfig = Kubeconfig::read_from(&config.kubeconfig_file).map_err(|e| chain(&e))?;
        return of_kubeconfig(kubeconfig, config.kubeconfig_exec).await;
    }
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        return kube::Config::incluster_env().map_err(|e| chain(&e));
    }
    of_kubeconfig(Kubeconfig::read().map_err(|e| chain(&e))?, config.kubeconfig_exec).await
}

/// Looks at a kubeconfig before it is parsed: the parser takes what there is, and the square of how deep it is nested.
fn check_kubeconfig(path: &str) -> Result<(), String> {
    let text = File::open(path).and_then(|file| bounded::read_text(file, KUBECONFIG));
    let text = text.map_err(|e| format!("cannot read the kubeconfig {path:?}: {e}"))?;
    match nesting::too_deep(&text) {
        Some(line) => Err(format!("the kubeconfig {path:?} is nested deeper than {} at line {line}", nesting::DEEPEST)),
        None => Ok(()),
    }
}

/// A program that the file names would run as the agent's user, who is root: whoever may write the file would be root too.
async fn of_kubeconfig(kubeconfig: Kubeconfig, may_exec: bool) -> Result<kube::Config, String> {
    let named = |name: &String| kubeconfig.contexts.iter().find(|c| c.name == *name)?.context.as_ref()?.user.as_ref();
    let user = kubeconfig.current_context.as_ref().and_then(named);
    for one in kubeconfig.auth_infos.iter().filter(|one| user.is_none_or(|user| one.name == *user)) {
        let Some(info) = one.auth_info.as_ref().filter(|_| !may_exec) else { continue };
        let key = match (&info.exec, &info.auth_provider) {
            (Some(_), _) => "exec",
            (None, Some(_)) => "auth-provider",
            (None, None) => continue,
        };
        return Err(format!(
            "user {:?} of the kubeconfig has {key}, which runs a program with all rights of the agent: use a token or a \
             certificate, or allow it with kubernetes_sd_configs[].kubeconfig_exec: true",
            one.name
        ));
    }
    let cluster = kubeconfig.current_context.as_ref().and_then(|current| {
        let context = kubeconfig.contexts.iter().find(|c| c.name == *current)?.context.as_ref()?;
        kubeconfig.clusters.iter().find(|cluster| cluster.name == context.cluster)?.cluster.as_ref()
    });
    let names_proxy = cluster.is_some_and(|cluster| cluster.proxy_url.as_ref().is_some_and(|url| !url.is_empty()));
    let mut access =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(|e| chain(&e))?;
    // kube takes the environment's, whatever NO_PROXY says, and is built without what speaks to a proxy.
    if !names_proxy && access.proxy_url.take().is_some() {
        SAID.call_once(|| {
            tracing::warn!(
                "HTTPS_PROXY is not used for the API server that the kubeconfig names: it is connected to directly"
            );
        });
    }
    Ok(access)
}

/// That a proxy is not used is said once.
static SAID: Once = Once::new();

/// Takes user and password out of the address, which is in logs and errors, and gives them to the requests as Go does.
fn take_user(access: &mut kube::Config) -> Result<(), String> {
    let url = access.cluster_url.to_string();
    let bare = without_user(&url);
    if bare == url {
        return Ok(());
    }
    let (_, rest) = url.split_once("://").unwrap_or_default();
    let (user, _) = rest.rsplit_once('@').unwrap_or_default();
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let auth = &mut access.auth_info;
    if auth.username.is_none() && auth.token.is_none() && auth.token_file.is_none() {
        auth.username = Some(name.into());
        auth.password = Some(password.to_string().into());
    }
    access.cluster_url = bare.parse().map_err(|e| format!("{bare:?} is not a URL: {e}"))?;
    Ok(())
}

/// `url` as it may be shown.
pub(super) fn without_user(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // A password with a slash in it ends where the last @ is, and is not one that anybody should see.
    let at = rest[..end].rfind('@').or_else(|| rest.rfind('@'));
    match at {
        Some(at) if scheme.is_empty() => rest[at + 1..].to_string(),
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_string(),
    }
}

/// `api_server` and the keys that go with it.
fn named(config: &Config) -> Result<kube::Config, String> {
    let mut access = to(&config.api_server)?;
    let auth = &mut access.auth_info;
    if let Some(basic) = &config.basic_auth {
        let (user, password) = basic.readers();
        auth.username = Some(user.read()?.expose().into());
        auth.password = Some(password.read()?.expose().to_string().into());
    }
    let authorization = config.authorization.clone().unwrap_or_default();
    for (token, file) in [
        (&config.bearer_token, &config.bearer_token_file),
        (&authorization.credentials, &authorization.credentials_file),
    ] {
        if !token.is_empty() {
            auth.token = Some(token.expose().into());
        }
        if !file.is_empty() {
            // It is read again by whoever sends it, whole. One that is not there yet is that one's to say.
            if fs::metadata(file).is_ok_and(|metadata| metadata.len() > SECRET) {
                return Err(format!("{file:?} has more than {SECRET} bytes, which no token has"));
            }
            auth.token_file = Some(file.clone());
        }
    }
    let tls = config.tls_config.clone();
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    auth.client_certificate = some(tls.cert_file);
    auth.client_key = some(tls.key_file);
    access.root_cert_file = some(tls.ca_file).map(Into::into);
    access.tls_server_name = some(tls.server_name);
    access.accept_invalid_certs = tls.insecure_skip_verify;
    Ok(access)
}

fn to(url: &Url) -> Result<kube::Config, String> {
    let url = url.expose();
    let expected = "expected for instance https://10.0.0.1:6443";
    let shown = without_user(url);
    let access = kube::Config::new(url.parse().map_err(|e| format!("{shown:?} is not a URL: {e}: {expected}"))?);
    match (access.cluster_url.scheme_str(), access.cluster_url.host()) {
        (Some("http" | "https"), Some(_)) => Ok(access),
        _ => Err(format!("{shown:?} is not the URL of an API server: {expected}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn config(yaml: &str) -> Config {
        crate::yaml::from_str(yaml).expect(yaml)
    }

    #[tokio::test]
    async fn what_the_keys_beside_api_server_come_to() {
        let mut password = tempfile::NamedTempFile::new().expect("a file");
        password.write_all(b"hunter2\n").expect("written");
        let yaml = format!(
            "{{api_server: 'https://10.0.0.1:6443', basic_auth: {{username: me, password_file: '{}'}}, \
              tls_config: {{ca_file: /ca, cert_file: /c, key_file: /k, server_name: s, insecure_skip_verify: yes}}}}",
            password.path().display()
        );
        let made = access(&config(&yaml)).await.expect("an access");
        assert_eq!(made.cluster_url, "https://10.0.0.1:6443/");
        assert_eq!(made.auth_info.username.as_deref(), Some("me"));
        let shown = serde_json::to_value(&made.auth_info).expect("json");
        assert_eq!(shown["password"], "hunter2", "without the end of its line");
        assert_eq!((&shown["client-certificate"], &shown["client-key"]), (&"/c".into(), &"/k".into()));
        assert_eq!(made.root_cert_file.as_deref(), Some("/ca".as_ref()));
        assert_eq!((made.tls_server_name.as_deref(), made.accept_invalid_certs), (Some("s"), true));

        let yaml = "{api_server: 'http://x', authorization: {credentials_file: /t}}";
        let made = access(&config(yaml)).await.expect("an access");
        assert_eq!(made.auth_info.token_file.as_deref(), Some("/t"));
    }

    #[tokio::test]
    async fn a_kubeconfig_file_is_read_when_it_is_needed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("kube");
        let config = config(&format!("{{role: pod, kubeconfig_file: '{}'}}", path.display()));
        let error = access(&config).await.expect_err("it is not there yet");
        assert!(error.contains(&path.display().to_string()), "{error}");

        let kubeconfig = "{current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}], \
            clusters: [{name: k, cluster: {server: 'https://k:1'}}], users: [{name: u, user: {token: t}}]}";
        fs::write(&path, kubeconfig).expect("written");
        assert_eq!(access(&config).await.expect("an access").cluster_url, "https://k:1/");
    }

    #[tokio::test]
    async fn files_that_are_too_large_or_too_deep_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name).display().to_string();
        let sparse = |name: &str| File::create(at(name)).and_then(|file| file.set_len(10 << 30)).expect("made");
        sparse("large");
        fs::write(at("deep"), "[".repeat(50_000)).expect("written");
        for (yaml, why) in [
            (format!("kubeconfig_file: '{}'", at("large")), "bytes"),
            (format!("kubeconfig_file: '{}'", at("deep")), "nested"),
            (format!("{{api_server: 'http://x', bearer_token_file: '{}'}}", at("large")), "bytes"),
            (format!("{{api_server: 'http://x', authorization: {{credentials_file: '{}'}}}}", at("large")), "bytes"),
            (format!("{{api_server: 'http://x', basic_auth: {{password_file: '{}'}}}}", at("large")), "bytes"),
        ] {
            let error = access(&config(&yaml)).await.expect_err(&yaml);
            assert!(error.contains(why), "{error}");
        }
    }

    #[tokio::test]
    async fn a_program_in_a_kubeconfig_is_refused_unless_it_is_allowed() {
        let of = |user: &str, current: &str| {
            let yaml = format!(
                "{{current-context: {current}, contexts: [{{name: c, context: {{cluster: k, user: u}}}}, \
                 {{name: d, context: {{cluster: k, user: v}}}}], clusters: [{{name: k, cluster: {{server: 'https://k:1'}}}}], \
                 users: [{{name: u, user: {user}}}, {{name: v, user: {{token: t}}}}]}}"
            );
            Kubeconfig::from_yaml(&yaml).expect(&yaml)
        };
        let exec = "{exec: {apiVersion: client.authentication.k8s.io/v1, command: 'false', interactiveMode: Never}}";
        for (key, user) in
            [("exec", exec), ("auth-provider", "{auth-provider: {name: gcp, config: {cmd-path: 'false'}}}")]
        {
            let error = of_kubeconfig(of(user, "c"), false).await.expect_err(key);
            assert!(error.contains(key) && error.contains("kubeconfig_exec"), "{error}");
            assert!(of_kubeconfig(of(user, "d"), false).await.is_ok(), "another user is meant");
            assert!(of_kubeconfig(of(user, "nowhere"), false).await.is_err_and(|e| e.contains(key)));
        }
        assert!(of_kubeconfig(of(exec, "c"), true).await.is_ok());
    }

    /// The environment belongs to the whole process: the test is run again in one that has a proxy in it.
    #[tokio::test]
    async fn a_proxy_in_the_environment_does_not_keep_a_kubeconfig_from_being_used() {
        const HERE: &str = "FANTAIL_TEST_PROXY_IS_SET";
        if std::env::var_os(HERE).is_none() {
            let name = "discovery::kubernetes::client::tests::a_proxy_in_the_environment_does_not_keep_a_kubeconfig_from_being_used";
            let mut again = std::process::Command::new(std::env::current_exe().expect("this program"));
            let again = again.args([name, "--exact"]).env(HERE, "1").env("HTTPS_PROXY", "http://127.0.0.1:9").output();
            let output = again.expect("started");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("kube");
        let of = |more: &str| {
            let kubeconfig = format!(
                "{{current-context: c, contexts: [{{name: c, context: {{cluster: k, user: u}}}}], clusters: [{{name: k, \
                 cluster: {{server: 'http://k:1'{more}}}}}], users: [{{name: u, user: {{token: t}}}}]}}"
            );
            fs::write(&path, kubeconfig).expect("written");
            config(&format!("{{role: pod, kubeconfig_file: '{}'}}", path.display()))
        };
        assert!(connect(&of(""), 1).await.is_ok());
        let named = access(&of(", proxy-url: 'http://p:2'")).await.expect("an access");
        assert_eq!(named.proxy_url.expect("what the file names is kept"), "http://p:2/");
    }

    #[tokio::test]
    async fn a_password_in_the_address_is_sent_and_shown_nowhere() {
        let mut made = access(&config("{api_server: 'https://me:hunter2@10.0.0.1:6443/x'}")).await.expect("an access");
        take_user(&mut made).expect("taken");
        assert_eq!(made.cluster_url, "https://10.0.0.1:6443/x");
        assert_eq!(made.auth_info.username.as_deref(), Some("me"));
        assert_eq!(serde_json::to_value(&made.auth_info).expect("json")["password"], "hunter2");
        let mut made = access(&config("{api_server: 'https://me:x@h', bearer_token: t}")).await.expect("an access");
        take_user(&mut made).expect("taken");
        assert_eq!(made.auth_info.username, None, "what is written beside it goes first");
        for wrong in
            ["ftp://me:hunter2@h", "http://me:hunter2@", "http://me:hun ter2@h", "me:hunter2@h", "http://me:/hunter2@h"]
        {
            let error = check_url(&Url::new(wrong)).err().unwrap_or_default();
            assert!(!error.contains("ter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn credentials_that_are_missing_are_no_reason_to_give_up() {
        let failure = connect(&config("{api_server: 'http://x', bearer_token_file: /nowhere/token}"), 1).await;
        let failure = failure.err().expect("no token");
        assert_eq!(failure.reason, super::super::failure::Reason::Credentials);
        assert!(failure.error.contains("/nowhere/token"), "{}", failure.error);
    }
}
