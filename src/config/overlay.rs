//! Changes the tree of a config file before it is read: applies flags, moves the `client` block, refuses unsupported
//! targets.

use super::unsupported::{self, SkippedJob, TakenOut};
use super::{Request, Scalar, Setting};
use crate::model::{KeyPath, loki_label_name};
use crate::push;
use crate::yaml::{Content, Document, Error, Node, Origin};

/// What was found while the tree was changed.
pub(super) struct Applied {
    pub warnings: Vec<Error>,
    /// Jobs that were taken out because fantail does not support them, and the config allows that.
    pub skipped: Vec<SkippedJob>,
    /// Mistakes in what was taken out of the tree. The agent does not start with them.
    pub mistakes: Vec<Error>,
    /// What can be done about the mistakes.
    pub advice: Option<String>,
}

pub(super) fn apply(document: &mut Document, request: &Request) -> Applied {
    let (mut warnings, mut mistakes) = (Vec::new(), Vec::new());
    for setting in &request.settings {
        set(document.root_mut(), setting);
    }
    let common = common_labels(document, request);
    match adopt_client(document, &request.settings) {
        Ok(notes) => warnings.extend(notes),
        Err(mistake) => {
            mistakes.push(mistake);
            remove(document.root_mut(), "client");
        }
    }
    let mut renamed = Vec::new();
    if let Some(Content::List(clients)) = document.root_mut().get_mut("clients").map(|node| &mut node.content) {
        for (i, client) in clients.iter_mut().enumerate() {
            add_labels(client, &common);
            renamed.extend(rename_labels(client).into_iter().map(|change| (i, change)));
        }
    }
    for (i, (name, taken)) in renamed {
        let path = KeyPath::from(format!("clients[{i}].external_labels").as_str());
        let message = format!("Loki cannot parse the label name {name:?}: the label is renamed to {taken:?}");
        warnings.push(document.note(&path, message));
    }
    let TakenOut { skipped, refused, advice } = unsupported::take_out(document, &mut warnings);
    mistakes.extend(refused);
    Applied { warnings, skipped, mistakes, advice }
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

/// The value of `key`, which is added if it is missing. None: `node` is not a mapping; [`Document::read`] reports this
/// later.
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

/// Appends the `client` block, which `-client.*` sets, to `clients`. If it has no URL and there are other clients, only
/// its labels are used.
fn adopt_client(document: &mut Document, settings: &[Setting]) -> Result<Vec<Error>, Error> {
    const DEPRECATED: &str = "the client block is deprecated: move it into the list `clients`";
    const WITHOUT_URL: &str = "the client block is deprecated, and this one has no url: its external_labels are added to \
                               every client, the rest of it has no effect; move the labels into the list `clients`";
    let root = document.root_mut();
    let others = match root.get_mut("clients").map(|clients| &clients.content) {
        Some(Content::List(clients)) => !clients.is_empty(),
        _ => false,
    };
    let Some(client) = root.get_mut("client").filter(|client| client.content != Content::Null) else {
        remove(root, "client");
        return Ok(Vec::new());
    };
    let written = matches!(client.origin, Origin::File(_));
    let has_url = client.get_mut("url").is_some_and(|url| url.content != Content::Null && !url.raw.is_empty());
    let flags: Vec<_> = settings.iter().filter(|s| s.key.starts_with("client.")).map(|s| s.flag).collect();
    if !written && !flags.contains(&"client.url") {
        remove(root, "client");
        let flags: Vec<_> = flags.iter().map(|flag| format!("-{flag}")).collect();
        return Ok(vec![Error::plain(format!(
            "{} has no effect: it configures the client of -client.url, and there is none; \
             set it in the clients of the config file",
            flags.join(", ")
        ))]);
    }
    if others && !has_url {
        // Mistakes in the unused block are reported too.
        document.check::<push::Config>(&KeyPath::key("client"))?;
        let note = document.note(&KeyPath::key("client"), WITHOUT_URL);
        remove(document.root_mut(), "client");
        return Ok(vec![note]);
    }
    let note = document.note(&KeyPath::key("client"), DEPRECATED);
    let root = document.root_mut();
    let client = remove(root, "client");
    if let Some(clients) = entry(root, "clients", "client.url") {
        if clients.content == Content::Null {
            clients.content = Content::List(Vec::new());
        }
        if let Content::List(clients) = &mut clients.content {
            clients.extend(client);
        }
    }
    Ok(if written { vec![note] } else { Vec::new() })
}

fn remove(root: &mut Node, key: &str) -> Option<Node> {
    let Content::Map(entries) = &mut root.content else { return None };
    let i = entries.iter().position(|(name, _)| name == key)?;
    Some(entries.remove(i).1)
}

/// Labels for all clients: `-client.external-labels`, and those of the `client` block that the flag does not replace.
fn common_labels(document: &mut Document, request: &Request) -> Vec<(String, Node)> {
    const FLAG: &str = "client.external-labels";
    let text = |value: &str| Node { content: Content::Text, raw: value.to_string(), origin: Origin::Flag(FLAG) };
    let flags = request.external_labels.iter().map(|(name, value)| (name.clone(), text(value)));
    let mut common: Vec<(String, Node)> = flags.collect();
    let Some(client) = document.root_mut().get_mut("client") else { return common };
    if let Some(labels) = client.get_mut("external_labels")
        && let Content::Map(labels) = &mut labels.content
    {
        labels.retain(|(name, _)| !common.iter().any(|(flag, _)| flag == name));
        common.extend(labels.iter().cloned());
    }
    common
}

/// Adds the labels that the client does not have.
fn add_labels(client: &mut Node, common: &[(String, Node)]) {
    if common.is_empty() {
        return;
    }
    let Some(labels) = entry(client, "external_labels", "client.external-labels") else { return };
    if labels.content == Content::Null {
        labels.content = Content::Map(Vec::new());
    }
    let Content::Map(labels) = &mut labels.content else { return };
    for (name, value) in common {
        if !labels.iter().any(|(own, _)| own == name) {
            labels.push((name.clone(), value.clone()));
        }
    }
}

/// Changes external labels to names that Loki can parse. Returns the old and new names.
fn rename_labels(client: &mut Node) -> Vec<(String, String)> {
    let Some(labels) = client.get_mut("external_labels") else { return Vec::new() };
    let Content::Map(labels) = &mut labels.content else { return Vec::new() };
    let mut renamed = Vec::new();
    for i in 0..labels.len() {
        let (name, taken) = (labels[i].0.clone(), loki_label_name(&labels[i].0).into_owned());
        // A label without a name is refused later. An existing label is not replaced.
        if taken != name && !name.is_empty() && !labels.iter().any(|(other, _)| *other == taken) {
            labels[i].0.clone_from(&taken);
            renamed.push((name, taken));
        }
    }
    renamed
}
