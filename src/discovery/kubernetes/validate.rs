//! Checks `kubernetes_sd_configs`. Each error says what to do instead.

use super::client;
use super::config::Config;
use super::role::Role;
use crate::http_client::Authorization;
use crate::model::ConfigError;

impl Config {
    pub fn validate(&self) -> Result<(), ConfigError> {
        let roles = || Role::ALL.map(|role| role.kind().role).join(", ");
        let role = match (Role::of(&self.role), self.role.as_str()) {
            (Some(role), _) => role,
            (None, "") => return Err(ConfigError::new("role", "is missing: write `role: pod`")),
            (None, other) => {
                let problem = format!("unknown role {other:?}: write one of {}", roles());
                return Err(ConfigError::new("role", problem));
            }
        };
        self.validate_selectors(role)?;
        self.validate_attached(role)?;
        self.validate_scope()?;
        self.refuse_the_unsupported()?;
        self.validate_access()
    }

    fn validate_selectors(&self, role: Role) -> Result<(), ConfigError> {
        let own = role.kind().role;
        let asked: Vec<&str> = role.selectable().iter().map(|kind| kind.role).collect();
        let mut seen = Vec::new();
        for (i, selector) in self.selectors.iter().enumerate() {
            let named = if selector.role.is_empty() { own } else { &selector.role };
            if !asked.contains(&named) {
                let asked = asked.join(" or ");
                let problem = format!("{named:?} has no effect with `role: {own}`: write `role: {asked}`");
                return Err(ConfigError::new("role", problem).within(i).within("selectors"));
            }
            let no_operator = |term: &&str| !term.contains('=');
            if let Some(term) = selector.field.split(',').filter(|t| !t.is_empty()).find(no_operator) {
                let problem = format!("{term:?} is not a field selector: write for instance status.phase=Running");
                return Err(ConfigError::new("field", problem).within(i).within("selectors"));
            }
            if seen.contains(&named) {
                let problem = format!("only one selector for {named} is allowed: join the labels of all with commas");
                return Err(ConfigError::new("selectors", problem));
            }
            seen.push(named);
        }
        Ok(())
    }

    fn validate_attached(&self, role: Role) -> Result<(), ConfigError> {
        let attach = &self.attach_metadata;
        let of_pods = role.has_pods();
        let wanted = [
            ("node", attach.node, of_pods),
            ("namespace", attach.namespace, role != Role::Node),
            ("deployment", attach.deployment, of_pods),
            ("job", attach.job, of_pods),
            ("cronjob", attach.cronjob, of_pods),
        ];
        match wanted.iter().find(|(_, is_on, has_it)| *is_on && !has_it) {
            Some((name, ..)) => {
                let problem = format!("has no effect with `role: {}`: remove it", self.role);
                Err(ConfigError::new(name, problem).within("attach_metadata"))
            }
            None => Ok(()),
        }
    }

    fn validate_scope(&self) -> Result<(), ConfigError> {
        if self.namespaces.own_namespace && !(self.api_server.is_empty() && self.kubeconfig_file.is_empty()) {
            let problem = "is known only inside a cluster: \
                           with api_server or kubeconfig_file, write the namespace into namespaces.names";
            return Err(ConfigError::new("own_namespace", problem).within("namespaces"));
        }
        match self.namespaces.names.iter().find(|name| name.is_empty() || name.contains('/')) {
            Some(name) => {
                Err(ConfigError::new("names", format!("{name:?} is not the name of a namespace")).within("namespaces"))
            }
            None => Ok(()),
        }
    }

    fn validate_access(&self) -> Result<(), ConfigError> {
        if self.api_server.is_empty() {
            return match self.access_keys().next() {
                Some(key) => Err(ConfigError::new(
                    key,
                    "needs api_server: without it, the kubeconfig or the service account configures \
                     the connection; remove this key, or set api_server",
                )),
                None => Ok(()),
            };
        }
        if !self.kubeconfig_file.is_empty() {
            let problem = "cannot be used together with api_server: keep one of them";
            return Err(ConfigError::new("kubeconfig_file", problem));
        }
        client::check_url(&self.api_server).map_err(|e| ConfigError::new("api_server", e))?;
        self.credentials().validate()?;
        self.tls_config.validate().map_err(|e| e.within("tls_config"))?;
        match &self.authorization {
            Some(Authorization { kind, .. }) if !["", "bearer"].contains(&&*kind.trim().to_ascii_lowercase()) => {
                let problem = format!(
                    "{kind:?} is not supported for a Kubernetes API: remove it to use Bearer, or use basic_auth"
                );
                Err(ConfigError::new("type", problem).within("authorization"))
            }
            _ => Ok(()),
        }
    }

