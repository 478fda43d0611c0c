//! fantail: a node-level log agent for Grafana Loki that delivers every line once.
//!
//! ```text
//!         Kubernetes API                      /var/log/pods                                        Loki
//!               |                                   |                                                ^
//!    (1) discover --> (2) relabel --> (3) tail --> (4) stages --> (5) batch --> (6) push ------------+
//!         TargetGroup        Target        Chunk         Entry         Batch        |
//!                                           |                                       | 2xx
//!                                           +--- Ledger <---- Ack (rides with each Entry) <--+
//!                                                  |
//!                                           (7) commit position   positions journal
//! ```
//!
//! The modules below are listed in that order, in five layers; a module uses only the layers beneath its own
//! (`tests/layers.rs` holds the code to it). ARCHITECTURE.md tells the rest.

// Layer 0, the words.
pub mod goregex;
pub mod metrics;
pub mod model;
pub mod yaml;

// Layer 1, the parts: they decide, synchronously, with the time as a parameter.
pub mod batch;
pub mod positions;
pub mod relabel;
pub mod stages;
pub mod tail;

// Layer 2, the loops: they wait and move values.
pub mod discovery;
pub mod http_client;
pub mod push;
pub mod receive;
pub mod scrape;
pub mod server;

// Layer 3: everything is wired in one place.
pub mod agent;
pub mod config;

// Layer 4.
pub mod cli;
