//! What the HTTP functions have in common ([`Core`]: the store and the verifier of tokens), and the replay of the log.

mod app;
pub mod auth;
pub mod replay;

pub use app::{Core, StartError};
