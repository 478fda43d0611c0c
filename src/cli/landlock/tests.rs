//! Attempts behind seccomp and Landlock: the table in `docs/security.md`.

use std::io::{ErrorKind, Read};
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Command, Stdio};

use super::*;
use crate::cli::seccomp;

/// The attempts, in the order of `attempts.c`, and whether seccomp and Landlock refuse them.
const ATTEMPTS: [(&str, bool, bool); 29] = [
    ("trace another process (`ptrace`)", true, true),
    ("read another process's memory (`process_vm_readv`)", true, true),
    ("read another process's environment (`/proc/PID/environ`)", false, true),
    ("send a signal to another process", false, true),
    ("open a file by its handle (`open_by_handle_at`)", true, true),
    ("mount", true, true),
    ("make namespaces (`unshare`)", true, false),
    ("change the root (`chroot`)", true, false),
    ("load BPF", true, false),
    ("use io_uring", true, false),
    ("use the kernel's keys (`keyctl`)", true, false),
    ("read a file that is neither a log nor named in the config", false, true),
    ("write a file outside the positions' directory", false, true),
    ("write into a log", false, true),
    ("truncate a log", false, true),
    ("remove a log", false, true),
    ("link a log into the positions' directory", false, true),
    ("make a device node", true, true),
    ("make a link in the positions' directory", false, true),
    ("connect to a port that the config does not name", false, true),
    ("listen on another port", false, true),
    ("connect to an abstract Unix socket", false, true),
    ("read any pod's log", false, false),
    ("write the positions", false, false),
    ("send logs to a port that the config names, on any host", false, false),
    ("send logs over UDP, for example in a DNS query", false, false),
    ("connect to a Unix socket by its path", false, false),
    ("see that a file exists, and its size", false, false),
    ("change a log's mode or owner", false, false),
];

/// Runs `tried` in its own thread, because the restrictions apply to the calling thread and the threads that it starts.
fn within<T: Send + 'static>(walls: impl FnOnce() + Send + 'static, tried: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        walls();
        // The restrictions also apply to threads started later.
        std::thread::spawn(tried).join().expect("it does not panic")
    });
    thread.join().expect("it does not panic")
}

fn walls(base: &Path, connect: &[u16]) -> Walls {
    let mut read = places::system();
    read.extend(["logs", "positions", "bin"].map(|folder| base.join(folder)));
    Walls {
        read: Some(read),
        write: Some(base.join("positions")),
        connect: Some(connect.iter().copied().collect()),
        listen: Some([1].into()),
    }
}

/// The objects of the attempts: a log, positions, a secret, sockets, and an idle process.
struct Scene {
    dir: tempfile::TempDir,
    other: std::process::Child,
    named: TcpListener,
    unnamed: TcpListener,
    _udp: UdpSocket,
    _unix: [UnixListener; 2],
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| dir.path().join(name);
        for folder in ["logs", "positions", "mnt", "bin"] {
            fs::create_dir(at(folder)).expect("made");
        }
        for file in ["logs/a.log", "logs/b.log", "secret"] {
            fs::write(at(file), "line\n").expect("written");
        }
        fs::write(at("attempts.c"), include_str!("tests/attempts.c")).expect("written");
        let made = Command::new("cc").arg(at("attempts.c")).arg("-o").arg(at("bin/attempts")).status();
        assert!(made.expect("a C compiler, which the build needs as well").success());
        let mut other = Command::new(at("bin/attempts")).arg("wait").stdout(Stdio::piped()).spawn().expect("started");
        let mut ready = [0; 5];
        other.stdout.as_mut().expect("piped").read_exact(&mut ready).expect("it is ready");
        let port = || TcpListener::bind("127.0.0.1:0").expect("a free port");
        let unnamed = port();
        let name = SocketAddr::from_abstract_name(at("abstract").as_os_str().as_encoded_bytes()).expect("a name");
        let unix = [UnixListener::bind_addr(&name), UnixListener::bind(at("socket"))].map(|s| s.expect("listening"));
        Self {
            other,
            _udp: UdpSocket::bind(unnamed.local_addr().expect("an address")).expect("the same port"),
            named: port(),
            unnamed,
            _unix: unix,
            dir,
        }
    }

    fn port(&self) -> u16 {
        self.named.local_addr().expect("an address").port()
    }

    /// Which attempts fail behind these restrictions.
    fn refused(&self, walls: impl FnOnce() + Send + 'static) -> Vec<bool> {
        for made in ["beside", "positions/linked", "positions/device", "positions/link"] {
            let _ = fs::remove_file(self.dir.path().join(made));
        }
        fs::write(self.dir.path().join("logs/b.log"), "line\n").expect("written");
        let unnamed = self.unnamed.local_addr().expect("an address").port();
        let mut command = Command::new(self.dir.path().join("bin/attempts"));
        command.arg(self.dir.path()).arg(self.other.id().to_string());
        command.arg(self.port().to_string()).arg(unnamed.to_string());
        let output = within(walls, move || command.output()).expect("it runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let errors = text.lines().filter_map(|line| line.split_once(' ')?.1.parse::<i32>().ok());
        let refusals = [libc::EPERM, libc::EACCES, libc::EXDEV];
        errors.map(|error| refusals.contains(&error)).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.other.kill();
        let _ = self.other.wait();
    }
}

