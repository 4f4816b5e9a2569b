//! Shared by the crates that call AWS: the SDK's settings, signed requests, secrets of AWS Secrets Manager, tokens that log in to RDS,
//! repeated attempts, and a clock for processes that may be frozen.

pub mod attempts;
pub mod rds;
pub mod secrets;
pub mod settings;
pub mod signer;
pub mod since;
