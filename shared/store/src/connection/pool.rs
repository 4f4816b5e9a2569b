//! Connections as the pool opens them, and when it uses one again.

use std::ops::Deref;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use annals_aws::since::Since;
use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::Client;

use super::access::Access;
use super::error::ConnectError;
use crate::migrations::schema_check::SchemaCheck;

/// Time limit of a probe. A connection that does not answer within it is replaced, because opening a new one is faster than waiting.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// The probe: an empty statement, which is the cheapest request that a server, or the server behind a pooler, answers.
const PROBE: &str = "-- still_there\n";
/// The two clocks of a process differ by less than this, unless the process was frozen or a clock was set.
const CLOCKS_DIFFER: Duration = Duration::from_secs(1);

/// Opens the pool's connections, and probes them before use.
pub(crate) struct Connector {
    access: Access,
    schema: SchemaCheck,
    freezes: FreezeDetector,
}

/// An open connection. Dropping it ends the task that drives it.
pub(crate) struct Connection {
    client: Client,
    driver: JoinHandle<()>,
}

impl Connector {
    pub(crate) fn new(access: Access) -> Self {
        Self {
            access,
            schema: SchemaCheck::default(),
            freezes: FreezeDetector::default(),
        }
    }
}

impl Manager for Connector {
    type Type = Connection;
    type Error = ConnectError;

    async fn create(&self) -> Result<Connection, ConnectError> {
        let (client, driver) = self.access.open_as_api().await?;
        let connection = Connection { client, driver };
        self.schema.check(&connection).await?;
        Ok(connection)
    }

    async fn recycle(&self, connection: &mut Connection, metrics: &Metrics) -> RecycleResult<ConnectError> {
        if connection.is_closed() {
            return Err(RecycleError::message("the connection is closed"));
        }
        let needs_probe = metrics.last_used() >= self.access.probe_after || self.freezes.was_frozen_since(metrics);
        if needs_probe && !responds(connection).await {
            tracing::info!("an idle connection does not answer any more");
            return Err(RecycleError::message("the connection does not answer"));
        }
        Ok(())
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Detects that the process was frozen. The pool measures idle time with a monotonic clock, which may stop while an environment is
/// frozen. The wall clock does not stop, so a jump between the two shows that the process was frozen.
struct FreezeDetector(Mutex<(Since, Option<Instant>)>);

impl Default for FreezeDetector {
    fn default() -> Self {
        Self(Mutex::new((Since::now(), None)))
    }
}

impl FreezeDetector {
    fn was_frozen_since(&self, metrics: &Metrics) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, thawed) = &mut *state;
        if seen.suspended_for() >= CLOCKS_DIFFER {
            *thawed = Some(Instant::now());
        }
        *seen = Since::now();
        let used = metrics.recycled.unwrap_or(metrics.created);
        thawed.is_some_and(|thawed| used < thawed)
    }
}

async fn responds(client: &Client) -> bool {
    matches!(timeout(PROBE_TIMEOUT, client.simple_query(PROBE)).await, Ok(Ok(_)))
}
