//! What tests stand on: one private cluster per test process, one database per test, and the functions' own routers in front
//! of it. Nothing is mocked; a test's queue is the channel that `local` uses, held back until the test lets it through.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "support for tests: a failure here is a failed test, with its place"
)]

mod answer;
mod authority;
mod bucket;
mod captured;
mod cluster;
mod cutter;
mod frames;
mod import;
mod kpis;
mod line;
mod listener;
mod local;
mod old_database;
mod oracle;
mod people;
mod pgbouncer;
mod pooler;
mod proxy;
mod rds;
mod read_models;
pub mod recorded;
mod redact;
mod refold;
mod relift;
mod runtime;
mod schema_check;
mod secrets_manager;
mod server;
mod sqs;
mod upload;
mod world;

pub use answer::Answer;
pub use authority::{Authority, Certificate, SecuredServer};
pub use bucket::{BUCKET, Bucket, Trouble};
pub use captured::{Captured, FUNCTION};
pub use cluster::{cluster, connect, set_api_password};
pub use cutter::{Cutter, Strike, Victim, When};
pub use import::Asked;
pub use line::Line;
pub use local::{DataDir, Local, annals_local, built};
pub use old_database::database_at;
pub use oracle::{Ledger, ONCE};
pub use people::{Person, SECRET, sign};
pub use pgbouncer::{PgBouncer, SERVER_CONNECTIONS};
pub use pooler::Pooler;
pub use proxy::{Fault, POOLER_FULL, Passed, Proxy};
pub use rds::{ACCESS_KEY, REGION, RdsDoor, SECRET_KEY};
pub use read_models::ReadModels;
pub use redact::redacted;
pub use refold::Refolded;
pub use runtime::Runtime;
pub use schema_check::{check_schemas_in_python, install_schema_check, remove_schema_check};
pub use secrets_manager::SecretsManager;
pub use server::{Server, Standby};
pub use sqs::sqs_at;
pub use upload::{Part, multipart};
pub use world::{Files, Log, World, forget_requirements, url_at};
