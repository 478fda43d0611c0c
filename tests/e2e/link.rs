//! A TCP connection to a server that the test can cut and restore.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

pub(crate) struct Link {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    closed: AtomicBool,
    /// Both ends of each connection.
    open: Mutex<Vec<TcpStream>>,
}

impl Link {
    /// Makes a link to the server at `upstream` (host and port).
    pub(crate) fn start(upstream: String) -> Link {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State::default());
        let serving = state.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if serving.closed.load(Ordering::Relaxed) {
                    return;
                }
                // If the server is down, the connection is closed. The client must cope with that.
                if let Ok(far) = TcpStream::connect(&upstream) {
                    let _ = serving.join(near, far);
                }
            }
        });
        Link { port, state }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends all current connections.
    pub(crate) fn cut(&self) {
        self.state.cut();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::Relaxed);
        self.state.cut();
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl State {
    fn join(&self, near: TcpStream, far: TcpStream) -> io::Result<()> {
        for (mut from, mut to) in [(near.try_clone()?, far.try_clone()?), (far.try_clone()?, near.try_clone()?)] {
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
        self.open.lock().expect("nobody panics under the lock").extend([near, far]);
        Ok(())
    }

    fn cut(&self) {
        for end in self.open.lock().expect("nobody panics under the lock").drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}
