//! `syslog`: messages over TCP, UDP and TLS.
//!
//! ```yaml
//! scrape_configs:
//!   - job_name: syslog
//!     syslog:
//!       listen_address: 0.0.0.0:1514
//!       listen_protocol: tcp           # or udp
//!       idle_timeout: 120s             # a TCP connection that sends nothing for so long is closed
//!       label_structured_data: false
//!       labels: {job: syslog}
//!       use_incoming_timestamp: false
//!       use_rfc5424_message: false     # the whole message instead of its text
//!       syslog_format: rfc5424         # has no effect: both formats are told apart
//!       max_message_length: 8192       # longer messages are cut
//!       tls_config: {}                 # cert_file, key_file; with ca_file clients need a certificate
//!       max_connections: 1024
//!       receive_buffer: 0              # SO_RCVBUF of a UDP socket in bytes; 0 is the system's default
//! ```

mod config;
mod frames;
mod message;
mod parse;
mod records;
mod rfc3164;
mod rfc5424;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

pub use config::Config;
pub use frames::{Frame, Frames};
pub use message::Message;
pub use parse::parse;
pub(super) use records::Shared;
pub(super) use tcp::serve as serve_tcp;
pub(super) use udp::{Drops, bind as bind_udp, serve as serve_udp, set_buffer};

use std::time::Duration;

/// The longest wait for a client without room while another client has room. Then the first one loses these records.
const PATIENCE: Duration = Duration::from_secs(5);
