//! A real kube-apiserver with its etcd, and two users of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::http;
use crate::kube::Kube;
use crate::scratch::Scratch;
use crate::servers::{self, Server, free_port};

pub(crate) struct Apiserver {
    port: u16,
    etcd_url: String,
    /// Arguments in addition to the usual ones.
    more: &'static [&'static str],
    /// None while the test keeps it down. It ends before its etcd, because fields are dropped in their order.
    server: Option<Server>,
    _etcd: Server,
    dir: Scratch,
}

#[derive(Clone, Copy)]
pub(crate) enum User {
    /// The user in the group `system:masters`.
    Admin,
    /// The user `fantail`, in no group. RBAC decides what this user may do.
    Agent,
}

impl User {
    pub(crate) fn name(self) -> &'static str {
        match self {
            User::Admin => "admin",
            User::Agent => "fantail",
        }
    }

    fn token(self) -> &'static str {
        match self {
            User::Admin => "admin-token",
            User::Agent => "agent-token",
        }
    }
}

impl Apiserver {
    pub(crate) fn start() -> Apiserver {
        Apiserver::start_with(&[])
    }

    /// Starts it with more arguments than the usual ones.
    pub(crate) fn start_with(more: &'static [&'static str]) -> Apiserver {
        servers::with_free_ports(|| Apiserver::try_start(more))
    }

    fn try_start(more: &'static [&'static str]) -> Result<Apiserver, String> {
        let dir = Scratch::new("apiserver");
        write_credentials(&dir);
        let etcd_url = format!("http://127.0.0.1:{}", free_port());
        let etcd = start_etcd(&dir, &etcd_url)?;
        let mut apiserver = Apiserver { port: free_port(), server: None, _etcd: etcd, etcd_url, more, dir };
        apiserver.server = Some(apiserver.start_server()?);
        Ok(apiserver)
    }

    pub(crate) fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it on the same port and with the same etcd, so that clients see the same API server again.
    pub(crate) fn start_again(&mut self) {
        self.stop();
        self.server = Some(servers::with_free_ports(|| self.start_server()));
    }

    pub(crate) fn admin(&self) -> Kube {
        Kube::new(&self.url(), &self.ca(), User::Admin.token())
    }

    /// Makes etcd forget old versions of objects, as the API server does every five minutes.
    pub(crate) fn compact(&self) {
        let ask = |path: &str, body: &Value| {
            let request = http::client(None).post(format!("{}{path}", self.etcd_url)).body(body.to_string());
            let answer = http::send(request).expect("etcd answers");
            assert!(answer.is_success(), "{path}: {answer:?}");
            serde_json::from_str::<Value>(&answer.body).expect("etcd answers in JSON")
        };
        let now = ask("/v3/maintenance/status", &json!({}));
        ask("/v3/kv/compaction", &json!({"revision": now["header"]["revision"], "physical": true}));
    }

    /// A kubeconfig with the user's token.
    pub(crate) fn kubeconfig(&self, user: User) -> PathBuf {
        self.kubeconfig_at(&self.address(), user)
    }

    /// The same, with another address of the API server: that of a link.
    pub(crate) fn kubeconfig_at(&self, address: &str, user: User) -> PathBuf {
        let name = user.name();
        let path = self.dir.join(format!("kubeconfig-{name}.json"));
        let cluster = json!({"server": format!("https://{address}"), "certificate-authority": self.ca()});
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "e2e", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": user.token()}}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": name}}],
            "current-context": "e2e",
        });
        fs::write(&path, config.to_string()).expect("the kubeconfig is written");
        path
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn url(&self) -> String {
        format!("https://{}", self.address())
    }

    /// It writes a certificate at its first start, and uses it at later ones.
    fn ca(&self) -> PathBuf {
        self.dir.join("certs/apiserver.crt")
    }

    fn start_server(&self) -> Result<Server, String> {
        let file = |name: &str| self.dir.join(name).display().to_string();
        let port = self.port.to_string();
        #[rustfmt::skip]
        let args = [
            "--etcd-servers", &self.etcd_url,
            "--bind-address", "127.0.0.1",
            "--secure-port", &port,
            "--cert-dir", &file("certs"),
            "--token-auth-file", &file("tokens.csv"),
            "--authorization-mode", "RBAC",
            "--service-account-issuer", "https://kubernetes.default.svc",
            "--service-account-key-file", &file("sa.key"),
            "--service-account-signing-key-file", &file("sa.key"),
            "--service-cluster-ip-range", "10.0.0.0/24",
            // No controller runs here that would create the service account that a pod needs.
            "--disable-admission-plugins", "ServiceAccount",
        ];
        let args = args.into_iter().chain(self.more.iter().copied());
        let ready = || self.ca().exists() && self.admin().is_ready();
        let binary = servers::binary("FANTAIL_E2E_KUBE_APISERVER");
        Server::start(&binary, args, self.dir.join("kube-apiserver.log"), ready)
    }
}

fn start_etcd(dir: &Path, url: &str) -> Result<Server, String> {
    let data = dir.join("etcd").display().to_string();
    let peer = format!("http://127.0.0.1:{}", free_port());
    let cluster = format!("default={peer}");
    #[rustfmt::skip]
    let args = [
        "--data-dir", &data,
        "--listen-client-urls", url,
        "--advertise-client-urls", url,
        "--listen-peer-urls", &peer,
        "--initial-advertise-peer-urls", &peer,
        "--initial-cluster", &cluster,
        "--unsafe-no-fsync",
        "--log-level", "error",
    ];
    let client = http::client(None);
    let ready = || {
        let answer = http::send(client.get(format!("{url}/health")));
        answer.is_ok_and(|answer| answer.status == 200)
    };
    let binary = servers::binary("FANTAIL_E2E_ETCD");
    Server::start(&binary, args, dir.join("etcd.log"), ready)
}

fn write_credentials(dir: &Path) {
    let (admin, agent) = (User::Admin, User::Agent);
    let tokens =
        format!("{},{},1,\"system:masters\"\n{},{},2\n", admin.token(), admin.name(), agent.token(), agent.name(),);
    fs::write(dir.join("tokens.csv"), tokens).expect("the tokens are written");

    let openssl = Command::new("openssl")
        .args(["genrsa", "-out"])
        .arg(dir.join("sa.key"))
        .arg("2048")
        .output()
        .expect("openssl runs: it is needed for a key of the API server's");
    assert!(openssl.status.success(), "openssl genrsa: {openssl:?}");
}
