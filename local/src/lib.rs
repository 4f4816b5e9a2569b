//! Annals on one machine: what `cargo run` does.
//!
//! [`cluster`] runs a private PostgreSQL, [`serve`] serves the functions' routers on one port, [`token`] signs the JWTs that an identity
//! provider would issue, and [`demo`] fills the log through the same HTTP API that clients use. Nothing here is deployed, so a rule that
//! matters to a client belongs to the functions or to the database.
//!
//! Architecture invariant: the only SQL in this crate sets up a cluster (roles, passwords, a database). Supabase and RDS do the same before
//! the first migration.

pub mod bucket;
pub mod cli;
pub mod cluster;
pub mod cors;
pub mod data_dir;
pub mod database;
pub mod demo;
pub mod engine;
pub mod environment;
pub mod error;
pub mod output;
pub mod progress;
pub mod rebuild;
pub mod replay;
pub mod secrets;
pub mod serve;
pub mod server;
pub mod shutdown;
pub mod tail;
pub mod token;
pub mod verify;

pub use error::Error;
