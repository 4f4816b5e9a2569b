//! The sweep: it reads the log from its checkpoint to the high-water mark, and makes sure that every stream is projected or parked. Streams
//! that wake-ups have projected already cost it one query. At its end it applies the recorded changes of key figures. Projecting only
//! records them, because the batches of a bulk load would otherwise wait until the figures are updated. First it adds new events to the index of
//! fields, for a limited time, so that lists by a field need not wait for the projection of a bulk load; a failure of that stops nothing
//! else. If it leaves work and the schedule runs seldom, it asks for another sweep (`annals_queue::Sweeps`).

use std::time::{Duration, Instant};

use annals_store::{StoreError, SweepWindow, redacted_error};

use crate::Projector;
use crate::kpis::Completion;

/// Maximum number of event numbers that one window covers.
const WINDOW: i64 = 20_000;
/// How long a sweep waits for open appends before it leaves the rest to the next sweep.
const MARK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a sweep adds new events to the index of fields, and how long past ones. The rest is left to the next sweeps.
const INDEX_TIME: Duration = Duration::from_secs(10);

/// The result of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Swept {
    /// The checkpoint: everything up to this event number is projected or parked.
    pub position: i64,
    /// Number of streams that no wake-up had reached.
    pub streams: usize,
}

/// Events that are to be added to the index of fields.
#[derive(Debug, Clone, Copy)]
enum Unindexed {
    /// Those up to a high-water mark.
    New { up_to: i64 },
    /// Those that are older than the declaration of a field; and the values of fields that are not declared any more are removed.
    Past,
}

impl Projector {
    /// Sweeps the log up to the high-water mark. If it leaves work, it asks for another sweep.
    ///
    /// # Errors
    /// Errors of the database. The checkpoint then stays at the end of the last finished window.
    pub async fn sweep(&self) -> Result<Swept, StoreError> {
        let (swept, completion) = self.sweep_once().await?;
        if completion == Completion::WorkLeft {
            self.queue.request_delayed_sweep().await;
        }
        Ok(swept)
    }

    async fn sweep_once(&self) -> Result<(Swept, Completion), StoreError> {
        let mut swept = Swept {
            position: self.store.sweep_position().await?,
            streams: 0,
        };
        let Some(mark) = self.store.high_water_mark(MARK_TIMEOUT).await? else {
            // An append stays open, so there is no high-water mark. Changes of key figures can be applied anyway: a committed change is
            // complete.
            self.apply_kpi_changes(self.kpis.time_limit).await?;
            return Ok((swept, Completion::WorkLeft));
        };
        let new = self
            .fill_index(Unindexed::New { up_to: mark })
            .await
            .unwrap_or_else(|error| {
                tracing::warn!(
                    error = redacted_error(&error),
                    "new events are not added to the index of fields"
                );
                Completion::WorkLeft
            });
        loop {
            // Pending streams are listed even if the window at the end of the log is empty: a stream that staff has freed may lie before
            // it.
            let window = SweepWindow {
                from: swept.position,
                to: mark.clamp(swept.position, swept.position.saturating_add(WINDOW)),
            };
            let pending = self.store.list_pending(window).await?;
            swept.streams += pending.len();
            self.project(&pending).await?;
            if window.from == window.to {
                self.record_minutes(swept.position).await?;
                let applied = self.apply_kpi_changes(self.kpis.time_limit).await?;
                // Days are announced only after everything is projected. Before that, the figures lack changes, and half of a bulk load
                // would be announced.
                let announced = self.announce_kpis().await?;
                let indexed = self.fill_index(Unindexed::Past).await?;
                self.store.forget_kept_keys().await?;
                return Ok((swept, applied.and(announced).and(new).and(indexed)));
            }
            self.store.finish_window(window).await?;
            swept.position = window.to;
        }
    }

    /// Adds these events to the index of fields, until the time limit.
    async fn fill_index(&self, with: Unindexed) -> Result<Completion, StoreError> {
        let began = Instant::now();
        loop {
            let is_left = match with {
                Unindexed::New { up_to } => self.store.index_new_events(up_to).await? < up_to,
                Unindexed::Past => self.store.fill_field_index().await?,
            };
            if !is_left {
                return Ok(Completion::Complete);
            }
            if began.elapsed() > INDEX_TIME {
                return Ok(Completion::WorkLeft);
            }
        }
    }

    /// Records the range of event numbers of each minute, up to the checkpoint. Lists of a time range then read only that part of the log.
    async fn record_minutes(&self, to: i64) -> Result<(), StoreError> {
        let mut from = self.store.noted_position().await?;
        while from < to {
            let window = SweepWindow {
                from,
                to: to.min(from.saturating_add(WINDOW)),
            };
            self.store.note_minutes(window).await?;
            from = window.to;
        }
        Ok(())
    }
}
