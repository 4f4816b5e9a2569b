//! The sweep: along the log, from where it last stopped to where the log is settled, it makes sure that every stream is
//! projected or parked. What wake-ups have done already costs it one look. In the end it brings figures up to date, which a bulk load
//! would otherwise wait for with each of its batches. A sweep that leaves work asks for another one, where the schedule runs seldom
//! (`annals::queue::Sweeps`).

use std::time::Duration;

use annals::store::{StoreError, SweepWindow};

use crate::Projector;
use crate::kpis::Left;

/// Event numbers that one window spans at most.
const WINDOW: i64 = 20_000;
/// How long a sweep waits for open transactions before it leaves the rest to the next one.
const PATIENCE: Duration = Duration::from_secs(2);

/// How far a sweep came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Swept {
    /// Everything up to this event number is projected or parked.
    pub position: i64,
    /// Streams that no wake-up had reached.
    pub streams: usize,
}

impl Projector {
    /// Goes along the log to its settled end. If it leaves work, it asks for another sweep.
    ///
    /// # Errors
    /// The database's; the position stays where it was last sure.
    pub async fn sweep(&self) -> Result<Swept, StoreError> {
        let (swept, left) = self.sweep_once().await?;
        if left == Left::Some {
            self.queue.ask_for_late_sweep().await;
        }
        Ok(swept)
    }

    async fn sweep_once(&self) -> Result<(Swept, Left), StoreError> {
        let mut swept = Swept {
            position: self.store.sweep_position().await?,
            streams: 0,
        };
        let Some(settled_to) = self.store.settled_mark(PATIENCE).await? else {
            // An open append holds the log back. Notes can be settled all the same: they are complete when they are committed.
            self.settle_kpis(self.pace.patience).await?;
            return Ok((swept, Left::Some));
        };
        loop {
            // At the end of the log, too, where the window is empty: a stream that staff has freed may wait behind it.
            let window = SweepWindow {
                from: swept.position,
                to: settled_to.clamp(swept.position, swept.position.saturating_add(WINDOW)),
            };
            let pending = self.store.list_pending(window).await?;
            swept.streams += pending.len();
            self.project(&pending).await?;
            if window.from == window.to {
                self.note_minutes(swept.position).await?;
                let settled = self.settle_kpis(self.pace.patience).await?;
                // Only here: what is not projected is not noted, and half of a load is no news.
                let announced = self.announce_kpis().await?;
                self.store.forget_kept_keys().await?;
                return Ok((swept, settled.or(announced)));
            }
            self.store.finish_window(window).await?;
            swept.position = window.to;
        }
    }

    /// Lets readers find what was recorded when, as far as the sweep has come.
    async fn note_minutes(&self, to: i64) -> Result<(), StoreError> {
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
