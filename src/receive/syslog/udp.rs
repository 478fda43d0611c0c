//! Syslog over UDP. A sender cannot be made to wait, so messages without room are lost, and counted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, Interval, interval_at};

use super::frames::Frames;
use super::records::{Records, Shared};
use crate::receive::live::{Closed, Current};
use crate::scrape::Parcel;

/// The largest datagram.
const DATAGRAM: usize = 64 << 10;

/// The most datagrams that are handed in together.
const TOGETHER: usize = 256;

/// How often the kernel's count of dropped datagrams is read.
const LOOK: Duration = Duration::from_secs(10);

/// Serves until `shutdown`. Then what waits in the socket is handed in as far as there is room, and the rest is counted, unless
/// the next server of the same socket reads it.
pub(in crate::receive) async fn serve(
    shared: Shared,
    (socket, drops): (UdpSocket, Arc<Drops>),
    current: Current,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = std::pin::pin!(shutdown);
    let look = interval_at(Instant::now() + LOOK, LOOK);
    let mut server = Server { shared, socket, drops, current, look, buffer: vec![0; DATAGRAM] };
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            _ = server.look.tick() => server.count_drops(),
            readable = server.socket.readable() => if readable.is_ok() {
                let (parcels, _) = server.read();
                if server.hand_in(parcels, shutdown.as_mut()).await.is_err() {
                    break;
                }
            },
        }
    }
    if server.drops.is_closing.load(Ordering::Relaxed) {
        server.read_out().await;
    }
    server.count_drops();
}

struct Server {
    shared: Shared,
    socket: UdpSocket,
    drops: Arc<Drops>,
    current: Current,
    look: Interval,
    buffer: Vec<u8>,
}

impl Server {
    /// Reads the datagrams that are there, but not too many. A parcel for each sender, and the bytes that were read.
    fn read(&mut self) -> (Vec<Parcel>, usize) {
        let Self { shared, socket, current, buffer, .. } = self;
        let (mut senders, mut bytes): (HashMap<IpAddr, Records>, usize) = Default::default();
        for _ in 0..TOGETHER {
            let Ok((length, peer)) = socket.try_recv_from(buffer) else { break };
            let ip = peer.ip().to_canonical();
            let records = senders.entry(ip).or_insert_with(|| Records::new(shared.clone(), ip.to_string(), current));
            datagram(&buffer[..length], shared, records);
            // An empty one has a header in the kernel's buffer too.
            bytes += length.max(1);
        }
        (senders.values_mut().filter_map(|records| records.take(current)).collect(), bytes)
    }

    /// The same until nothing is left of what the socket can hold. Senders may go on sending.
    async fn read_out(&mut self) {
        let mut left = socket2::SockRef::from(&self.socket).recv_buffer_size().unwrap_or_default();
        while left > 0 {
            let (parcels, bytes) = self.read();
            if bytes == 0 {
                break;
            }
            left = left.saturating_sub(bytes);
            // What cannot be handed in is counted.
            let _ = self.hand_in(parcels, std::future::ready(())).await;
        }
    }

    /// Waits until a client has room. If the receiver ends before that, all that is left is lost, and counted.
    async fn hand_in(
        &mut self,
        parcels: Vec<Parcel>,
        mut shutdown: impl Future<Output = ()> + Unpin,
    ) -> Result<(), Closed> {
        let Self { shared, drops, current, look, .. } = self;
        let mut left: u64 = parcels.iter().map(|parcel| parcel.bytes() as u64).sum();
        for parcel in parcels {
            let (bytes, lines) = (parcel.bytes() as u64, parcel.len());
            // While no client has room, the kernel keeps datagrams in its buffer, as far as there is space.
            let mut put = std::pin::pin!(current.put_to_some(parcel, Duration::ZERO, &mut shutdown));
            let taken = loop {
                tokio::select! {
                    biased;
                    taken = &mut put => break taken,
                    _ = look.tick() => drops.count(shared),
                }
            };
            match taken {
                Ok(taken) => {
                    shared.metrics.lines(&shared.job, lines);
                    shared.metrics.missed(&shared.job, taken.missed, bytes);
                }
                Err(Closed) => {
                    shared.metrics.missed(&shared.job, 1, left);
                    return Err(Closed);
                }
            }
            left -= bytes;
        }
        Ok(())
    }

    fn count_drops(&self) {
        self.drops.count(&self.shared);
    }
}

fn datagram(bytes: &[u8], shared: &Shared, records: &mut Records) {
    let mut frames = Frames::new(shared.config.max_message_length);
    frames.push(bytes);
    records.add(&mut frames, true);
}

