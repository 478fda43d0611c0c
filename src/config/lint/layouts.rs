//! Time layouts of other languages in `timestamp.format`, which needs Go's.

use crate::model::nearest;

/// Names that `format` accepts instead of a layout.
const NAMES: [&str; 14] = [
    "ANSIC",
    "UnixDate",
    "RubyDate",
    "RFC822",
    "RFC822Z",
    "RFC850",
    "RFC1123",
    "RFC1123Z",
    "RFC3339",
    "RFC3339Nano",
    "Unix",
    "UnixMs",
    "UnixUs",
    "UnixNs",
];

/// Elements of Java's layouts, and the same in Go. Longer ones are first.
const JAVA: [(&str, &str); 14] = [
    ("yyyy", "2006"),
    ("YYYY", "2006"),
    ("MMM", "Jan"),
    ("MM", "01"),
    ("dd", "02"),
    ("DD", "02"),
    ("HH", "15"),
    ("hh", "03"),
    ("mm", "04"),
    ("ss", "05"),
    ("SSS", "000"),
    ("XXX", "Z07:00"),
    ("'T'", "T"),
    ("yy", "06"),
];

/// Elements of strftime's layouts, and the same in Go.
const STRFTIME: [(&str, &str); 14] = [
    ("%Y", "2006"),
    ("%m", "01"),
    ("%d", "02"),
    ("%e", "_2"),
    ("%H", "15"),
    ("%I", "03"),
    ("%M", "04"),
    ("%S", "05"),
    ("%f", "000000"),
    ("%z", "-0700"),
    ("%Z", "MST"),
    ("%b", "Jan"),
    ("%T", "15:04:05"),
    ("%F", "2006-01-02"),
];

/// Why this layout parses no time, and what to write. None: nothing was recognised.
pub(super) fn problem(layout: &str) -> Option<String> {
    if NAMES.contains(&layout) {
        return None;
    }
    let is_name = layout.len() > 3 && layout.chars().all(|c| c.is_ascii_alphanumeric());
    if let Some(near) = nearest(layout, NAMES).filter(|_| is_name) {
        return Some(format!("{layout:?} is taken as a layout, which parses no time: did you mean {near}?"));
    }
    for (language, elements, is_it) in [
        ("Java", &JAVA, ["yyyy", "YYYY", "dd", "HH", "mm:ss", "SSS"].iter().any(|element| layout.contains(element))),
        ("strftime", &STRFTIME, layout.contains('%')),
    ] {
        if is_it {
            return Some(format!(
                "{layout:?} is a layout of {language}, which parses no time here: write the reference time in Go's form, {:?}",
                translate(layout, elements)
            ));
        }
    }
    let has_element =
        layout.contains(|c: char| ('1'..='7').contains(&c)) || layout.contains("Jan") || layout.contains("Mon");
    (!has_element).then(|| {
        format!("{layout:?} has no element of a time: write the reference time, such as \"2006-01-02 15:04:05\", or a name such as RFC3339")
    })
}

fn translate(layout: &str, elements: &[(&str, &str)]) -> String {
    let (mut out, mut rest) = (String::new(), layout);
    while let Some(c) = rest.chars().next() {
        match elements.iter().find(|(element, _)| rest.starts_with(element)) {
            Some((element, go)) => {
                out.push_str(go);
                rest = &rest[element.len()..];
            }
            None => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_of_other_languages() {
        for (layout, want) in [
            ("yyyy-MM-dd HH:mm", "\"2006-01-02 15:04\""),
            ("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "\"2006-01-02T15:04:05.000Z07:00\""),
            ("dd/MMM/yyyy:HH:mm:ss", "\"02/Jan/2006:15:04:05\""),
            ("%Y-%m-%d %H:%M:%S", "\"2006-01-02 15:04:05\""),
            ("%b %e %T", "\"Jan _2 15:04:05\""),
            ("RFC3399", "did you mean RFC3339?"),
            ("rfc3339", "did you mean RFC3339?"),
            ("unixms", "did you mean UnixMs?"),
            ("ISO8601", "parses no time"),
            ("T:", "has no element"),
        ] {
            let said = problem(layout).unwrap_or_default();
            assert!(layout == "ISO8601" || said.contains(want), "{layout}: {said}");
        }
    }

    #[test]
    fn layouts_of_go() {
        for layout in NAMES.into_iter().chain([
            "2006-01-02 15:04:05",
            "2006-01-02T15:04:05.999999999Z07:00",
            "02/Jan/2006:15:04:05 -0700",
            "Jan _2 15:04:05",
            "20060102150405",
            "15:04",
            "Mon Jan 2 15:04:05 2006",
            "3:04PM",
        ]) {
            assert_eq!(problem(layout), None, "{layout}");
        }
    }
}