#[test]
fn what_is_tried_from_inside_and_what_refuses_it() {
    let scene = Scene::new();
    let (base, port) = (scene.dir.path().to_path_buf(), scene.port());
    // Execution stays allowed, because the attempts are a program.
    let landlock = move || {
        let handled = AccessFs::from_all(ABI) & !AccessFs::Execute;
        walls(&base, &[port]).build(handled).expect("this kernel knows Landlock");
    };
    let without = scene.refused(|| ());
    let by_seccomp = scene.refused(|| seccomp::apply_but(&[libc::SYS_execve]).expect("this kernel knows seccomp"));
    let by_landlock = scene.refused(landlock);
    assert_eq!([without.len(), by_seccomp.len(), by_landlock.len()], [ATTEMPTS.len(); 3]);
    let table = include_str!("../../../docs/security.md");
    for (i, (what, seccomp, landlock)) in ATTEMPTS.into_iter().enumerate() {
        // Without root, some attempts fail anyway.
        if !without[i] {
            assert_eq!((by_seccomp[i], by_landlock[i]), (seccomp, landlock), "{what}: seccomp, Landlock");
        }
        let word = |refuses| if refuses { "refuses" } else { "–" };
        let row = format!("| {what} | {} | {} |", word(seccomp), word(landlock));
        assert!(table.contains(&row), "docs/security.md has no row\n{row}");
    }
    let possible = without.iter().filter(|refused| !**refused).count();
    assert!(possible > 15, "most of it has to be possible without walls: {without:?}");
}

#[test]
fn no_program_is_run() {
    let dir = tempfile::tempdir().expect("a folder");
    let base = dir.path().to_path_buf();
    for folder in ["positions", "bin"] {
        fs::create_dir(base.join(folder)).expect("made");
    }
    // The program may only be read.
    let program = base.join("bin/true");
    fs::copy("/bin/true", &program).expect("copied");
    assert!(Command::new(&program).status().expect("it runs").success());
    let ran = within(
        move || drop(walls(&base, &[]).build(AccessFs::from_all(ABI)).expect("this kernel knows Landlock")),
        move || Command::new(&program).status().map_err(|e| e.kind()),
    );
    assert_eq!(ran.expect_err("it is refused"), ErrorKind::PermissionDenied);
}

#[test]
fn what_comes_later_is_read_and_written() {
    let dir = tempfile::tempdir().expect("a folder");
    let base = fs::canonicalize(dir.path()).expect("there");
    let at = |name: &str| base.join(name);
    for folder in ["x/app/logs", "secret", "state"] {
        fs::create_dir_all(at(folder)).expect("made");
    }
    fs::write(at("x/app/logs/0.log"), "old").expect("written");
    fs::write(at("secret/token"), "old").expect("written");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let needs = Needs {
        logs: [at("x/app/logs"), at("x/app/later/still")].into(),
        files: [at("secret/token")].into(),
        positions: at("state/p.yaml"),
        ports: [listener.local_addr().expect("an address").port()].into(),
        listens: [0].into(),
        ..Needs::default()
    };
    let (walls, why_all) = Walls::of(&needs, true);
    assert_eq!(why_all, Vec::<String>::new());
    // This thread makes directories again and is not restricted, because it starts first.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (ready, made) = std::sync::mpsc::channel::<()>();
    let maker = base.clone();
    std::thread::spawn(move || {
        wait.recv().expect("told");
        let at = |name: &str| maker.join(name);
        fs::rename(at("x/app/logs"), at("x/app/old")).expect("renamed");
        for name in ["x/app/logs/0.log", "x/app/later/still/1.log", "secret/new", "other/x"] {
            fs::create_dir_all(at(name).parent().expect("a folder")).expect("made");
            fs::write(at(name), "new").expect("written");
        }
        fs::rename(at("secret/new"), at("secret/token")).expect("renamed");
        ready.send(()).expect("heard");
    });
    let done = within(
        move || drop(walls.build(AccessFs::from_all(ABI)).expect("this kernel knows Landlock")),
        move || {
            go.send(()).expect("heard");
            made.recv().expect("made");
            let at = |name: &str| base.join(name);
            let read = ["x/app/logs/0.log", "x/app/later/still/1.log", "secret/token"]
                .map(|name| fs::read_to_string(at(name)));
            fs::write(at("state/p.yaml.tmp"), "x").expect("written");
            fs::rename(at("state/p.yaml.tmp"), at("state/p.yaml")).expect("renamed");
            let outside = fs::read_to_string(at("other/x")).map_err(|e| e.kind());
            std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("the port is named");
            TcpListener::bind("127.0.0.1:0").expect("any port was asked for");
            (read.map(|text| text.expect("it may be read")), outside)
        },
    );
    assert_eq!(done.0, ["new", "new", "new"]);
    assert_eq!(done.1, Err(ErrorKind::PermissionDenied));
}

#[test]
fn positions_that_are_a_link_are_read_where_they_are() {
    let dir = tempfile::tempdir().expect("a folder");
    let base = fs::canonicalize(dir.path()).expect("there");
    for folder in ["old", "state"] {
        fs::create_dir(base.join(folder)).expect("made");
    }
    fs::write(base.join("old/p.yaml"), "positions: {}").expect("written");
    std::os::unix::fs::symlink("../old/p.yaml", base.join("state/p.yaml")).expect("linked");
    let needs = Needs { positions: base.join("state/p.yaml"), ..Needs::default() };
    let (walls, _) = Walls::of(&needs, true);
    let read = walls.read.expect("reading is restricted");
    assert!(read.contains(&base.join("old/p.yaml")) && !read.contains(&base.join("old")), "{read:?}");
    assert_eq!(walls.write, Some(base.join("state")), "it is replaced by a file there");
}
