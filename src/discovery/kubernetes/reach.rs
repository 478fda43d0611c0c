//! What the way to the API server needs beyond what is written in the config itself: a kubeconfig names files and an address, and
//! a pod is given some.

use std::path::PathBuf;

use kube::config::Kubeconfig;

use super::client::without_user;
use super::config::Config;

/// Where the kubelet puts a pod's token and the cluster's CA.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Where the system has users' homes.
const USERS: &str = "/etc/passwd";

/// What is read and asked besides the keys of the config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    pub files: Vec<PathBuf>,
    /// Without user and password.
    pub urls: Vec<String>,
}

impl Config {
    /// As it is now; an error says why that cannot be known. A kubeconfig is read again later, and may name others then.
    pub fn reach(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Reach, String> {
        if !self.api_server.is_empty() {
            return Ok(Reach::default());
        }
        let is_set = |name: &str| env(name).filter(|value| !value.is_empty());
        if !self.kubeconfig_file.is_empty() {
            return Reach::of(vec![self.kubeconfig_file.clone().into()]);
        }
        if env("KUBERNETES_SERVICE_HOST").is_some() {
            let port = is_set("KUBERNETES_SERVICE_PORT").unwrap_or_else(|| "443".into());
            return Ok(Reach { files: vec![ACCOUNT.into()], urls: vec![format!("https://kubernetes:{port}")] });
        }
        let named: Vec<PathBuf> = is_set("KUBECONFIG").iter().flat_map(std::env::split_paths).collect();
        if !named.is_empty() {
            return Reach::of(named);
        }
        let home = is_set("HOME").map(PathBuf::from);
        // Without it the home is asked for whenever the kubeconfig is read, as kube does.
        let users = home.is_none().then(|| PathBuf::from(USERS));
        let home = home.or_else(std::env::home_dir).unwrap_or_default();
        let mut reach = Reach::of(vec![home.join(".kube/config")])?;
        reach.files.extend(users);
        Ok(reach)
    }
}

impl Reach {
    fn of(kubeconfigs: Vec<PathBuf>) -> Result<Self, String> {
        let mut reach = Self { files: kubeconfigs.clone(), urls: Vec::new() };
        for path in kubeconfigs.iter().filter(|path| !path.as_os_str().is_empty()) {
            let read = Kubeconfig::read_from(path).map_err(|e| format!("kubeconfig {}: {e}", path.display()))?;
            for cluster in read.clusters.into_iter().filter_map(|named| named.cluster) {
                reach.files.extend(cluster.certificate_authority.map(PathBuf::from));
                let urls = cluster.server.into_iter().chain(cluster.proxy_url);
                reach.urls.extend(urls.map(|url| without_user(&url)));
            }
            for user in read.auth_infos.into_iter().filter_map(|named| named.auth_info) {
                let files = [user.client_certificate, user.client_key, user.token_file];
                reach.files.extend(files.into_iter().flatten().map(PathBuf::from));
            }
        }
        Ok(reach)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_names_files_and_addresses() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("kube");
        let yaml = "{current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}], \
            clusters: [{name: k, cluster: {server: 'https://me:hunter2@k:6443', certificate-authority: ca.pem}}], \
            users: [{name: u, user: {client-certificate: /c, client-key: keys/k, tokenFile: t}}]}";
        std::fs::write(&path, yaml).expect("written");
        let config = Config { kubeconfig_file: path.display().to_string(), ..Config::default() };
        let reach = config.reach(&|_| None).expect("it can be read");
        let at = |name: &str| dir.path().join(name);
        assert_eq!(reach.files, [path.clone(), at("ca.pem"), "/c".into(), at("keys/k"), at("t")]);
        assert_eq!(reach.urls, ["https://k:6443"]);
        std::fs::remove_file(&path).expect("removed");
        assert!(config.reach(&|_| None).is_err_and(|e| e.contains("kube")), "nobody knows what it will name");
    }

    #[test]
    fn without_home_it_is_that_of_the_user() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join(".kube")).expect("made");
        std::fs::write(dir.path().join(".kube/config"), "{clusters: [{name: k, cluster: {server: 'https://k:1'}}]}")
            .expect("written");
        let home = dir.path().display().to_string();
        let reach = Config::default().reach(&|name| (name == "HOME").then(|| home.clone())).expect("it can be read");
        assert_eq!((reach.files, reach.urls), (vec![dir.path().join(".kube/config")], vec!["https://k:1".to_string()]));
        // Whoever runs the tests may have one.
        let own = std::env::home_dir().expect("a home").join(".kube/config").display().to_string();
        match Config::default().reach(&|_| None) {
            Ok(reach) => {
                assert!(reach.files.contains(&own.into()) && reach.files.contains(&USERS.into()), "{:?}", reach.files)
            }
            Err(error) => assert!(error.contains(&own), "{error}"),
        }
    }

    #[test]
    fn a_pod_is_told_by_its_environment() {
        let env = |name: &str| match name {
            "KUBERNETES_SERVICE_HOST" => Some("10.0.0.1".to_string()),
            "KUBERNETES_SERVICE_PORT" => Some("6443".to_string()),
            _ => None,
        };
        let reach = Config::default().reach(&env).expect("known");
        assert_eq!((reach.files, reach.urls), (vec![ACCOUNT.into()], vec!["https://kubernetes:6443".to_string()]));
        let named = Config { api_server: crate::http_client::Url::new("https://x"), ..Config::default() };
        assert_eq!(named.reach(&env), Ok(Reach::default()));
    }
}
