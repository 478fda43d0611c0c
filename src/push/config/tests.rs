use super::*;

/// Parses the config of one client.
fn read(yaml: &str) -> Result<Config, String> {
    let config: Config = crate::yaml::from_str(yaml).map_err(|e| e.to_string())?;
    config.validate().map(|()| config).map_err(|e| e.to_string())
}

fn good(yaml: &str) -> Config {
    read(&format!("url: http://loki/p\n{yaml}")).expect(yaml)
}

#[test]
fn refuses_what_cannot_work_and_names_the_key() {
    for (yaml, expected) in [
        ("tenant_id: a", "url: is required"),
        (
            &format!("{{url: http://l, tenant_id: {}}}", "t".repeat(151)),
            "tenant_id: Loki takes a tenant of at most 150",
        ),
        ("url: loki:3100", "url: \""),
        ("url: ftp://loki/", "url: \""),
        ("url: http://", "url: \""),
        ("{url: http://l, batch_wait: 1s}", "batch_wait"),
        ("{url: http://l, batchsize: many}", "batchsize"),
        ("{url: http://l, batchsize: 0}", "batchsize: must be over 0"),
        ("{url: http://l, timeout: 0s}", "timeout: must be over 0"),
        ("{url: http://l, batchwait: 1 second}", "batchwait"),
        ("{url: http://l, backoff_config: {min_period: 1m, max_period: 1s}}", "backoff_config.min_period"),
        ("{url: http://l, backoff_config: {max_retries: -1}}", "max_retries"),
        ("{url: http://l, external_labels: {a-b: c}}", "external_labels: \"a-b\""),
        ("{url: http://l, basic_auth: {username: a}, bearer_token: b}", "basic_auth, authorization, oauth2"),
        ("{url: http://l, bearer_token: a, bearer_token_file: b}", "bearer_token & bearer_token_file"),
        ("{url: http://l, basic_auth: {password: a, password_file: b}}", "basic_auth.password: at most one"),
        ("{url: http://l, basic_auth: {username: a, username_file: b}}", "basic_auth.username: at most one"),
        ("{url: http://l, basic_auth: {password_ref: a}}", "set password_file"),
        ("{url: http://l, authorization: {type: Basic}}", "authorization.type: must not be basic"),
        ("{url: http://l, authorization: {credentials_ref: a}}", "authorization.credentials_ref"),
        ("{url: http://l, oauth2: {token_url: http://t}}", "oauth2.client_id: is required"),
        ("{url: http://l, oauth2: {client_id: a}}", "oauth2.token_url"),
        ("{url: http://l, oauth2: {client_id: a, token_url: http://t, iss: i}}", "oauth2.iss"),
        (
            "{url: http://l, oauth2: {grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer'}}",
            "oauth2.grant_type: only client_credentials",
        ),
        ("{url: http://l, tls_config: {ca: a, ca_file: b}}", "tls_config.ca: at most one"),
        ("{url: http://l, tls_config: {cert_file: a}}", "tls_config.cert: needs its private key"),
        ("{url: http://l, tls_config: {key_file: a}}", "tls_config.key: needs its certificate"),
        ("{url: http://l, tls_config: {key_ref: a}}", "tls_config.key_ref"),
        ("{url: http://l, tls_config: {max_version: TLS11}}", "tls_config.max_version"),
        ("{url: http://l, tls_config: {min_version: '1.2'}}", "tls_config.min_version: unknown TLS version"),
        ("{url: http://l, tls_config: {min_version: TLS13, max_version: TLS12}}", "is above max_version"),
        ("{url: http://l, tls_config: {server_name: 'a b'}}", "tls_config.server_name"),
        ("{url: http://l, no_proxy: a}", "no_proxy: needs proxy_url"),
        ("{url: http://l, proxy_url: 'socks5://p'}", "proxy_url: \""),
        ("{url: http://l, proxy_url: 'http://p', proxy_from_environment: true}", "proxy_from_environment"),
        ("{url: http://l, proxy_connect_header: {a: [b]}}", "proxy_connect_header: needs"),
        ("{url: http://l, headers: {'a b': c}}", "headers.a b"),
        ("{url: http://l, headers: {a: \"b\\nc\"}}", "headers.a"),
        ("{url: http://l, http_headers: {Authorization: {values: [a]}}}", "http_headers.Authorization: is reserved"),
        ("{url: http://l, http_headers: {a: {value: [a]}}}", "value"),
    ] {
        let error = read(yaml).expect_err(yaml);
        assert!(error.contains(expected), "{yaml}\n{error}");
    }
}

