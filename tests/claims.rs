//! Each statement of the README that promises something has a test or a command in `docs/claims.md`. Links lead to files, and
//! each page is found from the README.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn the_readme_says_what_is_shown() {
    let readme = plain(&read("README.md"));
    let rows = rows();
    assert!(rows.len() >= 20, "only {} rows were found", rows.len());
    for (claim, _) in rows {
        assert!(readme.contains(&plain(&claim)), "README.md does not say: {claim}");
    }
}

#[test]
fn what_shows_it_exists() {
    let ci = read(".ci/run");
    for (claim, shown_by) in rows() {
        let named: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "nothing shows: {claim}");
        for name in named {
            if let Some(section) = name.strip_prefix(".ci/run ") {
                assert!(ci.contains(&format!("\n{section}() {{\n")), "{claim}: .ci/run has no section {section}");
            } else if let Some((file, test)) = name.split_once("::") {
                assert!(is_a_test(&read(file), test), "{claim}: {file} has no test {test}");
            } else {
                assert!(root().join(name).exists(), "{claim}: there is no {name}");
            }
        }
    }
}

#[test]
fn no_promise_is_without_a_row() {
    let readme = read("README.md");
    let between = |from: &str, to: &str| {
        let (_, rest) = readme.split_once(from).unwrap_or_else(|| panic!("README.md has no {from:?}"));
        rest.split_once(to).unwrap_or_else(|| panic!("README.md has no {to:?} after {from:?}")).0.to_owned()
    };
    let claims: Vec<String> = rows().into_iter().map(|(claim, _)| plain(&claim)).collect();
    let sections =
        [between("**What fantail promises:**", "\n## "), between("\n## Coming from Promtail\n", "\n## ")].join("\n");
    let items: Vec<String> =
        sections.split("\n- ").skip(1).map(|item| plain(item.split("\n\n").next().unwrap_or(item))).collect();
    assert!(items.len() >= 10, "only {} promises were found", items.len());
    for item in items {
        assert!(claims.iter().any(|claim| item.contains(claim.as_str())), "docs/claims.md has no row for: {item}");
    }
}

/// The versions that the README calls tested are those of the end-to-end tests.
#[test]
fn the_versions_are_those_of_the_tests() {
    let readme = read("README.md");
    for (server, module, name, parts) in [
        ("loki", "github.com/grafana/loki/v3", "Loki", 3),
        ("kube-apiserver", "k8s.io/kubernetes", "Kubernetes", 2),
        ("helm", "helm.sh/helm/v4", "Helm", 2),
        ("promtail", "github.com/grafana/loki/v3", "Promtail", 3),
    ] {
        let go = read(&format!("tests/e2e/servers/{server}/go.mod"));
        let version = go.lines().find_map(|line| line.trim().trim_start_matches("require ").strip_prefix(module));
        let version = version.and_then(|rest| rest.trim().strip_prefix('v')).expect("a version");
        let version = version.split('.').take(parts).collect::<Vec<_>>().join(".");
        assert!(readme.contains(&format!("\n| {name} | {version}")), "README.md does not name {name} {version}");
    }
}

#[test]
fn links_lead_to_files_and_each_page_is_linked() {
    let names = fs::read_dir(root().join("docs")).expect("the directory is there");
    let names = names.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned());
    let mut pages: Vec<String> =
        names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")).collect();
    pages.extend(["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "SECURITY.md", "RELEASING.md"].map(str::to_owned));
    let mut linked = BTreeSet::new();
    for page in &pages {
        for link in read(page).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or(link);
            if link.contains("://") || file.is_empty() {
                continue;
            }
            let path = root().join(page).with_file_name(file);
            assert!(path.exists(), "{page} links to {link}, which is not there");
            linked.insert(path.canonicalize().expect("it is there"));
        }
    }
    assert!(linked.len() > 20, "only {} links were found", linked.len());
    for page in pages.iter().filter(|page| *page != "README.md") {
        let path = root().join(page).canonicalize().expect("it is there");
        assert!(linked.contains(&path), "no page links to {page}");
    }
}

/// The rows of the table: what the README says, and what shows it.
fn rows() -> Vec<(String, String)> {
    let page = read("docs/claims.md");
    let table = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")).skip(1);
    table.filter_map(|row| row.split_once(" | ")).map(|(says, shows)| (says.to_owned(), shows.to_owned())).collect()
}

fn is_a_test(source: &str, name: &str) -> bool {
    let Some(at) = source.find(&format!("fn {name}()")) else { return false };
    let mut before =
        source[..at].trim_end().lines().rev().take_while(|line| !line.trim().is_empty() && line.trim() != "}");
    before.any(|line| line.contains("test]") || line.contains("test("))
}

/// With single spaces, so that a sentence may be wrapped anywhere.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
