//! URLs and their parts.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::Value;

use super::super::call::{Call, Outcome, map, text, text_of};
use super::{Function, function};

pub(super) const FUNCTIONS: &[Function] = &[function("urlParse", 1, parse), function("urlJoin", 1, join)];

fn parse(call: &Call<'_>) -> Outcome {
    let url = call.text(0)?;
    if url.contains(|c: char| c.is_ascii_control()) {
        return Err("a URL has no control characters".into());
    }
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (scheme, rest) = scheme(rest);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    let opaque = !scheme.is_empty() && authority.is_empty() && !path.starts_with('/');
    let (userinfo, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (path, opaque) = if opaque { ("", path) } else { (path, "") };
    let parts = [
        ("scheme", scheme.to_ascii_lowercase()),
        ("userinfo", userinfo.to_string()),
        ("host", host.to_string()),
        ("hostname", hostname(host).to_string()),
        ("path", unescape(path)?),
        ("query", query.to_string()),
        ("opaque", opaque.to_string()),
        ("fragment", unescape(fragment)?),
    ];
    map(parts.into_iter().map(|(name, part)| (name.into(), Value::String(part.into()))).collect())
}

fn scheme(url: &str) -> (&str, &str) {
    let is_scheme = |s: &str| {
        s.starts_with(|c: char| c.is_ascii_alphabetic())
            && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    };
    url.split_once(':').filter(|(scheme, _)| is_scheme(scheme)).unwrap_or(("", url))
}

/// The host without its port, and without the brackets of an IPv6 address.
fn hostname(host: &str) -> &str {
    if let Some((inner, _)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        return inner;
    }
    host.rsplit_once(':').map_or(host, |(host, _)| host)
}

fn unescape(part: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut rest = part.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let (byte, tail) = match first {
            b'%' => {
                let digits = tail.get(..2).and_then(|d| std::str::from_utf8(d).ok());
                let byte = digits.and_then(|d| u8::from_str_radix(d, 16).ok()).ok_or("a wrong escape in a URL")?;
                (byte, &tail[2..])
            }
            byte => (*byte, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn escape(part: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@!*'()".contains(&b);
    part.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn join(call: &Call<'_>) -> Outcome {
    let parts = call.map(0)?;
    let [scheme, userinfo, host, path, query, opaque, fragment] =
        ["scheme", "userinfo", "host", "path", "query", "opaque", "fragment"].map(|name| part(parts, name));
    let (host, path) = (host?, path?);
    let (scheme, userinfo, query, opaque, fragment) = (scheme?, userinfo?, query?, opaque?, fragment?);
    let mut url = String::new();
    if !scheme.is_empty() {
        url += &format!("{scheme}:");
    }
    if !opaque.is_empty() {
        url += opaque;
    } else {
        if !host.is_empty() || !userinfo.is_empty() || (!scheme.is_empty() && path.starts_with('/')) {
            url += "//";
            if !userinfo.is_empty() {
                url += &format!("{userinfo}@");
            }
            url += host;
        }
        if !path.is_empty() && !path.starts_with('/') && !host.is_empty() {
            url.push('/');
        }
        url += &escape(path);
    }
    for (sign, part) in [("?", query.to_string()), ("#", escape(fragment))] {
        if !part.is_empty() {
            url += sign;
            url += &part;
        }
    }
    text(url)
}

fn part<'p>(parts: &'p BTreeMap<Arc<str>, Value>, name: &str) -> Result<&'p str, String> {
    parts.get(name).map_or(Ok(""), text_of)
}
