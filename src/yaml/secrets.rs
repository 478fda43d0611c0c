//! Which config values are secrets and must not be printed.

use serde_yaml::Value;

use crate::model::{KeyPath, Step};

/// Blocks with the user's own keys: a label named `token` is not a secret.
const USERS: [&str; 4] = ["pipeline_stages", "relabel_configs", "labels", "external_labels"];

/// Masks all secrets in `value`. Modules mask their own secrets already. This masks any they missed, and user and
/// password in URLs.
pub fn mask(value: &mut Value) {
    match value {
        Value::Mapping(entries) => {
            for (key, value) in entries.iter_mut() {
                match key.as_str() {
                    Some(key) if USERS.contains(&key) => {}
                    Some(key) if is_name(key) => mask_all(value),
                    _ => mask(value),
                }
            }
        }
        Value::Sequence(items) => items.iter_mut().for_each(mask),
        Value::String(text) => mask_url(text),
        _ => {}
    }
}

/// Whether a value at `path` may be a secret.
pub(super) fn is_on(path: &KeyPath) -> bool {
    path.steps().iter().any(|step| matches!(step, Step::Key(key) if is_name(key) || key == "basic_auth"))
}

/// Keys whose scalars, at any depth, are secrets. Header names are not.
fn is_name(key: &str) -> bool {
    const SECRETS: [&str; 12] = [
        "password",
        "bearer_token",
        "credentials",
        "client_secret",
        "client_certificate_key",
        "token",
        "api_token",
        "key",
        "connection_string",
        "headers",
        "http_headers",
        "proxy_connect_header",
    ];
    SECRETS.contains(&key)
}

fn mask_all(value: &mut Value) {
    match value {
        Value::Mapping(entries) => entries.iter_mut().for_each(|(_, value)| mask_all(value)),
        Value::Sequence(items) => items.iter_mut().for_each(mask_all),
        Value::Null => {}
        Value::String(text) if text.is_empty() => {}
        secret => *secret = Value::String("<secret>".to_string()),
    }
}

/// Turns `http://user:password@host` into `http://user:<secret>@host`.
fn mask_url(text: &mut String) {
    let Some(start) = text.find("://").map(|i| i + 3) else { return };
    let authority = text[start..].find(['/', '?', '#']).map_or(text.len(), |i| start + i);
    let Some(at) = text[start..authority].rfind('@').map(|i| start + i) else { return };
    if let Some(colon) = text[start..at].find(':').map(|i| start + i) {
        text.replace_range(colon + 1..at, "<secret>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_are() {
        let mut value: Value = serde_yaml::from_str(
            "{url: 'http://u:hunter2@host/p?q', basic_auth: {username: u, password: hunter2, password_file: /f}, \
             headers: {X-Key: hunter2}, http_headers: {A: {values: [hunter2], secrets: [hunter2], files: []}}, \
             oauth2: {client_id: i, client_secret: hunter2}, bearer_token: hunter2, authorization: {type: Bearer, credentials: hunter2}, \
             tls_config: {key: hunter2, key_file: /k}, proxy_url: 'http://p:a@hunter2@proxy', proxy_connect_header: {A: [hunter2]}, \
             scrape: [{api: 'https://x:hunter2@k8s'}], empty: {password: ''}, labels: {token: seen}}",
        )
        .expect("YAML");
        mask(&mut value);
        let text = serde_yaml::to_string(&value).expect("YAML");
        assert!(!text.contains("hunter2"), "{text}");
        for kept in [
            "http://u:<secret>@host/p?q",
            "username: u",
            "password_file: /f",
            "X-Key: <secret>",
            "client_id: i",
            "key_file: /k",
            "password: ''",
            "token: seen",
        ] {
            assert!(text.contains(kept), "{kept} in {text}");
        }
    }

    #[test]
    fn urls_without_password_stay() {
        for url in ["http://host/a@b:c", "http://user@host", "no url", "http://", "/a/b://c"] {
            let mut text = url.to_string();
            mask_url(&mut text);
            assert_eq!(text, url);
        }
    }

    #[test]
    fn paths_of_secrets() {
        for (path, secret) in [
            ("clients[0].basic_auth.password", true),
            ("clients[0].basic_auth", true),
            ("clients[0].headers.X", true),
            ("clients[0].proxy_connect_header.A[1]", true),
            ("clients[0].batchsize", false),
            ("", false),
        ] {
            assert_eq!(is_on(&KeyPath::from(path)), secret, "{path}");
        }
    }
}
