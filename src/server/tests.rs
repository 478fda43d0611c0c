//! Requests in HTTP/1.1 to a real server on a free port.

pub(super) mod access;
mod bombs;
mod live;
mod page;
mod slow;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::model::{ClientReport, DiscoveredReport, FileReport, Labels, TargetReport};

struct Fixed(Vec<FileReport>);

impl Report for Fixed {
    fn targets(&self) -> Vec<TargetReport> {
        let labels = Labels::from([("app".into(), "<b>".into())]);
        vec![TargetReport {
            job: "pods".into(),
            path: "/var/log/*.log".into(),
            labels,
            files: self.0.clone(),
            nothing: None,
            not_read: Vec::new(),
            not_read_more: 0,
        }]
    }
    fn discovered(&self) -> Vec<DiscoveredReport> {
        Vec::new()
    }
    fn clients(&self) -> Vec<ClientReport> {
        Vec::new()
    }
}

fn file(error: Option<&str>) -> FileReport {
    FileReport {
        path: "/var/log/a.log".into(),
        client: "0".into(),
        read_offset: 7,
        committed_offset: 7,
        size: 7,
        lag_bytes: 0,
        unacknowledged_bytes: 0,
        generations: 1,
        account: Default::default(),
        error: error.map(Into::into),
        ..FileReport::default()
    }
}

fn listening(address: &str, port: u16) -> Config {
    let mut config = Config::default();
    config.http_listen_address = address.into();
    config.http_listen_port = port;
    config
}

struct Running {
    address: SocketAddr,
    shown: watch::Sender<Arc<Shown>>,
    live_tail: Arc<LiveTail>,
    reloads: mpsc::Receiver<ReloadRequest>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn start(yaml: &str, files: Vec<FileReport>) -> Running {
    start_with(yaml, files, Registry::new()).await
}

async fn start_with(yaml: &str, files: Vec<FileReport>, registry: Registry) -> Running {
    let yaml = format!("http_listen_address: 127.0.0.1\nhttp_listen_port: 0\n{yaml}");
    let config: Config = crate::yaml::from_str(&yaml).expect("a config");
    config.validate().expect("a valid config");
    let server = Server::bind(&config).await.expect("a free port");
    let address = server.local_addr().expect("it is bound");
    let (stop, stopped) = oneshot::channel::<()>();
    let (shown, now) = watch::channel(shows(files, "clients:\n- url: <secret>\n"));
    let (reload, reloads) = mpsc::channel(1);
    let live_tail = Arc::<LiveTail>::default();
    let state = State { hostname: "node-<1>".into(), live_tail: live_tail.clone(), shown: now, registry, reload };
    let task = tokio::spawn(server.run(state, async {
        let _ = stopped.await;
    }));
    Running { address, shown, live_tail, reloads, stop, task }
}

fn shows(files: Vec<FileReport>, config: &str) -> Arc<Shown> {
    Arc::new(Shown { report: Arc::new(Fixed(files)), config: config.into(), reload_error: None })
}

impl Running {
    async fn ask(&self, path: &str, header: &str) -> String {
        let stream = TcpStream::connect(self.address).await.expect("it listens");
        ask_on(stream, path, header).await.expect("it answers in UTF-8")
    }