    /// The keys in use that configure the access to `api_server`.
    fn access_keys(&self) -> impl Iterator<Item = &'static str> {
        [
            ("basic_auth", self.basic_auth.is_some()),
            ("authorization", self.authorization.is_some()),
            ("bearer_token", !self.bearer_token.is_empty()),
            ("bearer_token_file", !self.bearer_token_file.is_empty()),
            ("tls_config", !self.tls_config.is_default()),
        ]
        .into_iter()
        .filter_map(|(key, used)| used.then_some(key))
    }

    fn refuse_the_unsupported(&self) -> Result<(), ConfigError> {
        const PROXY: &str = "reach the API server directly";
        const INLINE: &str = "write it into a file, and set the key of this name with _file";
        let tls = &self.tls_config;
        let unsupported = [
            ("oauth2", self.oauth2.0, "use bearer_token_file, or a kubeconfig_file"),
            ("proxy_url", !self.proxy_url.is_empty(), PROXY),
            ("no_proxy", !self.no_proxy.is_empty(), PROXY),
            ("proxy_from_environment", self.proxy_from_environment, PROXY),
            ("proxy_connect_header", self.proxy_connect_header.0, PROXY),
            ("http_headers", self.http_headers.0, "use authorization for credentials"),
            ("tls_config.ca", !tls.ca.is_empty(), INLINE),
            ("tls_config.cert", !tls.cert.is_empty(), INLINE),
            ("tls_config.key", !tls.key.is_empty(), INLINE),
            ("tls_config.min_version", tls.min_version == "TLS13", "TLS 1.2 and 1.3 are offered, never less"),
            ("tls_config.max_version", !matches!(&*tls.max_version, "" | "TLS13"), "TLS 1.2 and 1.3 are offered"),
        ];
        match unsupported.iter().find(|(_, written, _)| *written) {
            Some((key, _, advice)) => {
                let problem = format!("is not supported for a Kubernetes API: {advice}");
                Err(ConfigError::at((*key).into(), problem))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validate(yaml: &str) -> Result<(), String> {
        crate::yaml::from_str::<Config>(yaml).map_err(|e| e.to_string())?.validate().map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_refused_is_named() {
        for (yaml, named) in [
            ("{}", "role: is missing"),
            ("role: [pod]", "role"),
            ("role: Pod", "unknown role"),
            ("role: gateway", "endpointslice"),
            ("{role: pod, rolle: pod}", "rolle"),
            ("{role: service, attach_metadata: {node: true}}", "attach_metadata.node"),
            ("{role: node, attach_metadata: {namespace: true}}", "attach_metadata.namespace"),
            ("{role: ingress, attach_metadata: {cronjob: yes}}", "attach_metadata.cronjob"),
            ("{role: service, selectors: [{role: pod, label: a=b}]}", "selectors[0].role"),
            ("{role: endpoints, selectors: [{role: pod}, {label: a=b}, {role: endpoints}]}", "selectors: "),
            ("{role: pod, selectors: [{role: node, field: a=b}]}", "selectors[0].role"),
            ("{role: pod, selectors: [{role: pod, label: a=b}, {role: pod, label: c=d}]}", "selectors: "),
            ("{role: pod, selectors: [{role: pod, field: 'spec.nodeName'}]}", "selectors[0].field"),
            ("{role: pod, namespaces: {names: [a/b]}}", "namespaces.names"),
            ("{role: pod, namespaces: {own_namespace: true}, kubeconfig_file: x}", "own_namespace"),
            ("{role: pod, api_server: 'http://x', kubeconfig_file: x}", "kubeconfig_file"),
            ("{role: pod, api_server: 'x:1'}", "api_server"),
            ("{role: pod, api_server: 'ftp://x'}", "api_server"),
            ("{role: pod, bearer_token: x}", "bearer_token: needs api_server"),
            ("{role: pod, tls_config: {ca_file: x}}", "tls_config: needs api_server"),
            ("{role: pod, oauth2: {client_id: x}}", "oauth2"),
            ("{role: pod, proxy_url: 'http://p'}", "proxy_url"),
            ("{role: pod, proxy_from_environment: true}", "proxy_from_environment"),
            ("{role: pod, http_headers: {a: {values: [b]}}}", "http_headers"),
            ("{role: pod, api_server: 'http://x', bearer_token: a, bearer_token_file: b}", "bearer_token_file"),
            ("{role: pod, api_server: 'http://x', basic_auth: {username: a}, bearer_token: b}", "bearer_token"),
            ("{role: pod, api_server: 'http://x', basic_auth: {password: a, password_file: b}}", "basic_auth.password"),
            ("{role: pod, api_server: 'http://x', authorization: {type: Digest}}", "authorization.type"),
            ("{role: pod, api_server: 'http://x', tls_config: {cert_file: a}}", "tls_config.key_file"),
            ("{role: pod, api_server: 'http://x', tls_config: {ca: abc}}", "tls_config.ca"),
            ("{role: pod, api_server: 'http://x', tls_config: {min_version: TLS13}}", "tls_config.min_version"),
        ] {
            let error = validate(yaml).expect_err(yaml);
            assert!(error.contains(named), "{yaml}: {error}");
        }
    }

    #[test]
    fn what_is_taken() {
        for yaml in [
            "role: pod",
            "{role: node, selectors: [{role: node, label: a=b}]}",
            "{role: ingress, attach_metadata: {namespace: true}}",
            "{role: endpointslice, selectors: [{role: pod, label: a=b}, {role: service, label: a=b}, {label: c}], \
              attach_metadata: {node: true, namespace: true, deployment: true, job: true, cronjob: true}}",
            "{role: pod, api_server: 'http://127.0.0.1:1', namespaces: {names: [test]}, selectors: [{role: pod, label: app=x}]}",
            "{role: pod, selectors: [{role: pod, field: 'status.phase!=Failed,spec.nodeName=n'}]}",
            "{role: pod, namespaces: {own_namespace: true}, selectors: , attach_metadata: {node: false}}",
            "{role: pod, kubeconfig_file: /x, follow_redirects: true, enable_http2: false, oauth2: , proxy_url: ''}",
            "{role: pod, api_server: 'https://x', authorization: {type: bearer, credentials_file: x}, \
              tls_config: {insecure_skip_verify: true, min_version: TLS12}}",
        ] {
            assert_eq!(validate(yaml), Ok(()), "{yaml}");
        }
    }
}
