//! The environment of tests: one private cluster per test process, one database per test, and the functions' own routers in front of it.
//! Nothing is mocked. A test's queue is the channel that `local` uses; messages stay in it until the test delivers them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "support for tests: a failure here is a failed test, with its place"
)]

use std::time::Duration;

mod answer;
mod authority;
mod bucket;
mod captured;
mod cluster;
mod contract;
mod cutter;
mod frames;
mod import;
mod kpis;
mod listener;
mod local;
mod measure;
mod oracle;
mod people;
mod pgbouncer;
mod pooler;
mod property;
mod proxy;
mod rds;
mod read_models;
pub mod recorded;
mod redact;
mod refold;
mod report;
mod runtime;
mod schema_check;
mod schema_sql;
mod secrets_manager;
mod seen;
mod server;
mod silent_proxy;
mod sqs;
mod target;
mod upcast;
mod upload;
mod world;

pub use answer::Answer;
pub use authority::{Authority, Certificate, SecuredServer};
pub use bucket::{BUCKET, Bucket, Trouble};
pub use captured::{Captured, FUNCTION};
pub use cluster::{cluster, connect, set_api_password};
pub use contract::compiled;
pub use cutter::{Cutter, Strike, Victim, When};
pub use import::Asked;
pub use local::{DataDir, Local, annals_local, built};
pub use measure::{Figure, Phase, median, parent_of, repeat};
pub use oracle::{Ledger, ONCE};
pub use people::{Person, SECRET, sign};
pub use pgbouncer::{PgBouncer, SERVER_CONNECTIONS};
pub use pooler::Pooler;
pub use property::{Effort, check_property, check_property_of_world};
pub use proxy::{Fault, POOLER_FULL, Passed, Proxy};
pub use rds::{ACCESS_KEY, REGION, RdsLogin, SECRET_KEY};
pub use read_models::ReadModels;
pub use redact::redacted;
pub use refold::Refolded;
pub use report::{Line, print_lines, write_json};
pub use runtime::Runtime;
pub use schema_check::{check_schemas_in_python, install_schema_check, remove_schema_check};
pub use schema_sql::{landed_file, landed_lines, schema_file, schema_sql};
pub use secrets_manager::SecretsManager;
pub use server::{Server, Standby};
pub use silent_proxy::SilentProxy;
pub use sqs::sqs_at;
pub use target::Target;
pub use upload::{Part, multipart};
pub use world::{Files, Log, World, remove_requirements, url_at};

/// How long tests wait for what must happen. Only a failure takes this long, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(300);