#[test]
fn defaults_are_promtails_but_for_the_end_of_retries() {
    // A key without a value means its default. Templated configs rely on this.
    let nulls = "batchwait:\nbatchsize:\ntimeout:\nbackoff_config:\n  min_period:\ntls_config:\nfollow_redirects:\n\
                 headers:\nexternal_labels: ~\ntenant_id:\nbasic_auth:\nname: ~\ndrop_rate_limited_batches:\n";
    for config in [good(""), good(nulls)] {
        assert_eq!(config.batchwait.0, Duration::from_secs(1));
        assert_eq!(config.batchsize, 1_048_576);
        assert_eq!(config.timeout.0, Duration::from_secs(10));
        assert_eq!(config.backoff_config, BackoffConfig::default());
        assert_eq!(config.backoff_config.attempts(), None);
        assert!(config.follow_redirects && config.enable_http2 && !config.drop_rate_limited_batches);
        assert!(config.warnings().is_empty());
    }
}

#[test]
fn reads_everything_promtail_takes() {
    let config = good(
        "name: main\nbatchwait: 2s\nbatchsize: 500\ntenant_id: 1234\nexternal_labels: {cluster: c-1, shard: 1}\n\
         headers: {X-Key: 0123}\ndrop_rate_limited_batches: yes\nfollow_redirects: no\nenable_http2: false\n\
         oauth2: {client_id: a, client_secret: b, token_url: http://t, scopes: [x, y], endpoint_params: {aud: z}}\n\
         tls_config: {insecure_skip_verify: true, min_version: TLS13}\nproxy_url: http://u:p@proxy:3128\n\
         no_proxy: a,b\nproxy_connect_header: {X-P: [a]}\n\
         http_headers: {X-A: {values: [a, b], secrets: [c], files: [/d]}}\nbackoff_config: {max_retries: 3}",
    );
    assert_eq!((config.name().as_str(), config.tenant_id.as_str()), ("main", "1234"));
    assert_eq!(config.external_labels["shard"], "1");
    assert_eq!(config.headers["X-Key"].expose(), "0123");
    assert!(config.drop_rate_limited_batches && !config.follow_redirects);
    assert_eq!(config.backoff_config.attempts(), Some(3));
    let warnings: Vec<_> = config.warnings().iter().map(Error::to_string).collect();
    assert!(warnings.iter().any(|w| w.starts_with("tls_config.insecure_skip_verify")), "{warnings:?}");
    assert!(warnings.iter().any(|w| w.starts_with("backoff_config.max_retries")), "{warnings:?}");
}

#[test]
fn the_printed_config_holds_no_secret_and_can_be_read_again() {
    let config = good(
        "headers: {X-Key: hunter2}\nproxy_url: http://u:hunter2@proxy\nproxy_connect_header: {X-P: [hunter2]}\n\
         http_headers: {X-A: {values: [hunter2], secrets: [hunter2]}}\ntls_config: {cert: c, key: hunter2}\n\
         oauth2: {client_id: a, client_secret: hunter2, token_url: 'http://u:hunter2@t',\n\
         endpoint_params: {p: hunter2}}",
    );
    let config = Config { url: Url::new("https://u:hunter2@loki/p?k=hunter2"), ..config };
    let printed = serde_yaml::to_string(&config).expect("serialises");
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(!format!("{config:?}").contains("hunter2"));
    read(&printed).expect("what is printed is a config");
}

#[test]
fn a_name_stays_while_the_place_stays() {
    let name = |yaml: &str| good(yaml).name();
    let plain = name("");
    assert_eq!(plain.len(), 6);
    assert_eq!(name("timeout: 3s"), plain);
    assert_eq!(name("backoff_config: {max_retries: 3}"), plain);
    for other in ["tenant_id: a", "external_labels: {a: b}", "headers: {X-Scope-OrgID: a}", "basic_auth: {username: a}"]
    {
        assert_ne!(name(other), plain, "{other}");
    }
    assert_ne!(name("external_labels: {a: bc}"), name("external_labels: {ab: c}"));
}

#[test]
fn warns_of_headers_without_effect() {
    let config = good("tenant_id: a\nheaders: {Content-Type: x, X-Scope-OrgID: b, X-Other: c}");
    let warnings = config.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}
