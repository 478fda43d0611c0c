//! Reads a question as people write it.

use crate::model::{About, Labels};

/// A pod (`namespace/name`), a file (`/var/log/app.log`), or labels (`a=b,c=d`). Nothing: all targets.
pub fn question(words: &[String]) -> Result<About, String> {
    match words {
        [] => Ok(About::All),
        [pod, name] if pod == "pod" => of_pod(name),
        [word] if word.contains('=') => of_labels(word),
        [word] if word.starts_with('/') || word.starts_with('.') || word.starts_with('~') => {
            Ok(About::File(word.clone()))
        }
        [word] if word.matches('/').count() == 1 => of_pod(word),
        [word] => Err(format!(
            "{word:?} is not a pod (NAMESPACE/NAME), a file (with its whole path) or labels (NAME=VALUE,…)"
        )),
        _ => Err("ask for one pod, one file or one set of labels: separate labels by commas, without spaces".into()),
    }
}

fn of_pod(text: &str) -> Result<About, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(About::Pod { namespace: namespace.into(), name: name.into() })
        }
        _ => Err(format!("{text:?} is not a pod: write NAMESPACE/NAME")),
    }
}

fn of_labels(text: &str) -> Result<About, String> {
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_string(), value.trim().to_string())),
        _ => Err(format!("{pair:?} is not a label: write NAME=VALUE")),
    };
    let pairs = text.split(',').filter(|part| !part.trim().is_empty());
    Ok(About::Labels(pairs.map(pair).collect::<Result<Labels, String>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        let ask = |words: &str| question(&words.split_whitespace().map(String::from).collect::<Vec<_>>());
        let pod = || Ok(About::Pod { namespace: "shop".into(), name: "web-0".into() });
        assert_eq!(ask(""), Ok(About::All));
        assert_eq!(ask("pod shop/web-0"), pod());
        assert_eq!(ask("shop/web-0"), pod());
        assert_eq!(ask("/var/log/a.log"), Ok(About::File("/var/log/a.log".into())));
        let labels = Labels::from([("a".into(), "b=c".into()), ("d".into(), String::new())]);
        assert_eq!(ask("a=b=c,d="), Ok(About::Labels(labels)));
        for wrong in ["web-0", "pod web-0", "a/b/c", "=x", "a=b c=d", "pod /x"] {
            assert!(ask(wrong).is_err(), "{wrong}");
        }
    }
}
