//! The watch with an API server whose answers the test gives.

mod apiserver;
mod joins;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::metrics::Registry;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::{self as kubernetes, Config};
use super::*;
use crate::discovery::{Known, Metrics};
use crate::model::{NO_TARGETS, TargetGroup, Update};
use apiserver::{Apiserver, Request, error, list, pod, soon};

/// A watch of the pods of node `n1`, and its updates.
struct Scene {
    server: Apiserver,
    registry: Registry,
    updates: mpsc::Receiver<Update>,
    first_list: mpsc::Receiver<Infallible>,
    _watch: Aborted,
}

struct Aborted(tokio::task::JoinHandle<()>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Scene {
    fn new(server: Apiserver, keys: &str) -> Self {
        Self::of_role(server, "pod", keys, &Arc::default())
    }

    fn of_role(server: Apiserver, role: &str, keys: &str, reads: &Arc<Reads>) -> Self {
        let yaml = format!("{{role: {role}, api_server: '{}', {keys}}}", server.url());
        let config: Config = crate::yaml::from_str(&yaml).expect(&yaml);
        config.validate().expect(&yaml);
        let (job, registry): (Arc<str>, Registry) = ("pods".into(), Registry::new());
        let metrics = Metrics::register(&registry);
        let (sender, updates) = mpsc::channel(64);
        let (unlisted, first_list) = mpsc::channel(1);
        let known = Known::new(&job, "kubernetes_sd_configs", 0, &metrics, sender);
        let mut found = kubernetes::discoveries(config, &"n1".into(), &job, reads, &metrics).remove(0);
        let most = Duration::from_millis(20);
        found.about.backoff = Backoff { first: Duration::from_millis(1), most, most_asked: most };
        let watch = Aborted(tokio::spawn(found.run(known, None, unlisted)));
        Self { server, registry, updates, first_list, _watch: watch }
    }

    async fn request(&mut self) -> Request {
        self.server.request().await
    }

    /// The next group: its pod and the phases of its targets.
    async fn told(&mut self) -> (String, Vec<String>) {
        let Some(Update::Group { group: TargetGroup { id: group_id, targets, .. }, .. }) =
            soon(self.updates.recv()).await
        else {
            panic!("a group is told");
        };
        let name =
            group_id.strip_prefix("kubernetes_sd_configs[0]/pod/ns/").expect("the id of a pod's group").to_string();
        (name, targets.iter().filter_map(|t| t.get("__meta_kubernetes_pod_phase").map(str::to_string)).collect())
    }

    async fn tells(&mut self, name: &str, phase: &str) {
        assert_eq!(self.told().await, (name.to_string(), vec![phase.to_string()]));
    }

    async fn takes_back(&mut self, name: &str) {
        assert_eq!(self.told().await, (name.to_string(), vec![]));
    }

    /// The next note that is shown instead of targets.
    async fn note(&mut self) -> String {
        let Some(Update::Group { group: TargetGroup { id: group_id, targets, .. }, .. }) =
            soon(self.updates.recv()).await
        else {
            panic!("a group is told");
        };
        assert!(group_id.contains("]/watch/"), "{group_id}");
        targets.first().and_then(|target| target.get(NO_TARGETS)).unwrap_or_default().to_string()
    }

    /// The value of the series whose labels include `label`.
    fn metric(&self, name: &str, label: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let series = family.into_iter().flat_map(|family| family.get_metric());
        let wanted = series.filter(|series| series.get_label().iter().any(|pair| pair.value() == label));
        wanted.map(|series| series.get_counter().get_value() + series.get_gauge().get_value()).sum()
    }

    fn errors(&self, reason: &str) -> f64 {
        self.metric("fantail_kubernetes_watch_errors_total", reason)
    }

    fn failing(&self) -> f64 {
        self.metric("fantail_kubernetes_watches_failing", "pods")
    }
}

#[tokio::test]
async fn lists_from_the_cache_then_watches_from_there() {
    let mut scene =
        Scene::new(Apiserver::start(), "selectors: [{role: pod, label: 'app=web', field: 'status.phase!=Failed'}]");

    let request = scene.request().await;
    assert_eq!(request.path, "/api/v1/pods");
    assert_eq!(request.query("fieldSelector"), Some("status.phase!=Failed,spec.nodeName=n1"));
    assert_eq!(request.query("labelSelector"), Some("app=web"));
    assert_eq!(request.query("resourceVersion"), Some("0"));
    assert_eq!(request.query("resourceVersionMatch"), Some("NotOlderThan"));
    assert_eq!(request.query("limit"), None);
    assert_eq!(request.query("watch"), None);
    assert_eq!(request.user_agent, concat!("fantail/", env!("CARGO_PKG_VERSION")));
    request.answer(200, list("10", &[pod("a", "Pending", "7")]));
    scene.tells("a", "Pending").await;
    assert_eq!(soon(scene.first_list.recv()).await, None);

    let request = scene.request().await;
    assert_eq!(request.query("watch"), Some("true"));
    assert_eq!(request.query("fieldSelector"), Some("status.phase!=Failed,spec.nodeName=n1"));
    assert_eq!(request.query("labelSelector"), Some("app=web"));
    assert_eq!(request.query("resourceVersion"), Some("10"));
    let watch = request.stream();
    watch.event("ADDED", pod("b", "Running", "11"));
    scene.tells("b", "Running").await;
    watch.event("MODIFIED", pod("a", "Running", "12"));
    scene.tells("a", "Running").await;
    watch.event("MODIFIED", pod("a", "Running", "13"));
    watch.event("DELETED", pod("b", "Running", "14"));
    scene.takes_back("b").await;
    assert_eq!(scene.metric("fantail_discovery_sources", "kubernetes_sd_configs"), 1.0);

    watch.event("BOOKMARK", json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": "20"}}));
    watch.end();
    assert_eq!(scene.request().await.query("resourceVersion"), Some("20"));
    assert_eq!(scene.metric("fantail_kubernetes_watch_errors_total", "pods"), 0.0);
}

#[tokio::test]
async fn a_namespace_has_a_watch_of_its_own() {
    let config: Config = crate::yaml::from_str("{role: pod, namespaces: {names: [x, y]}}").expect("a config");
    let metrics = Metrics::register(&Registry::new());
    let found = kubernetes::discoveries(config, &"n1".into(), &"pods".into(), &Arc::default(), &metrics);
    let scopes: Vec<String> = found.iter().map(|found| format!("{:?}", found.about.scope)).collect();
    assert_eq!(scopes, [r#"Named("x")"#, r#"Named("y")"#]);

    let mut scene = Scene::new(Apiserver::start(), "namespaces: {names: [ns]}, bearer_token: hunter2");
    let request = scene.request().await;
    assert_eq!(request.path, "/api/v1/namespaces/ns/pods");
    assert_eq!(request.authorization, "Bearer hunter2");
}

#[tokio::test]
async fn gone_in_the_stream_lists_again_and_takes_back_what_vanished() {
    let mut scene = Scene::new(Apiserver::start(), "");
    scene.request().await.answer(200, list("10", &[pod("a", "Running", "1"), pod("b", "Running", "2")]));
    scene.told().await;
    scene.told().await;
    let watch = scene.request().await.stream();
    watch.event("ERROR", error(410, "Expired", "too old resource version"));

    let request = scene.request().await;
    assert_eq!((request.query("watch"), request.query("resourceVersion")), (None, Some("0")));
    request.answer(200, list("30", &[pod("b", "Running", "2"), pod("c", "Running", "25")]));
    scene.tells("c", "Running").await;
    scene.takes_back("a").await;
    assert_eq!(scene.request().await.query("resourceVersion"), Some("30"));
    assert_eq!((scene.errors("gone"), scene.failing()), (1.0, 0.0));
}

#[tokio::test]
async fn gone_as_the_answer_to_a_watch_lists_again() {
    let mut scene = Scene::new(Apiserver::start(), "");
    scene.request().await.answer(200, list("10", &[pod("a", "Running", "1")]));
    scene.tells("a", "Running").await;
    scene.request().await.answer(410, error(410, "Expired", "too old resource version"));
    let request = scene.request().await;
    assert_eq!((request.query("watch"), request.query("resourceVersion")), (None, Some("0")));
    request.answer(200, list("30", &[]));
    scene.takes_back("a").await;
}

#[tokio::test]
async fn a_dropped_connection_resumes_where_it_was() {
    let mut scene = Scene::new(Apiserver::start(), "");
    scene.request().await.answer(200, list("10", &[pod("a", "Running", "1")]));
    scene.tells("a", "Running").await;
    let watch = scene.request().await.stream();
    watch.event("ADDED", pod("b", "Running", "11"));
    scene.tells("b", "Running").await;
    watch.break_off();

    let request = scene.request().await;
    assert_eq!((request.query("watch"), request.query("resourceVersion")), (Some("true"), Some("11")));
    let watch = request.stream();
    watch.event("DELETED", pod("a", "Running", "12"));
    scene.takes_back("a").await;
    assert_eq!(scene.failing(), 0.0);
}

#[tokio::test]
async fn a_busy_server_is_asked_again_for_the_same_watch() {
    let mut scene = Scene::new(Apiserver::start(), "");
    scene.request().await.answer(200, list("10", &[]));
    for code in [429, 500, 503] {
        scene.request().await.answer(code, error(code, "Busy", "later"));
    }
    let request = scene.request().await;
    assert_eq!((request.query("watch"), request.query("resourceVersion")), (Some("true"), Some("10")));
    assert_eq!((scene.errors("busy"), scene.failing()), (3.0, 1.0));
}

/// API Priority and Fairness answers with a sentence, not with an object.
#[tokio::test]
async fn a_busy_server_says_how_long_it_wants_to_be_left_alone() {
    for (code, retry_after, seconds) in [
        (429, "7", 7),
        (503, " 2 ", 2),
        (429, "", 0),
        (429, "-1", 0),
        (429, "Wed, 21 Oct 2026 07:28:00 GMT", 0),
        (429, "99999999999999999999999", 0),
    ] {
        let mut server = Apiserver::start();
        let yaml = format!("{{role: pod, api_server: '{}'}}", server.url());
        let config: Config = serde_yaml::from_str(&yaml).expect(&yaml);
        let (client, _) = client::connect(&config, NODE).await.expect("a client");
        let request = || http::Request::get("/api/v1/pods").body(Vec::new()).expect("a request");
        let answers = async {
            for _ in 0..2 {
                server.request().await.refuse(code, retry_after, "Too many requests, please try again later.");
            }
        };
        let asked = async {
            let list = List::ask(&client, request(), LIST).await.err().expect("refused");
            let watch = Lines::ask(&client, request()).await.err().expect("refused");
            [list, watch]
        };
        let (failures, ()) = tokio::join!(asked, answers);
        for failure in failures {
            assert_eq!(failure.retry_after, Duration::from_secs(seconds), "{retry_after:?}");
            assert!(failure.resumable && failure.error.contains("Too many requests"), "{}", failure.error);
        }
    }
}

#[tokio::test]
async fn forbidden_is_asked_again_until_somebody_grants_it() {
    let mut scene = Scene::new(Apiserver::start(), "");
    scene.request().await.answer(401, error(401, "Unauthorized", "Unauthorized"));
    scene.request().await.answer(403, error(403, "Forbidden", "pods is forbidden"));
    let rule = r#"{apiGroups: [""], resources: [pods], verbs: [list, watch]}"#;
    let note = scene.note().await;
    assert!(note.contains("may not list pods") && note.ends_with(rule), "{note}");
    // It may list, but not watch: this is not a success yet.
    scene.request().await.answer(200, list("10", &[pod("a", "Running", "1")]));
    scene.tells("a", "Running").await;
    scene.request().await.answer(403, error(403, "Forbidden", "pods is forbidden"));
    assert!(scene.note().await.contains("may not watch pods"));
    let request = scene.request().await;
    assert_eq!(request.query("watch"), None);
    assert_eq!((scene.errors("unauthorized"), scene.errors("forbidden"), scene.failing()), (1.0, 2.0, 1.0));

    request.answer(200, list("20", &[pod("a", "Running", "1")]));
    let watch = scene.request().await.stream();
    assert_eq!(scene.note().await, "", "it is shown no longer");
    watch.event("MODIFIED", pod("a", "Succeeded", "21"));
    scene.tells("a", "Succeeded").await;
    assert_eq!(scene.failing(), 0.0);
}

#[tokio::test]
async fn a_server_that_is_away_at_the_start_is_waited_for() {
    let (server, away) = Apiserver::away();
    let mut scene = Scene::new(server, "");
    let deadline = Instant::now() + Duration::from_secs(10);
    while scene.errors("connection") < 2.0 {
        assert!(Instant::now() < deadline, "failures are counted");
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.failing(), 1.0);
    assert!(scene.first_list.try_recv().is_err_and(|e| e == mpsc::error::TryRecvError::Empty));

    away.arrive();
    scene.request().await.answer(200, list("10", &[pod("a", "Running", "1")]));
    scene.tells("a", "Running").await;
    assert_eq!(soon(scene.first_list.recv()).await, None);
}

#[tokio::test]
async fn what_is_not_a_list_of_pods_is_an_error_and_takes_nothing_back() {
    let mut scene = Scene::new(Apiserver::start(), "");
    scene.request().await.answer(200, list("10", &[pod("a", "Running", "1")]));
    scene.tells("a", "Running").await;
    scene.request().await.stream().event("ERROR", error(500, "InternalError", "etcd"));
    scene.request().await.answer(200, json!({"kind": "Status"}));
    scene.request().await.answer(200, json!("it works!"));
    scene.request().await.answer(200, list("20", &[pod("b", "Running", "2")]));
    scene.tells("b", "Running").await;
    scene.takes_back("a").await;
    assert_eq!((scene.errors("busy"), scene.errors("answer")), (1.0, 2.0));
}

/// A `pod` with large annotations and many ports.
fn large(name: &str, annotation: usize, ports: usize) -> Value {
    let mut pod = pod(name, "Running", "1");
    pod["metadata"]["annotations"] = json!({"last": "<".repeat(annotation)});
    pod["spec"]["containers"][0]["ports"] = (0..ports).map(|n| json!({"containerPort": n})).collect();
    pod
}

#[tokio::test]
async fn large_pods_hide_none_of_the_others() {
    let mut scene = Scene::new(Apiserver::start(), "");
    let mut pods: Vec<Value> = (0..100).map(|n| large(&format!("p{n}"), 256 << 10, 1_000)).collect();
    // A list without limits. A real API server has no object of this size.
    pods.insert(50, large("huge", super::super::answer::LONGEST + 1, 1));
    pods.push(pod("last", "Running", "1"));
    let request = scene.request().await;
    let answered = tokio::spawn(async move { request.answer(200, list("10", &pods)) });
    for n in 0..100 {
        scene.tells(&format!("p{n}"), "Running").await;
    }
    scene.tells("last", "Running").await;
    answered.await.expect("answered");
    let cut = |scene: &Scene| scene.metric("fantail_discovery_pods_cut_total", "pods");
    let watch = scene.request().await.stream();
    assert_eq!(cut(&scene), 1.0, "one that is passed over");
    watch.event("ADDED", large("huge", super::super::answer::LONGEST + 1, 1));
    watch.event("ADDED", pod("b", "Running", "11"));
    scene.tells("b", "Running").await;
    assert_eq!((cut(&scene), scene.failing(), scene.errors("answer")), (2.0, 0.0, 0.0));
}

#[tokio::test]
async fn what_is_left_out_of_a_pod_is_counted_once_as_long_as_it_is_there() {
    let mut scene = Scene::new(Apiserver::start(), "");
    scene.request().await.answer(200, list("10", &[]));
    let watch = scene.request().await.stream();
    let cut = |scene: &Scene| scene.metric("fantail_discovery_pods_cut_total", "pods");
    let crowded = |containers: usize| {
        let mut pod = pod("a", "Running", "11");
        pod["spec"]["containers"] = (0..containers).map(|n| json!({"name": format!("c{n}")})).collect();
        pod
    };
    for (containers, counted) in [(1, 0.0), (1_000, 1.0), (1_001, 1.0), (2, 1.0), (1_000, 2.0)] {
        watch.event("MODIFIED", crowded(containers));
        let (_, targets) = scene.told().await;
        assert_eq!(targets.len(), containers.min(200));
        assert_eq!(cut(&scene), counted, "{containers}");
    }
    watch.event("DELETED", crowded(1));
    scene.takes_back("a").await;
    watch.event("ADDED", crowded(1_000));
    scene.told().await;
    assert_eq!(cut(&scene), 3.0, "another of that name");
}

#[tokio::test]
async fn a_list_that_breaks_off_takes_nothing_back() {
    let mut scene = Scene::new(Apiserver::start(), "");
    scene.request().await.answer(200, list("10", &[pod("a", "Running", "1"), pod("b", "Running", "1")]));
    scene.told().await;
    scene.told().await;
    scene.request().await.stream().event("ERROR", error(410, "Expired", "too old resource version"));
    let half = scene.request().await.stream();
    half.raw(r#"{"kind":"PodList","metadata":{"resourceVersion":"20"},"items":["#);
    half.raw(&pod("c", "Running", "15").to_string());
    scene.tells("c", "Running").await;
    half.end();
    scene.request().await.answer(200, list("30", &[pod("b", "Running", "1"), pod("c", "Running", "15")]));
    scene.takes_back("a").await;
    assert_eq!(scene.errors("answer"), 1.0);
}

#[test]
fn folders_are_looked_at_unless_that_is_switched_off_or_no_node_is_meant() {
    let dir = tempfile::tempdir().expect("a folder");
    for (keys, node, is_on) in [
        ("role: pod", "n1", true),
        ("{role: pod, pods_from_path: true}", "n1", true),
        ("{role: pod, pods_from_path: false}", "n1", false),
        ("role: pod", "", false),
        ("role: service", "n1", false),
    ] {
        let config: Config = crate::yaml::from_str(keys).expect(keys);
        let (job, metrics): (Arc<str>, _) = ("pods".into(), Metrics::register(&Registry::new()));
        let known = Known::new(&job, "kubernetes_sd_configs", 0, &metrics, mpsc::channel(1).0);
        let remembered = Arc::new(kubernetes::Remembered::open(dir.path().join("p.pods"), false));
        let places = kubernetes::Places { pod_logs: dir.path().into(), remembered };
        let found = kubernetes::discoveries(config, &node.into(), &job, &Arc::default(), &metrics).remove(0);
        assert_eq!(found.folders(places, known).is_some(), is_on, "{keys} on {node:?}");
    }
}
