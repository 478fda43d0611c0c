//! No key shows a secret: not in the effective config, not in a message, and not in the debug form.

use super::support::{Path, keys};
use super::*;

const SECRET: &str = "hunter2";

/// Keys with secrets that are not named like the others: headers, and PEM text.
const OTHERS: &[&str] = &["headers", "values", "secrets", "proxy_connect_header", "key", "client_certificate_key"];

/// Whether the value of a key is a secret, by its name. Files and names of secrets are none.
fn is_secret(key: &str) -> bool {
    let name = name_of(key);
    let is_named = ["password", "token", "credentials", "secret"].iter().any(|end| name.ends_with(end));
    // A list of names, such as the one of a rule or of a web config, is no header.
    let is_header = !matches!(name, "values" | "secrets") || key.contains("http_headers");
    is_named || OTHERS.contains(&name) && is_header
}

fn is_url(key: &str) -> bool {
    let name = name_of(key);
    // These are blocks.
    let is_block = key == "server" || key.ends_with("loki_push_api.server");
    !is_block && (name == "url" || name.ends_with("_url") || matches!(name, "host" | "server" | "api_server"))
}

fn name_of(key: &str) -> &str {
    let name = key.rsplit('.').find(|step| *step != "*").unwrap_or(key);
    name.trim_end_matches("[]")
}

/// All texts that the program makes of a config with this value, and whether the config is accepted.
fn said(key: &str, value: &str) -> (Vec<String>, bool) {
    let value = serde_yaml::from_str(value).expect(value);
    match Case::new(&Path::parse(key).config(value)).load() {
        Err(message) => (vec![message], false),
        Ok((config, warnings)) => {
            let mut texts = vec![config.to_masked_yaml(), format!("{config:?}")];
            texts.extend(warnings);
            (texts, true)
        }
    }
}

/// The keys whose texts have the secret, and how many keys were accepted.
fn shown(keys: &[String], values: &[&str]) -> (Vec<String>, usize) {
    let (mut shown, mut accepted) = (Vec::new(), 0);
    for key in keys {
        let mut is_accepted = false;
        for value in values {
            let (texts, accepts) = said(key, value);
            is_accepted |= accepts;
            shown.extend(texts.iter().filter(|text| text.contains(SECRET)).map(|_| format!("{key}: {value}")));
        }
        accepted += usize::from(is_accepted);
    }
    shown.dedup();
    (shown, accepted)
}

#[test]
fn no_key_shows_its_secret() {
    let secrets: Vec<String> = keys().into_iter().filter(|key| is_secret(key)).collect();
    let values = [
        "hunter2",
        "[hunter2]",
        "{X-Key: hunter2}",
        "{X-Key: [hunter2]}",
        "{X-Key: {secrets: [hunter2]}}",
        "{a: {b: hunter2}}",
    ];
    let (shown, accepted) = shown(&secrets, &values);
    assert!(accepted > 40, "{accepted} of {secrets:?}");
    assert!(shown.is_empty(), "these keys show their secret: {shown:#?}");
}

#[test]
fn no_url_shows_its_password() {
    let urls: Vec<String> = keys().into_iter().filter(|key| is_url(key)).collect();
    let (shown, accepted) = shown(
        &urls,
        &["'http://user:hunter2@host:1/path'", "'https://user:hunter2@host'", "'tcp://user:hunter2@host:2375'"],
    );
    assert!(accepted > 20, "{accepted} of {urls:?}");
    assert!(shown.is_empty(), "these keys show the password of their URL: {shown:#?}");
}

#[test]
fn the_keys_of_secrets_are_found_by_their_names() {
    for (key, want) in [
        ("clients[].basic_auth.password", true),
        ("clients[].basic_auth.password_file", false),
        ("scrape_configs[].consul_sd_configs[].token", true),
        ("clients[].headers.*", true),
        ("scrape_configs[].http_sd_configs[].http_headers.*.values", true),
        ("scrape_configs[].docker_sd_configs[].filters[].values", false),
        ("clients[].tls_config.key", true),
        ("clients[].url", false),
    ] {
        assert_eq!(is_secret(key), want, "{key}");
    }
}
