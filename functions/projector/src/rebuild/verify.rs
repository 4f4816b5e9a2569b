//! Verify: compares live read models, heads and snapshots with a fold of the log. It writes to none of them.

use std::sync::Arc;

use annals_store::{Compared, Difference, DueRebuild, Purpose};

use super::outcome::{Progress, RebuildError};
use super::run::Run;
use crate::Projector;

/// The result of a finished verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Number of streams compared. Each counts once, even if it was folded several times.
    pub streams: i64,
    /// Number of events of those streams.
    pub events: i64,
    /// Number of differences from the log.
    pub differences: u64,
}

impl Projector {
    /// Folds everything in the scope of `due` from the first event, and calls `each` with every difference from what the tables hold.
    ///
    /// # Errors
    /// The reason why the comparison was not finished.
    pub async fn verify(
        &self,
        due: &DueRebuild,
        workers: usize,
        progress: Arc<Progress>,
        each: impl FnMut(Difference),
    ) -> Result<Verified, RebuildError> {
        let shadow = self.store.start_rebuild(Purpose::Verify, due, "system").await?;
        let mut run = Run::new(self.store.clone(), shadow, workers, progress);
        match run.verify(each).await {
            Ok((compared, differences)) => Ok(Verified {
                streams: compared.streams,
                events: compared.events,
                differences,
            }),
            Err(error) => {
                run.fail(&error).await;
                Err(error)
            }
        }
    }
}

impl Run {
    async fn verify(&mut self, mut each: impl FnMut(Difference)) -> Result<(Compared, u64), RebuildError> {
        let snapshot = self.fold_to_a_snapshot().await?;
        let compared = self.shadow.count_compared(&snapshot).await?;
        let mut count = 0;
        let mut counted = |difference| {
            count += 1;
            each(difference);
        };
        for fault in std::mem::take(&mut self.faults) {
            let difference = Difference::of("annals.events", &fault.stream, "data", None, fault.message);
            counted(Difference {
                column: None,
                ..difference
            });
        }
        std::mem::take(&mut self.wrong_snapshots)
            .into_iter()
            .flat_map(|wrong| wrong.differences)
            .for_each(&mut counted);
        self.shadow.compare(snapshot, &mut counted).await?;
        self.shadow.end_verify().await?;
        Ok((compared, count))
    }
}