    /// The status, and the whole answer.
    async fn status(&self, path: &str) -> (u16, String) {
        let answer = self.ask(path, "").await;
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        (status, answer)
    }
}

async fn ask_on(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str, header: &str) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn not_ready_until_something_is_tailed() {
    for (yaml, files, expected) in [
        ("", vec![], 500),
        ("", vec![file(Some("permission denied"))], 500),
        ("", vec![file(Some("permission denied")), file(None)], 200),
        ("health_check_target: false", vec![], 200),
    ] {
        let server = start(yaml, files).await;
        let (status, answer) = server.status("/ready").await;
        assert_eq!(status, expected, "{yaml}: {answer}");
        assert!(answer.contains(if expected == 200 { "Ready" } else { "Unable to find any logs to tail" }), "{answer}");
        assert_eq!(server.status("/-/healthy").await.0, 200, "alive in any case");
    }
}

#[tokio::test]
async fn a_thread_that_stands_still_is_not_healthy() {
    struct Still;

    impl Report for Still {
        fn targets(&self) -> Vec<TargetReport> {
            Fixed(vec![file(None)]).targets()
        }
        fn discovered(&self) -> Vec<DiscoveredReport> {
            Vec::new()
        }
        fn clients(&self) -> Vec<ClientReport> {
            Vec::new()
        }
        fn still(&self) -> Vec<String> {
            vec!["the reader of loki".into()]
        }
    }

    let server = start("", vec![file(None)]).await;
    let well = server.shown.borrow().clone();
    let still = Shown { report: Arc::new(Still), config: String::new(), reload_error: None };
    server.shown.send_replace(Arc::new(still));
    for path in ["/ready", "/-/healthy"] {
        let (status, answer) = server.status(path).await;
        assert!(status == 503 && answer.contains("the reader of loki"), "{path}: {answer}");
    }
    server.shown.send_replace(well);
    assert_eq!((server.status("/ready").await.0, server.status("/-/healthy").await.0), (200, 200));
}

#[tokio::test]
async fn pages_come_as_html_and_as_json() {
    let server = start("", vec![file(None)]).await;
    for path in ["/targets", "/service-discovery", "/config"] {
        let page = server.ask(path, "Accept: text/html,*/*;q=0.8\r\n").await;
        assert!(page.contains("text/html; charset=utf-8") && page.contains("content-security-policy"), "{page}");
        assert!(page.contains("</html>"), "{page}");
        for json in [
            server.ask(path, "Accept: application/json\r\n").await,
            server.ask(&format!("{path}?format=json"), "").await,
        ] {
            let (head, body) = json.split_once("\r\n\r\n").expect("a body");
            assert!(head.contains("content-type: application/json"), "{head}");
            serde_json::from_str::<serde_json::Value>(body).expect("JSON");
        }
    }
    let page = server.ask("/targets?q=a.log", "").await;
    assert!(page.contains("&lt;b&gt;") && page.contains("/var/log/a.log"), "{page}");
    assert!(server.ask("/config", "").await.contains("url: &lt;secret&gt;"));
}

#[tokio::test]
async fn everything_lives_under_the_prefix() {
    let server = start("http_path_prefix: /logs/\nexternal_url: https://host/a", vec![]).await;
    for (path, expected) in [
        ("/", 404),
        ("/metrics", 404),
        ("/logs", 303),
        ("/logs/", 200),
        ("/logs/page/page.js", 200),
        ("/logs/page/none.js", 404),
        ("/logs/api/overview", 200),
        ("/logs/targets", 200),
        ("/logs/metrics", 200),
        ("/logs/ready", 500),
    ] {
        let (status, answer) = server.status(path).await;
        assert_eq!(status, expected, "{path}: {answer}");
        assert!(status != 303 || answer.contains("location: /a/\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn metrics_are_text_and_name_the_build() {
    let registry = Registry::new();
    // The encoder refuses an empty family.
    let empty = prometheus::IntCounterVec::new(prometheus::Opts::new("aaa_empty", "x"), &["l"]).expect("a metric");
    registry.register(Box::new(empty)).expect("a first metric");
    let server = start_with("", vec![], registry).await;
    let (status, answer) = server.status("/metrics").await;
    assert_eq!(status, 200);
    for part in [
        "content-type: text/plain; version=0.0.4\r\n",
        "promtail_build_info{branch=\"",
        "goos=\"linux\"",
        "process_resident_memory_bytes ",
        "# TYPE process_cpu_seconds_total counter",
    ] {
        assert!(answer.contains(part), "{part}: {answer}");
    }
    let off = start("register_instrumentation: false", vec![]).await;
    assert_eq!(off.status("/metrics").await.0, 404);
}

#[tokio::test]
async fn a_series_that_two_collectors_have_is_there_once() {
    /// A family that is built by hand, like those of files and users.
    struct ByHand(prometheus::IntCounter);
    impl prometheus::core::Collector for ByHand {
        fn desc(&self) -> Vec<&prometheus::core::Desc> {
            self.0.desc()
        }
        fn collect(&self) -> Vec<prometheus::proto::MetricFamily> {
            let mut families = self.0.collect();
            families.iter_mut().for_each(|family| family.set_name("twice_total".into()));
            families
        }
    }
    let registry = Registry::new();
    for name in ["a_total", "b_total"] {
        let counter = prometheus::IntCounter::new(name, "x").expect("a counter");
        registry.register(Box::new(ByHand(counter))).expect("a metric of another name");
    }
    let server = start_with("", vec![], registry).await;
    let (_, answer) = server.status("/metrics").await;
    assert_eq!(answer.lines().filter(|line| line.starts_with("twice_total ")).count(), 1, "{answer}");
}

#[tokio::test]
async fn metrics_are_what_is_true_now() {
    let registry = Registry::new();
    let counter = prometheus::IntCounter::new("lines_total", "Lines.").expect("a name");
    registry.register(Box::new(counter.clone())).expect("a first metric");
    let server = start_with("", vec![], registry).await;
    for lines in 0..20 {
        let (_, text) = server.status("/metrics").await;
        assert!(text.contains(&format!("\nlines_total {lines}\n")), "{lines}: {text}");
        counter.inc();
    }
}

#[tokio::test]
async fn pages_show_what_runs_after_a_reload() {
    let server = start("", vec![]).await;
    let shows_old = |page: &str| page.contains("&lt;secret&gt;");
    assert!(shows_old(&server.status("/config").await.1));
    assert_eq!(server.status("/ready").await.0, 500);
    server.shown.send_replace(shows(vec![file(None)], "clients: [new]"));
    let (_, page) = server.status("/config").await;
    assert!(page.contains("clients: [new]") && !shows_old(&page), "{page}");
    assert!(server.status("/targets").await.1.contains("/var/log/a.log"));
    assert_eq!(server.status("/ready").await.0, 200);
}

#[tokio::test]
async fn a_reload_is_answered_when_it_is_done_or_with_what_is_wrong() {
    let mut server = start("enable_runtime_reload: true", vec![]).await;
    for (outcome, status, said) in
        [(Ok(()), "200", ""), (Err("f.yaml:1:1: no"), "400", "failed to reload config: f.yaml:1:1: no\n")]
    {
        let asked = async { server.reloads.recv().await.expect("it is asked for").send(outcome.map_err(Into::into)) };
        let connection = TcpStream::connect(server.address).await.expect("it listens");
        let (answer, sent) = tokio::join!(ask_on(connection, "/reload", ""), asked);
        let answer = answer.expect("it answers");
        assert!(sent.is_ok() && answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{said}")), "{answer}");
    }
    // A page of another site sends a request through a visitor's browser.
    for header in ["Sec-Fetch-Site: cross-site", "Origin: http://evil.example", "Referer: http://evil.example/"] {
        let answer = server.ask("/reload", &format!("{header}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{header}: {answer}");
    }
    // One request waits, and there is no room for another.
    let waits = TcpStream::connect(server.address).await.expect("it listens");
    let waits = tokio::spawn(ask_on(waits, "/reload", ""));
    let first = server.reloads.recv().await.expect("it is asked for");
    let (full, taken) = oneshot::channel();
    let address = server.address;
    let second = tokio::spawn(async move {
        let connection = TcpStream::connect(address).await.expect("it listens");
        let _ = full.send(());
        ask_on(connection, "/reload", "").await
    });
    taken.await.expect("it asks");
    while server.reloads.is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(server.ask("/reload", "").await.starts_with("HTTP/1.1 503"));
    // Clients that get no answer any more get an error.
    drop((first, server.reloads));
    for answer in [waits, second] {
        let answer = answer.await.expect("no panic").expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("stopping"), "{answer}");
    }
}

#[tokio::test]
async fn reload_is_not_there_unless_it_is_switched_on() {
    let mut server = start("", vec![]).await;
    assert_eq!(server.status("/reload").await.0, 404);
    assert!(server.reloads.try_recv().is_err());
}

#[tokio::test]
async fn a_reload_that_failed_is_on_the_page_until_one_succeeds() {
    let server = start("", vec![]).await;
    let shown = server.shown.borrow().clone();
    let (report, config) = (shown.report.clone(), shown.config.clone());
    let failed = Shown { report, config, reload_error: Some("f.yaml:1:1: <no>".into()) };
    server.shown.send_replace(Arc::new(failed));
    assert!(server.status("/config").await.1.contains("stays in use. f.yaml:1:1: &lt;no&gt;"));
    assert!(server.status("/config?format=json").await.1.contains("\"reload_error\":\"f.yaml:1:1: <no>\""));
    server.shown.send_replace(shows(vec![], "{}"));
    assert!(!server.status("/config").await.1.contains("reload failed"));
}

#[tokio::test]
async fn a_port_in_use_says_which_key_to_change() {
    let server = start("", vec![]).await;
    let config = listening("127.0.0.1", server.address.port());
    let error = Server::bind(&config).await.err().expect("the port is taken");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains("server.http_listen_port (-server.http-listen-port)"), "{error}");
}

#[tokio::test]
async fn an_address_that_is_not_here_names_its_key() {
    let error = Server::bind(&listening("192.0.2.1", 0)).await.err().expect("nobody has this address");
    assert!(error.to_string().contains("server.http_listen_address"), "{error}");
}

#[tokio::test]
async fn it_stops_although_somebody_stays_connected() {
    let server = start("graceful_shutdown_timeout: 100ms", vec![]).await;
    // Half of a request: the server waits for the rest.
    let mut stream = TcpStream::connect(server.address).await.expect("it listens");
    stream.write_all(b"GET /targets HTTP/1.1\r\nHost:").await.expect("it reads");
    assert_eq!(server.status("/-/healthy").await.0, 200);
    server.stop.send(()).expect("it runs");
    let stopped = tokio::time::timeout(Duration::from_secs(10), server.task).await;
    stopped.expect("it ends within its grace").expect("without a panic");
}

#[tokio::test]
async fn one_who_says_nothing_makes_room_for_others() {
    let server = start("http_listen_conn_limit: 1\nhttp_server_idle_timeout: 50ms", vec![]).await;
    let mut silent = TcpStream::connect(server.address).await.expect("it listens");
    // Waits until the only place is free.
    assert_eq!(server.status("/-/healthy").await.0, 200);
    let closed = silent.read(&mut [0]).await;
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_ends_is_cut() {
    let server = start("", vec![]).await;
    let mut slow = TcpStream::connect(server.address).await.expect("it listens");
    slow.write_all(b"GET /targets HTTP/1.1\r\nHost: localhost\r\nX: ").await.expect("it reads");
    for _ in 0..60 {
        // The test has its own clock, so a second of silence takes no time.
        match tokio::time::timeout(Duration::from_secs(1), slow.read(&mut [0])).await {
            Err(_) => {}
            Ok(closed) => return assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}"),
        }
        let _ = slow.write_all(b"a").await;
    }
    panic!("a byte a second kept it open for a minute");
}

#[tokio::test]
async fn slow_ones_make_room_for_a_probe() {
    let server = start("http_listen_conn_limit: 4", vec![]).await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.address).await.expect("it listens");
        // A connection that is already closed may return an error here.
        let _ = stream.write_all(b"POST /ready HTTP/1.1\r\nHost: localhost\r\nContent-Le").await;
        slow.push(stream);
    }
    assert_eq!(server.status("/-/healthy").await.0, 200);
    let closed = slow[0].read(&mut [0]).await;
    assert!(matches!(closed, Ok(0) | Err(_)), "the oldest went: {closed:?}");
}

#[tokio::test]
async fn pages_that_nobody_reads_are_few() {
    let server = start("", vec![file(None); 40_000]).await;
    let mut unread = Vec::new();
    for _ in 0..8 {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let mut stream = socket.connect(server.address).await.expect("it listens");
        let request = b"GET /targets?format=json HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request).await.expect("it reads");
        assert_eq!(stream.read(&mut [0]).await.expect("an answer"), 1);
        unread.push(stream);
    }
    assert_eq!(server.status("/targets").await.0, 503);
    assert_eq!(server.status("/metrics").await.0, 200);
    assert_eq!(server.status("/-/healthy").await.0, 200);
}

#[tokio::test]
async fn every_answer_tells_browsers_what_it_is_not() {
    let server = start("", vec![]).await;
    for path in ["/", "/metrics", "/ready", "/-/healthy", "/targets", "/config?format=json", "/nowhere"] {
        let answer = server.ask(path, "").await;
        assert!(
            answer.contains("x-content-type-options: nosniff") && answer.contains("default-src 'none'"),
            "{answer}"
        );
    }
}
