//! Everything that makes `cargo run` work on one machine.
//!
//! [`cluster`] keeps a private PostgreSQL, [`serve`] puts the functions' routers on one port in front of it, [`token`] mints
//! the JWTs that an identity provider would issue, and [`demo`] fills the log through the same HTTP API that clients use.
//! Nothing here is deployed: a rule that matters to a client belongs to the functions or to the database.
//!
//! Architecture invariant: this crate holds no SQL but what sets up a cluster (roles, passwords, a database), the work that
//! Supabase or RDS does before the first migration.

pub mod bucket;
pub mod cli;
pub mod cluster;
pub mod data_dir;
pub mod database;
pub mod demo;
pub mod engine;
pub mod error;
pub mod output;
pub mod rebuild;
pub mod replay;
pub mod secrets;
pub mod serve;
pub mod server;
pub mod shutdown;
pub mod token;
pub mod verify;

pub use error::Error;