/// Counts the datagrams that the kernel dropped because the socket's buffer was full. It is as old as the socket, so
/// that those which one server has counted are not counted by the next one.
#[derive(Debug)]
pub(in crate::receive) struct Drops {
    inode: Option<u64>,
    seen: AtomicU64,
    /// There were some when they were counted last.
    is_dropping: AtomicBool,
    /// No other server reads from the socket after this one.
    is_closing: AtomicBool,
}

impl Drops {
    pub fn of(socket: impl AsFd) -> Self {
        let inode = rustix::fs::fstat(socket.as_fd()).ok().map(|stat| stat.st_ino);
        Self { inode, seen: AtomicU64::new(0), is_dropping: AtomicBool::default(), is_closing: AtomicBool::default() }
    }

    /// The socket will be closed: what it holds is not read by another server.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    /// Counts those since the last call, and says so when they begin.
    fn count(&self, shared: &Shared) {
        let datagrams = self.more();
        let goes_on = self.is_dropping.swap(datagrams > 0, Ordering::Relaxed);
        shared.metrics.kernel_drops(&shared.job, datagrams, !goes_on);
    }

    /// The number of dropped datagrams since the last call.
    fn more(&self) -> u64 {
        let Some(inode) = self.inode else { return 0 };
        let tables = ["/proc/self/net/udp", "/proc/self/net/udp6"];
        let found = tables.iter().find_map(|table| dropped(&std::fs::read_to_string(table).ok()?, inode));
        let Some(now) = found else { return 0 };
        now.saturating_sub(self.seen.fetch_max(now, Ordering::Relaxed))
    }
}

/// The last column of the line with this inode, which is the tenth.
fn dropped(table: &str, inode: u64) -> Option<u64> {
    let line = table.lines().skip(1).find(|line| line.split_whitespace().nth(9) == Some(&inode.to_string()))?;
    line.split_whitespace().last()?.parse().ok()
}

