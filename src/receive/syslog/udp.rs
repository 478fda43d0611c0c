//! Syslog over UDP. A sender cannot be made to wait, so messages without room are lost, and counted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, interval_at};

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

/// Serves until `shutdown`.
pub(in crate::receive) async fn serve(
    shared: Shared,
    (socket, drops): (UdpSocket, Arc<Drops>),
    mut current: Current,
    shutdown: impl Future<Output = ()>,
) {
    let mut buffer = vec![0; DATAGRAM];
    let mut look = interval_at(Instant::now() + LOOK, LOOK);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let received = tokio::select! {
            () = &mut shutdown => break,
            _ = look.tick() => {
                shared.metrics.syslog.kernel_drops(&shared.job, drops.more());
                continue;
            }
            received = socket.recv_from(&mut buffer) => received,
        };
        let mut senders: HashMap<IpAddr, Records> = HashMap::new();
        let mut next = received.ok();
        for _ in 0..TOGETHER {
            let Some((length, peer)) = next else { break };
            let ip = peer.ip().to_canonical();
            let records = senders.entry(ip).or_insert_with(|| Records::new(shared.clone(), ip.to_string(), &current));
            datagram(&buffer[..length], &shared, records);
            next = socket.try_recv_from(&mut buffer).ok();
        }
        if let Some((length, peer)) = next {
            let ip = peer.ip().to_canonical();
            let records = senders.entry(ip).or_insert_with(|| Records::new(shared.clone(), ip.to_string(), &current));
            datagram(&buffer[..length], &shared, records);
        }
        let parcels = senders.values_mut().filter_map(|records| records.take(&current)).collect();
        if hand_in(&shared, parcels, &mut current, shutdown.as_mut()).await.is_err() {
            break;
        }
    }
    shared.metrics.syslog.kernel_drops(&shared.job, drops.more());
}

/// Waits until a client has room. If the receiver ends before that, all that is left is lost, and counted.
async fn hand_in(
    shared: &Shared,
    parcels: Vec<Parcel>,
    current: &mut Current,
    mut shutdown: impl Future<Output = ()> + Unpin,
) -> Result<(), Closed> {
    let mut left: u64 = parcels.iter().map(|parcel| parcel.bytes() as u64).sum();
    for parcel in parcels {
        let (bytes, lines) = (parcel.bytes() as u64, parcel.len());
        // While no client has room, the kernel keeps datagrams in its buffer, as far as there is space.
        let taken = tokio::select! {
            taken = current.put_to_some(parcel, Duration::ZERO) => taken,
            () = &mut shutdown => Err(Closed),
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
}

impl Drops {
    pub fn of(socket: impl AsFd) -> Self {
        let inode = rustix::fs::fstat(socket.as_fd()).ok().map(|stat| stat.st_ino);
        Self { inode, seen: AtomicU64::new(0) }
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

    /// Datagrams of three senders are there, no client has room, and the receiver ends.
    #[tokio::test]
    async fn all_that_is_left_at_the_end_is_counted() {
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
        let mut current = Current(current);
        let parcel = |length: usize| {
            let mut parcel = Parcel::default();
            parcel.push_to(&"x".repeat(length), None, Vec::new(), (None, None));
            parcel
        };
        let mut goes_on = std::future::pending();
        while hand_in(&shared, vec![parcel(1 << 18)], &mut current, &mut goes_on).now_or_never().is_some() {}
        let left = [1 << 18, 1 << 17, 1 << 16].map(parcel);
        let bytes: usize = left.iter().map(Parcel::bytes).sum();
        let outcome = hand_in(&shared, left.into(), &mut current, std::future::ready(())).await;
        assert_eq!(outcome, Err(Closed));
        let families = registry.gather();
        let lost = families.iter().find(|family| family.name() == "fantail_lost_bytes_total").expect("registered");
        let lost: f64 = lost.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum();
        assert_eq!(lost as usize, bytes);
    }

    #[test]
    fn a_line_of_the_kernels_table() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
            7: 0100007F:05EA 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 42\n";
        assert_eq!(dropped(table, 4_711), Some(42));
        assert_eq!(dropped(table, 4_712), None);
    }
}
