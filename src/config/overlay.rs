//! What is done to the tree of a config file before it is read: flags, the old `client` block, unsupported targets.

use super::error::Error;
use super::scrape::unsupported;
use super::yaml::{Content, Document, Node, Origin, Path};
use super::{Request, Scalar, Setting};

/// Returns what a person should know of it.
pub(super) fn apply(document: &mut Document, request: &Request) -> Result<Vec<Error>, Error> {
    let mut warnings = Vec::new();
    for setting in &request.settings {
        set(document.root_mut(), setting);
    }
    warnings.extend(adopt_client(document, &request.settings));
    if let Some(Content::List(clients)) = document.root_mut().get_mut("clients").map(|node| &mut node.content) {
        clients.iter_mut().for_each(|client| add_labels(client, request));
    }
    refuse_unsupported(document)?;
    Ok(warnings)
}

fn set(root: &mut Node, setting: &Setting) {
    let mut node = root;
    for key in setting.key.split('.') {
        let Some(child) = entry(node, key, setting.flag) else { return };
        node = child;
    }
    let (content, raw) = match &setting.value {
        Scalar::Bool(v) => (Content::Bool(*v), v.to_string()),
        Scalar::Int(v) => (u64::try_from(*v).map_or(Content::Signed(*v), Content::Unsigned), v.to_string()),
        Scalar::Float(v) => (Content::Float(*v), v.to_string()),
        Scalar::Text(v) => (Content::Text, v.clone()),
    };
    *node = Node { content, raw, origin: Origin::Flag(setting.flag) };
}

/// The value of `key`, new if there is none; None where a mapping belongs and something else is, of which
/// [`Document::read`] will complain.
fn entry<'n>(node: &'n mut Node, key: &str, flag: &'static str) -> Option<&'n mut Node> {
    if node.content == Content::Null {
        node.content = Content::Map(Vec::new());
    }
    let Content::Map(entries) = &mut node.content else { return None };
    let i = entries.iter().position(|(name, _)| name == key).unwrap_or_else(|| {
        entries.push((key.to_string(), Node::new(Content::Null, Origin::Flag(flag))));
        entries.len() - 1
    });
    Some(&mut entries[i].1)
}

/// Makes the `client` block, which `-client.*` sets, the last of `clients`.
fn adopt_client(document: &mut Document, settings: &[Setting]) -> Vec<Error> {
    let deprecated =
        document.note(&Path::key("client"), "the client block is deprecated: move it into the list `clients`");
    let Content::Map(entries) = &mut document.root_mut().content else { return Vec::new() };
    let Some(i) = entries.iter().position(|(key, _)| key == "client") else { return Vec::new() };
    let (_, client) = entries.remove(i);
    let written = matches!(client.origin, Origin::File(_));
    let flags: Vec<_> = settings.iter().filter(|s| s.key.starts_with("client.")).map(|s| s.flag).collect();
    if client.content == Content::Null {
        return Vec::new();
    }
    if !written && !flags.contains(&"client.url") {
        let flags: Vec<_> = flags.iter().map(|flag| format!("-{flag}")).collect();
        return vec![Error::plain(format!(
            "{} has no effect: it configures the client of -client.url, and there is none; \
             set it in the clients of the config file",
            flags.join(", ")
        ))];
    }
    let root = document.root_mut();
    if let Some(clients) = entry(root, "clients", "client.url") {
        if clients.content == Content::Null {
            clients.content = Content::List(Vec::new());
        }
        if let Content::List(clients) = &mut clients.content {
            clients.push(client);
        }
    }
    if written { vec![deprecated] } else { Vec::new() }
}

/// `-client.external-labels`; the file's win.
fn add_labels(client: &mut Node, request: &Request) {
    const FLAG: &str = "client.external-labels";
    if request.external_labels.is_empty() {
        return;
    }
    let Some(labels) = entry(client, "external_labels", FLAG) else { return };
    for (name, value) in &request.external_labels {
        if let Some(label) = entry(labels, name, FLAG)
            && label.origin == Origin::Flag(FLAG)
        {
            *label = Node { content: Content::Text, raw: value.clone(), origin: Origin::Flag(FLAG) };
        }
    }
}

/// Says of the first kind of target that fantail has not what to do instead of it; one without a value is none.
fn refuse_unsupported(document: &mut Document) -> Result<(), Error> {
    let Some(jobs) = document.root_mut().get_mut("scrape_configs") else { return Ok(()) };
    let Content::List(jobs) = &mut jobs.content else { return Ok(()) };
    let mut refused = None;
    for (i, job) in jobs.iter_mut().enumerate() {
        let Content::Map(entries) = &mut job.content else { continue };
        entries.retain(|(key, value)| value.content != Content::Null || unsupported(key).is_none());
        let kind = entries.iter().find_map(|(key, _)| Some((key.clone(), unsupported(key)?)));
        refused = refused.or(kind.map(|(key, message)| (format!("scrape_configs[{i}].{key}"), message)));
    }
    match refused {
        Some((path, message)) => Err(document.error(&Path::from(path.as_str()), message)),
        None => Ok(()),
    }
}
