//! Files that change while the server runs, without its clock.

use std::fs;

use tempfile::TempDir;

use super::super::tests::access::{ca, put_pair};
use super::*;

/// Checks the files as the server does after a second.
fn look(access: &Access) -> (Arc<Door>, Option<String>) {
    let mut now = lock(&access.now);
    access.look(&mut now);
    (now.door.clone(), now.trouble.clone())
}

fn open(file: &Path) -> Access {
    let config = crate::yaml::from_str(&format!("web_config_file: {}", file.display())).expect("a config");
    Access::open(&config, "server").expect("a door")
}

fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).expect("a hash")
}

/// A file that is cut at any byte, as after `cp` on a full disk, or while it is being written.
#[test]
fn a_file_that_is_cut_asks_for_no_less_than_before() {
    let folder = TempDir::new().expect("a folder");
    put_pair(folder.path(), &ca());
    fs::write(folder.path().join("ca.crt"), ca().pem()).expect("written");
    let file = folder.path().join("web.yaml");
    let tls = "tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n";
    let verified = format!("{tls}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n");
    let any = format!("{tls}  client_auth_type: RequireAnyClientCert\n");
    let users = format!("basic_auth_users:\n  ann: {}\n  bob: {}\n", hash("a"), hash("b"));
    for text in
        [users.clone(), tls.into(), any, verified.clone(), format!("{tls}{users}"), format!("{users}{verified}")]
    {
        fs::write(&file, &text).expect("written");
        let access = open(&file);
        let (first, trouble) = look(&access);
        assert_eq!(trouble, None, "{text}");
        for end in 0..text.len() {
            fs::write(&file, &text[..end]).expect("written");
            let (door, _) = look(&access);
            assert_eq!(door.lacks(&first), None, "cut at {end}: {:?}", &text[..end]);
        }
        // A file without any setting.
        for empty in ["", "\n", "{}", "basic_auth_users:\n", "tls_server_config: {}\n"] {
            fs::write(&file, empty).expect("written");
            let (door, trouble) = look(&access);
            assert_eq!(door.lacks(&first), None, "{empty:?}");
            let trouble = trouble.expect("the log says why it goes on");
            assert!(trouble.contains("web.yaml: ") && trouble.contains(" is missing: "), "{trouble}");
        }
        fs::write(&file, &text).expect("written");
        assert_eq!(look(&access).1, None, "all of it is there again");
    }
}

#[test]
fn what_asks_for_more_counts_without_a_restart() {
    let folder = TempDir::new().expect("a folder");
    put_pair(folder.path(), &ca());
    let file = folder.path().join("web.yaml");
    fs::write(&file, "").expect("written");
    let access = open(&file);
    assert!(look(&access).0.asks_nothing());
    for text in [
        format!("basic_auth_users: {{ann: {}}}", hash("a")),
        format!(
            "basic_auth_users: {{bob: {}}}\ntls_server_config: {{cert_file: tls.crt, key_file: tls.key}}",
            hash("b")
        ),
    ] {
        fs::write(&file, text).expect("written");
        let (door, trouble) = look(&access);
        assert_eq!(trouble, None);
        assert!(door.users.is_some());
    }
    assert!(look(&access).0.tls.is_some());
}
