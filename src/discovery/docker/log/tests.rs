//! Logs of a scripted engine, read through the API by a reader that is killed.

use std::path::Path;
use std::time::{Duration, Instant};

use super::super::tests::engine::{Docker, Scripted, Stream};
use super::super::tests::{config, soon};
use super::*;
use crate::metrics::{ContainerLines, Registry};
use crate::model::{Checkpoint, Chunk, LabelSet, Mark, Read};

const T: i64 = 1_700_000_000_000_000_000;

fn log(docker: &Docker, container: &Scripted) -> (RemoteLog, Steering) {
    log_counted(docker, container, &Registry::new())
}

fn log_counted(docker: &Docker, container: &Scripted, registry: &Registry) -> (RemoteLog, Steering) {
    let labels = |stream| Some(LabelSet::new([("stream", stream)]));
    let streams = Streams { stdout: labels("stdout"), stderr: labels("stderr") };
    let (id, name) = (container.id.clone(), container.name.clone());
    let described = Described { id, name, driver: container.driver.clone(), tty: container.tty };
    let engine = Arc::new(Engine::new(&config(docker)).expect("an engine"));
    new(engine, described, container.state == "running", streams, ContainerLines::register(registry), Arc::default())
}

/// A reader that delivers in steps and is killed.
struct Client {
    source: Box<dyn Source>,
    cursor: Option<Arc<str>>,
    seen: Vec<(i64, String, String)>,
}

impl Client {
    fn open(log: &RemoteLog, cursor: Option<Arc<str>>) -> Self {
        Self { source: (log.open)(cursor.clone(), Waker::noop().clone()), cursor, seen: Vec::new() }
    }

    /// Reads once, and commits all of it. Returns false at the end.
    fn step(&mut self, room: usize) -> bool {
        let mut chunk = Chunk::default();
        match self.source.read(room, Instant::now(), &mut chunk).expect("read") {
            Read::Records { .. } => {
                let text = String::from_utf8(chunk.bytes[..chunk.len].to_vec()).expect("text");
                let mut at = 0;
                for record in &chunk.records.expect("records") {
                    let stream = record.labels.as_ref().and_then(|labels| labels.get("stream")).unwrap_or("none");
                    let line = text[at..record.end - 1].to_string();
                    self.seen.push((record.time.expect("a time"), stream.to_string(), line));
                    at = record.end;
                }
                let end: Mark = chunk.start.after(chunk.len as u64);
                if let Some(Checkpoint::Cursor(cursor)) = self.source.committed(end) {
                    self.cursor = Some(cursor);
                }
                true
            }
            Read::Finished => false,
            _ => true,
        }
    }

