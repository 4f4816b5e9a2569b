//! What the HTTP functions have in common ([`Core`]: the store and the verifier of tokens), and the two
//! readers of the whole log: [`replay`] reads up to its end, [`follow`] waits for more.

mod app;
pub mod auth;
pub mod follow;
pub mod replay;

pub use app::{Core, StartError};
