//! The servers without the agent: a failure here is not the agent's fault.

use std::time::SystemTime;

use serde_json::json;

use crate::apiserver::Apiserver;
use crate::kube::Pod;
use crate::loki::{EVERYTHING, Loki, nanoseconds};

#[test]
fn loki_gives_back_what_is_pushed() {
    let loki = Loki::shared();
    let tenant = loki.tenant("smoke");
    let now = nanoseconds(SystemTime::now());
    let pushed = tenant.push(&json!({"streams": [{
        "stream": {"job": "smoke"},
        "values": [[now.to_string(), "an error, which Loki makes a level of"]],
    }]}));
    assert!(pushed.is_success(), "{pushed:?}");

    let entry = (now, "an error, which Loki makes a level of".to_owned());
    tenant.wait_for_entries(r#"{job="smoke"}"#, vec![entry.clone()]);
    assert_eq!(tenant.count_over_time(EVERYTHING), Ok(1));
    let streams = tenant.streams(EVERYTHING).expect("Loki answers");
    let labels: Vec<_> = streams[0].labels.iter().collect();
    assert_eq!(labels, [(&"job".to_owned(), &"smoke".to_owned())]);

    loki.flush();
    tenant.wait_for_entries(EVERYTHING, vec![entry]);
    let other = loki.tenant("smoke-other").entries(EVERYTHING);
    assert_eq!(other, Ok(Vec::new()));
}

#[test]
fn apiserver_keeps_pods_while_it_is_away() {
    let mut apiserver = Apiserver::start();
    let kube = apiserver.admin();
    kube.create_namespace("test");
    let pod = Pod { namespace: "test", name: "web-1", labels: &[("app", "web")] };
    let uid = kube.run_pod(&pod, "node-smoke");

    apiserver.stop();
    assert!(!kube.is_ready());
    apiserver.start_again();
    let pods = kube.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-smoke");
    let found = &pods["items"][0];
    assert_eq!(found["metadata"]["uid"], *uid);
    assert_eq!(found["status"]["podIP"], "10.1.0.7");
    assert_eq!(found["metadata"]["labels"], json!({"app": "web"}));

    kube.delete_pod(&pod);
    assert_eq!(kube.get("/api/v1/pods")["items"], json!([]));
}
