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
//! The modules below are listed by layer. There are five layers, and a module uses only lower layers (`tests/layers.rs`
//! checks this). See ARCHITECTURE.md.

// Layer 0: shared types.
pub mod goregex;
pub mod metrics;
pub mod model;
pub mod yaml;

// Layer 1: logic. Synchronous, with the time as a parameter.
pub mod backoff;
pub mod batch;
pub mod journal;
pub mod positions;
pub mod relabel;
pub mod spool;
pub mod stages;
pub mod tail;

// Layer 2: loops. They wait for events and pass values on.
pub mod compare;
pub mod discovery;
pub mod http_client;
pub mod push;
pub mod receive;
pub mod scrape;
pub mod server;

// Layer 3: connects all modules.
pub mod agent;
pub mod config;
pub mod demo;
pub mod explain;

// Layer 4: the command line.
pub mod cli;
