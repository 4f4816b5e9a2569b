//! Proof: live read models, heads and snapshots beside what the log says, without a write to any of them.

use std::sync::Arc;

use annals::store::{Compared, Difference, DueRebuild, Purpose};

use super::run::Run;
use super::{Progress, RebuildError};
use crate::Projector;

/// A proof that came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Streams folded and compared, each counted once however often it was folded.
    pub streams: i64,
    /// Their events.
    pub events: i64,
    /// How much is not what the log says.
    pub differences: u64,
}

impl Projector {
    /// Folds everything from zero and hands over each difference between that and what stands in the tables.
    ///
    /// # Errors
    /// Whatever kept it from comparing.
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
