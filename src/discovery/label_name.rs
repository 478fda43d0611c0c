//! Names of labels that are made from names of other programs.

/// `prefix` and `name`, in which characters that a label name cannot have become `_`.
pub(super) fn label_name(prefix: &str, name: &str) -> String {
    let valid = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    prefix.chars().chain(valid).collect()
}
