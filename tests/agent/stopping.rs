//! The end of the agent: requests and lines that are finished first, and those that are not.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::rig::{Loki, Rig, SOON, line, wait_until};

#[test]
fn with_loki_away_it_stops_promptly_and_sends_everything_later() {
    let mut rig = Rig::new();
    rig.write("logs/a.log", "one\ntwo\n");
    // A port without a listener.
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let config = rig.config(&format!("http://{free}/push"), "");
    rig.start(&config);
    wait_until("the failure is said", SOON, || {
        rig.said().contains(&free.to_string()) && rig.said().contains("level=warn")
    });
    rig.signal("-TERM");
    assert_eq!(rig.ended(Duration::from_secs(5)), Some(0));

    let loki = Loki::answering(204);
    let config = rig.config(&loki.url, "");
    rig.start(&config);
    wait_until("both lines are there", SOON, || loki.stored().len() >= 2);
    rig.signal("-TERM");
    assert_eq!(rig.ended(SOON), Some(0));
    assert_eq!(loki.stored(), [line(&rig, "logs/a.log", "one"), line(&rig, "logs/a.log", "two")]);
}

#[test]
fn a_loki_that_never_answers_is_left_at_the_second_signal() {
    let (loki, mut rig) = (Loki::start(None), Rig::new());
    rig.write("logs/a.log", "one\n");
    let config = rig.config(&loki.url, "");
    rig.start(&config);
    wait_until("a push is on its way", SOON, || loki.requests() > 0);
    rig.signal("-TERM");
    wait_until("the signal is heard", SOON, || rig.said().contains("stopping"));
    rig.signal("-TERM");
    assert_eq!(rig.ended(Duration::from_secs(3)), Some(0));
}

/// An agent with a connection that has sent half of a request: the connection, and the address of the pages.
fn half_a_request(rig: &mut Rig, grace: &str) -> (TcpStream, String) {
    let config = rig.config("http://127.0.0.1:9/push", "");
    let text = fs::read_to_string(&config)
        .expect("read")
        .replace("http_listen_port: 0", &format!("http_listen_port: 0, graceful_shutdown_timeout: {grace}"));
    fs::write(&config, text).expect("written");
    rig.start(&config);
    let address = || Some(rig.said().split("http=").nth(1)?.split_whitespace().next()?.to_string());
    wait_until("it says where its pages are", SOON, || address().is_some());
    let address = address().expect("it was just said");
    let mut stream = TcpStream::connect(&address).expect("it listens");
    stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n").expect("it reads");
    // A later connection was answered, so the agent knows this one.
    let mut other = TcpStream::connect(&address).expect("it listens");
    other.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    other.read_to_string(&mut answer).expect("it answers");
    assert!(answer.ends_with("Healthy\n"), "{answer}");
    (stream, address)
}

#[test]
fn a_request_under_way_at_the_end_is_answered() {
    let mut rig = Rig::new();
    let (mut stream, address) = half_a_request(&mut rig, "20s");
    rig.signal("-TERM");
    wait_until("nobody is let in any more", SOON, || TcpStream::connect(&address).is_err());
    stream.write_all(b"\r\n").expect("it still reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.ends_with("Healthy\n"), "{answer}");
    assert_eq!(rig.ended(SOON), Some(0));
}

#[test]
fn a_request_that_goes_on_for_ever_holds_up_the_end_for_its_grace_alone() {
    let mut rig = Rig::new();
    let (_stream, _) = half_a_request(&mut rig, "300ms");
    rig.signal("-TERM");
    assert_eq!(rig.ended(SOON), Some(0));
    // Or until a second signal.
    let mut rig = Rig::new();
    let (_stream, address) = half_a_request(&mut rig, "10m");
    rig.signal("-TERM");
    wait_until("nobody is let in any more", SOON, || TcpStream::connect(&address).is_err());
    rig.signal("-TERM");
    assert_eq!(rig.ended(SOON), Some(0));
}
