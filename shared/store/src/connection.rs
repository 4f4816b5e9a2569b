//! What a connection is, and how transactions run on it.

pub(crate) mod access;
pub(crate) mod connect;
pub(crate) mod consistent_read;
pub(crate) mod error;
pub(crate) mod lease;
pub(crate) mod login;
pub(crate) mod pool;
pub(crate) mod session;
pub(crate) mod statement;
pub(crate) mod tls;
