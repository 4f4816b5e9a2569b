//! The crate that every Annals function shares.
//!
//! A request travels one way through it: [`http`] turns bytes into [`domain`] types, a handler decides, [`store`] speaks SQL,
//! and the answer goes back through [`http`]. [`queue`] wakes the projector after an append; [`auth`] says who is calling.
//!
//! Architecture invariant: only [`store`] holds SQL, only [`http`] knows HTTP, only [`queue`] knows SQS, and [`domain`] does no
//! I/O.

pub mod app;
pub mod auth;
pub mod aws;
pub mod config;
pub mod domain;
pub mod http;
pub mod intake;
pub mod queue;
pub mod rds;
pub mod replay;
pub mod secrets;
mod since;
pub mod storage;
pub mod store;
pub mod telemetry;

pub use app::App;
