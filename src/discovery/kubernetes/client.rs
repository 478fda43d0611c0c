//! A way to the API server: named in the config, or that of the pod, or that of the person at the keyboard.

use std::fs;

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::config::{BasicAuth, Config};
use super::failure::{Failure, chain};

/// Whether `url` can be an `api_server`.
pub(super) fn check_url(url: &str) -> Result<(), String> {
    to(url).map(|_| ())
}

/// A client that is as new as the files it was made from (one is made for each fresh start), and the address it asks.
pub(super) async fn connect(config: &Config) -> Result<(Client, String), Failure> {
    let mut access = access(config).await.map_err(Failure::credentials)?;
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
    Ok((client, server))
}

fn invalid(error: impl std::error::Error) -> Failure {
    Failure::credentials(chain(&error))
}

async fn access(config: &Config) -> Result<kube::Config, String> {
    let options = KubeConfigOptions::default();
    if !config.api_server.is_empty() {
        return named(config);
    }
    if !config.kubeconfig_file.is_empty() {
        let kubeconfig = Kubeconfig::read_from(&config.kubeconfig_file).map_err(|e| chain(&e))?;
        return kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|e| chain(&e));
    }
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        return kube::Config::incluster_env().map_err(|e| chain(&e));
    }
    kube::Config::from_kubeconfig(&options).await.map_err(|e| chain(&e))
}

/// `api_server` and the keys that go with it.
fn named(config: &Config) -> Result<kube::Config, String> {
    let mut access = to(&config.api_server)?;
    let auth = &mut access.auth_info;
    if let Some(BasicAuth { username, username_file, password, password_file }) = &config.basic_auth {
        auth.username = Some(inline_or_file(username, username_file)?);
        auth.password = Some(inline_or_file(password.expose(), password_file)?.into());
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
            auth.token_file = Some(file.clone());
        }
    }
    let tls = config.tls();
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    auth.client_certificate = some(tls.cert_file);
    auth.client_key = some(tls.key_file);
    access.root_cert_file = some(tls.ca_file).map(Into::into);
    access.tls_server_name = some(tls.server_name);
    access.accept_invalid_certs = tls.insecure_skip_verify;
    Ok(access)
}

fn to(url: &str) -> Result<kube::Config, String> {
    let expected = "expected for instance https://10.0.0.1:6443";
    let access = kube::Config::new(url.parse().map_err(|e| format!("{url:?} is not a URL: {e}: {expected}"))?);
    match (access.cluster_url.scheme_str(), access.cluster_url.host()) {
        (Some("http" | "https"), Some(_)) => Ok(access),
        _ => Err(format!("{url:?} is not the URL of an API server: {expected}")),
    }
}

fn inline_or_file(inline: &str, file: &str) -> Result<String, String> {
    if file.is_empty() {
        return Ok(inline.to_string());
    }
    let text = fs::read_to_string(file).map_err(|e| format!("cannot read {file:?}: {e}"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn config(yaml: &str) -> Config {
        serde_yaml::from_str(yaml).expect(yaml)
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
    async fn credentials_that_are_missing_are_no_reason_to_give_up() {
        let failure = connect(&config("{api_server: 'http://x', bearer_token_file: /nowhere/token}")).await;
        let failure = failure.err().expect("no token");
        assert_eq!(failure.reason, super::super::failure::Reason::Credentials);
        assert!(failure.error.contains("/nowhere/token"), "{}", failure.error);
    }
}