    async fn until(&mut self, count: usize) {
        let read = async {
            while self.seen.len() < count {
                assert!(self.step(4_000), "it has ended after {} lines", self.seen.len());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        soon(read).await;
    }

    async fn finish(&mut self) {
        let read = async {
            while self.step(1 << 20) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        soon(read).await;
    }
}

fn start(folder: &Path, container: Scripted) -> Docker {
    let docker = Docker::new(folder);
    docker.change(|world| world.containers.push(container));
    docker
}

/// `count` lines, of which several have one time. Some are joined of parts.
fn write(docker: &Docker, from: i64, count: i64) {
    docker.change(|world| {
        for n in from..from + count {
            let stream = if n % 3 == 0 { Stream::Stderr } else { Stream::Stdout };
            let time = T + n / 4;
            if n % 29 == 0 {
                world.containers[0].frames.push((time, stream, "p".repeat(16 << 10)));
            }
            world.containers[0].frames.push((time, stream, format!("line {n}\n")));
        }
    });
}

fn want(n: i64) -> (i64, String, String) {
    let stream = if n % 3 == 0 { "stderr" } else { "stdout" };
    let part = if n % 29 == 0 { "p".repeat(16 << 10) } else { String::new() };
    (T + n / 4, stream.to_string(), format!("{part}line {n}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_lose_no_line_and_send_none_twice() {
    for tty in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let docker = start(folder.path(), Scripted { tty, ..Scripted::running("aaaa", "local") });
        let _listening = docker.listen();
        let (log, _steering) = log(&docker, &docker.world().containers[0].clone());
        let (mut cursor, mut seen) = (None, Vec::new());
        for kill in 0..21 {
            write(&docker, kill * 50, 50);
            // Answers break in the middle of messages as well.
            docker.world().breaks_after = [None, None, Some(20_001)][kill as usize % 3];
            let mut client = Client::open(&log, cursor);
            let all = (kill as usize + 1) * 50;
            // All but some lines: the next client begins in the middle.
            client.until(if kill == 20 { all } else { all - 7 } - seen.len()).await;
            seen.extend(client.seen);
            cursor = client.cursor;
        }
        let wanted: Vec<_> = (0..21 * 50).map(want).collect();
        let stream = |line: (i64, String, String)| if tty { (line.0, "stdout".to_string(), line.2) } else { line };
        assert_eq!(seen, wanted.into_iter().map(stream).collect::<Vec<_>>(), "tty {tty}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_stops_and_starts_sends_nothing_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let docker = start(folder.path(), Scripted::running("aaaa", "journald"));
    let listening = docker.listen();
    let (log, steering) = log(&docker, &docker.world().containers[0].clone());
    let streams = steering.labels.lock().expect("labels").clone();
    write(&docker, 0, 10);
    let mut client = Client::open(&log, None);
    client.until(10).await;
    docker.change(|world| world.containers[0].state = "exited".into());
    steering.set(false, &streams);
    write(&docker, 10, 5);
    docker.change(|world| world.containers[0].state = "running".into());
    steering.set(true, &streams);
    client.until(15).await;
    // Docker is restarted.
    drop(listening);
    let _listening = docker.listen();
    write(&docker, 15, 5);
    client.until(20).await;
    // The container ends in the middle of a line, and is removed.
    docker.change(|world| {
        world.containers[0].frames.push((T + 100, Stream::Stdout, "q".repeat(16 << 10)));
        world.containers[0].state = "exited".into();
    });
    steering.set(false, &streams);
    client.until(21).await;
    docker.change(|world| world.containers.clear());
    drop(steering);
    client.finish().await;
    let wanted: Vec<_> = (0..20).map(want).chain([(T + 100, "stdout".into(), "q".repeat(16 << 10))]).collect();
    assert_eq!(client.seen, wanted);
}

/// A connection that breaks between two messages looks like an answer that has ended, because it has no chunks.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_a_stopped_container_that_breaks_between_messages_is_continued() {
    let folder = tempfile::tempdir().expect("a folder");
    let docker = start(folder.path(), Scripted { state: "exited".into(), ..Scripted::running("aaaa", "local") });
    let _listening = docker.listen();
    write(&docker, 0, 20);
    docker.change(|world| {
        world.ends_after = Some(9);
        world.containers[0].frames.push((T + 100, Stream::Stdout, "q".repeat(16 << 10)));
    });
    let (log, _steering) = log(&docker, &docker.world().containers[0].clone());
    let mut client = Client::open(&log, None);
    // The last part is a line once an answer has shown that nothing follows.
    client.until(21).await;
    let wanted: Vec<_> = (0..20).map(want).chain([(T + 100, "stdout".into(), "q".repeat(16 << 10))]).collect();
    assert_eq!(client.seen, wanted);
    assert!(docker.world().asked >= 4, "{}", docker.world().asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_rules_drop_is_not_read_and_labels_change_with_the_container() {
    let folder = tempfile::tempdir().expect("a folder");
    let docker = start(folder.path(), Scripted::running("aaaa", "local"));
    let _listening = docker.listen();
    let (log, steering) = log(&docker, &docker.world().containers[0].clone());
    let renamed = Some(LabelSet::new([("stream", "renamed")]));
    steering.set(true, &Streams { stdout: renamed, stderr: None });
    write(&docker, 0, 6);
    let mut client = Client::open(&log, None);
    client.until(4).await;
    let seen: Vec<_> = client.seen.iter().map(|(_, stream, text)| format!("{stream} {text}")).collect();
    assert_eq!(seen, [1, 2, 4, 5].map(|n| format!("renamed line {n}")));
}

/// A line of 10 MB is cut, and no more than the buffer is held while nobody reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_ten_megabytes_is_cut_and_not_held_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let docker = start(folder.path(), Scripted::running("aaaa", "local"));
    let _listening = docker.listen();
    let (log, _steering) = log(&docker, &docker.world().containers[0].clone());
    docker.change(|world| {
        let frames = &mut world.containers[0].frames;
        (0..640).for_each(|_| frames.push((T, Stream::Stdout, "m".repeat(16 << 10))));
        frames.push((T, Stream::Stdout, "end\n".into()));
    });
    let mut client = Client::open(&log, None);
    client.until(41).await;
    let lengths: Vec<usize> = client.seen.iter().map(|(_, _, text)| text.len()).collect();
    assert_eq!(lengths, [vec![256 << 10; 40], vec![3]].concat());
    assert_eq!(client.cursor.as_deref(), Some("1700000000.000000000+641"));
}

/// Promtail knows seconds only: the whole second is read again, and Loki folds what it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_promtail_is_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let docker = start(folder.path(), Scripted::running("aaaa", "local"));
    let _listening = docker.listen();
    let (log, _steering) = log(&docker, &docker.world().containers[0].clone());
    assert_eq!(*log.position, *format!("cursor-{:0<64}", "aaaa"));
    docker.change(|world| {
        let frame = |n: i64| (T + n * 1_000_000_000, Stream::Stdout, format!("second {n}\n"));
        world.containers[0].frames = (0..4).map(frame).collect();
    });
    let mut client = Client::open(&log, Some("1700000002".into()));
    client.until(2).await;
    assert_eq!(client.seen.iter().map(|seen| &*seen.2).collect::<Vec<_>>(), ["second 2", "second 3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_counted_once_however_many_clients_there_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let docker = start(folder.path(), Scripted::running("aaaa", "local"));
    let _listening = docker.listen();
    write(&docker, 0, 100);
    let registry = Registry::new();
    let (log, _steering) = log_counted(&docker, &docker.world().containers[0].clone(), &registry);
    for _ in 0..2 {
        Client::open(&log, None).until(100).await;
    }
    let counted = |name: &str| {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == name).expect("a family");
        family.get_metric()[0].get_counter().get_value()
    };
    assert_eq!(counted("promtail_docker_target_entries_total"), 100.0);
    assert_eq!(counted("promtail_docker_target_parsing_errors_total"), 0.0);
}