pub(in crate::receive) fn bind(address: &str) -> std::io::Result<std::net::UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Sets the size of the kernel's buffer. The kernel allows at most `net.core.rmem_max`.
pub(in crate::receive) fn set_buffer(socket: &std::net::UdpSocket, bytes: usize) {
    if bytes == 0 {
        return;
    }
    let socket = socket2::SockRef::from(socket);
    let set = socket.set_recv_buffer_size(bytes).and_then(|()| socket.recv_buffer_size());
    // Linux reports twice the size that was set.
    if set.is_ok_and(|size| size / 2 < bytes) {
        tracing::warn!(
            bytes,
            "syslog: the kernel gives the UDP socket a smaller receive_buffer: raise the sysctl net.core.rmem_max"
        );
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::metrics::Registry;
    use crate::receive::Metrics;
    use crate::receive::labels::Labeller;
    use crate::receive::live::{Live, Queue};
    use crate::receive::syslog::Config;
    use crate::receive::testing::{clients, receiver};

    #[tokio::test]
    async fn what_the_kernel_dropped_is_found_in_its_table() {
        let receiver = bind("127.0.0.1:0").expect("a port");
        set_buffer(&receiver, 4_096);
        let address = receiver.local_addr().expect("an address");
        let receiver = UdpSocket::from_std(receiver).expect("a socket");
        let drops = Drops::of(&receiver);
        assert_eq!(drops.more(), 0);
        let sender = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        for _ in 0..200 {
            sender.send_to(&[b'x'; 1_000], address).await.expect("sent");
        }
        let mut buffer = [0; 2_000];
        let kept = std::iter::from_fn(|| receiver.try_recv_from(&mut buffer).ok()).count() as u64;
        let lost = drops.more();
        assert!(lost > 0);
        // The first attempt may see no datagram although there is one.
        assert!(kept + lost <= 200, "{kept} and {lost}");
        assert_eq!(drops.more(), 0);
    }

    struct Rig {
        server: Server,
        registry: Registry,
        _clients: Vec<crate::receive::testing::Client>,
        _live: tokio::sync::watch::Sender<Arc<Live>>,
    }

    impl Rig {
        fn new() -> Self {
            let registry = Registry::new();
            let metrics = Metrics::register(&registry, crate::scrape::Metrics::register(&registry));
            let config: Config =
                crate::yaml::from_str("listen_address: 127.0.0.1:0\nlisten_protocol: udp").expect("a config");
            let shared = Shared::new("job".into(), config.clone(), metrics);
            let (intake, _clients) = clients(1);
            let rules = receiver(crate::receive::Config::Syslog(Box::new(config)), "[]").rules;
            let labeller = std::sync::Mutex::new(Labeller::new("job".into(), Default::default(), rules.clone()));
            let live = Live { queue: Queue::Memory(intake), labeller, reads: rules.reads() };
            let (_live, current) = tokio::sync::watch::channel(Arc::new(live));
            let socket = UdpSocket::from_std(bind("127.0.0.1:0").expect("a port")).expect("a socket");
            let server = Server {
                shared,
                drops: Arc::new(Drops::of(&socket)),
                socket,
                current: Current(current),
                look: interval_at(Instant::now() + LOOK, LOOK),
                buffer: vec![0; DATAGRAM],
            };
            Self { server, registry, _clients, _live }
        }

        fn count(&self, name: &str) -> usize {
            count(&self.registry, name)
        }

        /// Until no client has room.
        async fn fill(&mut self) {
            let mut goes_on = std::future::pending();
            for length in [1 << 18, 1 << 10] {
                while self.server.hand_in(vec![parcel(length)], &mut goes_on).now_or_never().is_some() {}
            }
        }

        async fn send(&self, datagrams: usize) {
            let sender = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
            let address = self.server.socket.local_addr().expect("an address");
            for _ in 0..datagrams {
                let message = format!("<13>1 - - - - - - {}", "x".repeat(1_000));
                sender.send_to(message.as_bytes(), address).await.expect("sent");
            }
            self.server.socket.readable().await.expect("a datagram");
        }

        /// Serves after the receiver was told to end.
        async fn end(&mut self) {
            let Server { shared, drops, current, .. } = &self.server;
            let socket = socket2::SockRef::from(&self.server.socket).try_clone().expect("a copy");
            let socket = UdpSocket::from_std(socket.into()).expect("a socket");
            socket.readable().await.expect("a datagram");
            serve(shared.clone(), (socket, drops.clone()), current.clone(), std::future::ready(())).await;
        }
    }

    fn count(registry: &Registry, name: &str) -> usize {
        let families = registry.gather();
        let metrics = families.iter().find(|family| family.name() == name).map(|family| family.get_metric());
        metrics.into_iter().flatten().map(|metric| metric.get_counter().get_value()).sum::<f64>() as usize
    }

    fn parcel(length: usize) -> Parcel {
        let mut parcel = Parcel::default();
        parcel.push_to(&"x".repeat(length), None, Vec::new(), (None, None));
        parcel
    }

    /// Datagrams of three senders are there, no client has room, and the receiver ends.
    #[tokio::test]
    async fn all_that_is_left_at_the_end_is_counted() {
        let mut rig = Rig::new();
        rig.fill().await;
        let left = [1 << 18, 1 << 17, 1 << 16].map(parcel);
        let bytes: usize = left.iter().map(Parcel::bytes).sum();
        let outcome = rig.server.hand_in(left.into(), std::future::ready(())).await;
        assert_eq!((outcome, rig.count("fantail_lost_bytes_total")), (Err(Closed), bytes));
    }

    /// What the socket holds when the receiver ends is taken if there is room, and counted otherwise. If another server goes on
    /// with the socket, it is left there.
    #[tokio::test]
    async fn what_the_socket_holds_at_the_end_is_taken_or_counted() {
        for (closes, is_full, taken, lost) in
            [(true, false, 50, 0), (true, true, 0, 50), (false, false, 0, 0), (false, true, 0, 0)]
        {
            let mut rig = Rig::new();
            if is_full {
                rig.fill().await;
            }
            let before = rig.count("fantail_received_lines_total");
            rig.send(50).await;
            if closes {
                rig.server.drops.close();
            }
            rig.end().await;
            let case = format!("closes: {closes}, is full: {is_full}");
            assert_eq!(rig.count("fantail_received_lines_total") - before, taken, "{case}");
            assert_eq!(rig.count("fantail_lost_bytes_total") / 1_000, lost, "{case}");
            let mut left = 0;
            while rig.server.socket.try_recv_from(&mut [0; 2_000]).is_ok() {
                left += 1;
            }
            assert_eq!(left, 50 - taken - lost, "{case}");
        }
    }

    /// While Loki is away, it is seen that the kernel drops datagrams.
    #[tokio::test]
    async fn drops_are_counted_while_no_client_has_room() {
        let mut rig = Rig::new();
        rig.fill().await;
        socket2::SockRef::from(&rig.server.socket).set_recv_buffer_size(4_096).expect("set");
        rig.send(200).await;
        let Rig { server, registry, .. } = &mut rig;
        server.look = interval_at(Instant::now(), Duration::from_millis(10));
        let seen = async {
            while ["fantail_syslog_dropped_datagrams_total", "fantail_losses_total"]
                .iter()
                .any(|name| count(registry, name) == 0)
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let mut goes_on = std::future::pending();
        tokio::select! {
            _ = server.hand_in(vec![parcel(1 << 18)], &mut goes_on) => panic!("there is no room"),
            seen = tokio::time::timeout(Duration::from_secs(20), seen) => seen.expect("counted"),
        }
    }

    #[test]
    fn a_line_of_the_kernels_table() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
            7: 0100007F:05EA 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 42\n";
        assert_eq!(dropped(table, 4_711), Some(42));
        assert_eq!(dropped(table, 4_712), None);
    }
}
