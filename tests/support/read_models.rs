//! Read models as stored in their tables. Tests of the projector check these, because reads over the API fold events that are not projected
//! yet and would hide a projector that does nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::World;

/// How long transactions of other tests in the same cluster may hold a sweep back.
const PATIENCE: Duration = Duration::from_secs(120);

/// Every read model: the rows of each table as PostgreSQL prints them, in order.
pub type ReadModels = BTreeMap<String, Vec<String>>;

impl World {
    /// Number of the last event in the log.
    pub async fn last_event_number(&self) -> i64 {
        let last = "select coalesce(max(event_number), 0) from annals.events";
        self.superuser().await.query_one(last, &[]).await.unwrap().get(0)
    }

    /// Sweeps until everything that is in the log now is done, and runs the rebuilds that are needed, as the two schedules do. Returns how many
    /// streams were projected.
    pub async fn sweep(&self) -> usize {
        let (last, started) = (self.last_event_number().await, Instant::now());
        let mut streams = 0;
        loop {
            let swept = self.projector.sweep().await.expect("a sweep");
            streams += swept.streams;
            if swept.position >= last {
                self.projector
                    .rebuild_due()
                    .await
                    .expect("a tick of the schedule of rebuilds");
                return streams;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "the sweep's checkpoint is at {}",
                swept.position
            );
        }
    }

    /// Waits until every transaction of the cluster that is open now has ended, other tests' included. A rebuild folds again whatever is
    /// younger than the oldest open transaction.
    pub async fn outlive_open_transactions(&self) {
        let (client, started) = (self.superuser().await, Instant::now());
        let last = client
            .query_one("select pg_current_xact_id()::text", &[])
            .await
            .unwrap();
        let is_over = format!(
            "select pg_snapshot_xmin(pg_current_snapshot()) > '{}'::xid8",
            last.get::<_, String>(0)
        );
        while !client.query_one(&is_over, &[]).await.unwrap().get::<_, bool>(0) {
            assert!(started.elapsed() < PATIENCE, "a transaction stays open");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything that the projector writes about entities: state tables, child tables, states and progress.
    pub async fn read_models(&self) -> ReadModels {
        let client = self.superuser().await;
        client.batch_execute("set timezone to 'UTC'").await.unwrap();
        let tables = "select format('public.%I', table_name) from annals.state_tables
             union all select 'annals.entities' union all select 'annals.heads' union all select 'annals.skipped_events' order by 1";
        let mut models = ReadModels::new();
        for table in client.query(tables, &[]).await.unwrap() {
            let table: String = table.get(0);
            let volatile = if table == "annals.skipped_events" {
                "- 'skipped_at'"
            } else {
                ""
            };
            let rows = format!(
                r#"select line from (select (to_jsonb(t) {volatile})::text as line from {table} t) as l order by line collate "C""#
            );
            let rows = client.query(&rows, &[]).await.unwrap();
            models.insert(table, rows.iter().map(|row| row.get(0)).collect());
        }
        models
    }

    /// The rows of a table as JSON, ordered by the text of its columns.
    pub async fn rows_of(&self, table: &str) -> Vec<Value> {
        let client = self.superuser().await;
        client.batch_execute("set timezone to 'UTC'").await.unwrap();
        let rows = format!(
            r#"select line from (select to_jsonb(t)::text as line from {table} t) as l order by line collate "C""#
        );
        let rows = client.query(&rows, &[]).await.unwrap();
        rows.iter()
            .map(|row| serde_json::from_str(row.get(0)).unwrap())
            .collect()
    }

    /// Deletes every read model, as if the projector had never run.
    pub async fn delete_read_models(&self) {
        let client = self.superuser().await;
        let tables = "select coalesce(string_agg(format('public.%I', table_name), ', '), '') from annals.state_tables";
        let tables: String = client.query_one(tables, &[]).await.unwrap().get(0);
        client
            .batch_execute(&format!(
                "truncate {tables}, annals.entities, annals.parked_streams, annals.event_counts, annals.kpi_changes, annals.kpi_days,
                          annals.kpi_names, annals.kpi_repeat_customers;
                 update annals.heads set projected_version = 0;
                 update annals.checkpoints set position = 0, event_count = 0 where name = 'sweep'"
            ))
            .await
            .unwrap();
    }
}
