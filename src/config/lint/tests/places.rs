//! Where lines come in and go to, and where positions are.

use super::*;

#[test]
fn paths_that_take_no_lines() {
    for (url, part) in [
        ("http://l/gateway/push", None),
        ("http://l/ingest/loki", None),
        ("http://l/loki/api/v1/push", None),
        ("http://l/tenants/a/loki/api/v1/push?x=1", None),
        ("http://l/", Some("has no path: write http://l/loki/api/v1/push")),
        (
            "http://l/gw/api/prom/push",
            Some("old versions, which Loki 4 does not have any more: write http://l/gw/loki/api/v1/push"),
        ),
        ("http://l/loki", Some("is not where Loki takes lines: write http://l/loki/api/v1/push")),
        ("http://u:secret@l/loki/api/v1/query", Some("is not where Loki takes lines: write http://l/loki/api/v1/push")),
        ("http://l/loki/api/v1/push/", Some("has a slash at the end: write http://l/loki/api/v1/push")),
        (
            "http://l/otlp/v1/logs",
            Some("for OpenTelemetry, which fantail does not speak: write http://l/loki/api/v1/push"),
        ),
    ] {
        let mut warnings = found(&format!("clients: [{{url: '{url}'}}]\n"), false).warnings;
        warnings.retain(|warning| warning.contains("clients[0]"));
        assert_eq!(warnings.len(), usize::from(part.is_some()), "{url} {warnings:?}");
        assert!(part.is_none_or(|part| warnings[0].ends_with(part)), "{url} {warnings:?}");
    }
}

#[test]
fn ports_that_are_used_twice_and_addresses_with_a_port_are_mistakes() {
    let push = |server: &str, port: u16| {
        format!(
            "{CLIENT}server: {server}\nscrape_configs:\n- job_name: a\n  loki_push_api: {{server: {{http_listen_port: {port}}}}}\n"
        )
    };
    for (text, part) in [
        (push("{http_listen_port: 9080}", 9080), "listens where the server of the agent does"),
        (push("{http_listen_port: 9080, http_listen_address: 127.0.0.1}", 9080), "listens where the server"),
        (push("{http_listen_address: '0.0.0.0:9080'}", 3500), "has a port: write the address alone"),
        (push("{http_listen_address: '[::1]:9080'}", 3500), "has a port: write the address alone"),
    ] {
        let findings = found(&text, false);
        assert!(findings.mistakes.iter().any(|mistake| mistake.contains(part)), "{text}\n{findings:?}");
    }
    let syslog = |server: &str, address: &str| {
        format!(
            "{CLIENT}server: {server}\nscrape_configs:\n- job_name: a\n  syslog: {{listen_address: '{address}', labels: {{a: b}}}}\n"
        )
    };
    for (server, address, is_refused) in [
        ("{http_listen_port: 9080, http_listen_address: 127.0.0.1}", "localhost:9080", true),
        ("{http_listen_port: 9080, http_listen_address: 127.0.0.1}", "0.0.0.0:9080", true),
        ("{http_listen_port: 9080, http_listen_address: 10.0.0.7}", "10.0.0.8:9080", false),
        ("{http_listen_port: 9080, http_listen_address: '::1'}", "0.0.0.0:9080", false),
        ("{http_listen_port: 9080, http_listen_address: '::1'}", "[::1]:9080", true),
    ] {
        assert_eq!(
            found(&syslog(server, address), false).mistakes.len(),
            usize::from(is_refused),
            "{server} {address}"
        );
    }
    for right in ["{http_listen_port: 9080}", "{http_listen_address: '::1'}", "{http_listen_address: '[::1]'}"] {
        assert_eq!(found(&push(right, 3500), false).mistakes, Vec::<String>::new(), "{right}");
    }
    assert_eq!(found(&push("{http_listen_port: 3500, disable: true}", 3500), false).mistakes, Vec::<String>::new());
}

#[test]
fn positions_that_do_not_outlive_a_reboot_or_a_container() {
    const DISK: &str = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n";
    let positions = "positions: {filename: DIR/dir/positions.yaml}\n".to_string() + CLIENT;
    let of = |kind: &str, at: &str| format!("{DISK}30 22 0:50 / {at} rw - {kind} {kind} rw\n");
    for (mountinfo, warning) in [
        (DISK.to_string(), None),
        // Without the kernel's list, nothing is known.
        (String::new(), None),
        (of("tmpfs", "DIR/dir"), Some("DIR/dir is in memory (tmpfs): after a reboot all files are read again")),
        (of("ramfs", "DIR"), Some("DIR/dir is in memory (ramfs)")),
        (
            of("overlay", "/"),
            Some("DIR/dir is in the layer of a container (overlay): a new container reads all files again"),
        ),
        // A directory of the host is mounted into the container.
        (of("overlay", "/") + "40 30 8:1 /var/lib/fantail DIR/dir rw - ext4 /dev/sda1 rw\n", None),
        (of("tmpfs", "DIR/other"), None),
    ] {
        let warnings = found_on(&positions, false, &mountinfo).warnings;
        let about: Vec<&String> = warnings.iter().filter(|text| text.contains("positions.filename")).collect();
        match warning {
            None => assert!(about.is_empty(), "{mountinfo}{warnings:?}"),
            Some(warning) => {
                assert!(about.len() == 1 && about[0].starts_with("f.yaml:1:"), "{mountinfo}{warnings:?}");
                assert!(about[0].contains(warning), "{mountinfo}{warnings:?}");
            }
        }
    }
}
