//! Key figures: the changes that triggers of the state tables recorded are applied to the figures, and finished days are announced as
//! events `kpi.calculated`.
//!
//! Tenants take turns, so one tenant's bulk load delays neither the figures nor the announcements of others. The next revision of a day,
//! and whether its figures differ from those announced last, are read from the log. Therefore nothing is announced twice: neither after a
//! rebuild, which repairs figures, nor by the sweep after one that was killed between the append and its record.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use annals_domain::{StreamId, TenantId};
use annals_store::{AppliedChanges, DueKpi, StoreError, redacted_error};

use crate::Projector;
use crate::kpi_settings::KpiSettings;

/// If a batch took less than this, the tenant's next batch is twice as large: more changes then share the fixed costs of a batch.
const QUICK_BATCH: Duration = Duration::from_secs(3);
/// Maximum number of times that a batch's size is doubled. The server holds a batch in memory.
const MAX_DOUBLINGS: u32 = 3;

/// Whether the time limit ended the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Completion {
    /// Everything that could be done is done.
    Complete,
    /// The time limit was reached, and work is left.
    WorkLeft,
}

impl Completion {
    /// Complete only if both are.
    pub(crate) fn and(self, other: Self) -> Self {
        if self == Self::Complete { other } else { self }
    }
}

/// The next batch of a tenant's changes.
struct TenantBatch {
    tenant: TenantId,
    /// Number of changes at most.
    size: i32,
}

impl Projector {
    /// The same projector with other settings for key figures.
    #[must_use]
    pub fn with_kpi_settings(mut self, kpis: KpiSettings) -> Self {
        self.kpis = kpis;
        self
    }

    /// Applies the recorded changes to the figures. Tenants take turns, one batch each, until the time limit. A tenant whose changes cannot
    /// be applied, or whose changes another process is applying, is left to the next sweep and does not count as work left.
    pub(crate) async fn apply_kpi_changes(&self, time_limit: Duration) -> Result<Completion, StoreError> {
        let began = Instant::now();
        let tenants = self.store.tenants_with_changes().await?.into_iter();
        let size = self.kpis.batch_size;
        let mut batches: VecDeque<TenantBatch> = tenants.map(|tenant| TenantBatch { tenant, size }).collect();
        while let Some(batch) = batches.pop_front() {
            batches.extend(self.apply_batch(batch).await?);
            if began.elapsed() > time_limit && !batches.is_empty() {
                return Ok(Completion::WorkLeft);
            }
        }
        Ok(Completion::Complete)
    }

    /// Applies one batch. Returns the tenant's next one, if there may be more changes.
    async fn apply_batch(&self, batch: TenantBatch) -> Result<Option<TenantBatch>, StoreError> {
        let began = Instant::now();
        match self.store.apply_key_figure_changes(batch.tenant, batch.size).await {
            Ok(AppliedChanges::Applied(changes)) if changes >= i64::from(batch.size) => {
                let largest = self.kpis.batch_size.saturating_mul(2_i32.pow(MAX_DOUBLINGS));
                let size = match began.elapsed() < QUICK_BATCH {
                    true => batch.size.saturating_mul(2).min(largest),
                    false => batch.size,
                };
                Ok(Some(TenantBatch { size, ..batch }))
            }
            Ok(AppliedChanges::Applied(_) | AppliedChanges::Busy) => Ok(None),
            Err(error @ StoreError::Unavailable(_)) => Err(error),
            Err(error) => {
                tracing::warn!(tenant.id = %batch.tenant, error = redacted_error(&error), "key figures not updated");
                Ok(None)
            }
        }
    }

    /// Announces finished days whose figures are new or differ from those announced last, a limited number of each tenant. An error of one
    /// tenant does not stop the others.
    pub(crate) async fn announce_kpis(&self) -> Result<Completion, StoreError> {
        let began = Instant::now();
        let mut tenants = self.store.tenants_with_due_kpis().await?.into_iter().peekable();
        while let Some(tenant) = tenants.next() {
            match self.announce_tenant(tenant).await {
                Ok(()) => {}
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                Err(error) => {
                    tracing::warn!(tenant.id = %tenant, error = redacted_error(&error), "key figures not announced");
                }
            }
            if began.elapsed() > self.kpis.time_limit && tenants.peek().is_some() {
                return Ok(Completion::WorkLeft);
            }
        }
        Ok(Completion::Complete)
    }

    async fn announce_tenant(&self, tenant: TenantId) -> Result<(), StoreError> {
        let due = self.store.due_kpis(tenant, self.kpis.announce_delay).await?;
        let (mut changed, unchanged): (Vec<DueKpi>, Vec<DueKpi>) = due.into_iter().partition(DueKpi::has_news);
        self.store.note_announced(tenant, &unchanged).await?;
        while !changed.is_empty() {
            match self.store.announce_kpis(tenant, &changed).await {
                Ok(()) => {
                    let streams = changed.iter().map(|kpi| kpi.stream(tenant));
                    self.project(&streams.collect::<Result<Vec<StreamId>, _>>()?).await?;
                    return self.store.note_announced(tenant, &changed).await;
                }
                // Another sweep has announced this day, or its stream was written to. The day stays due, and the others are tried without
                // it.
                Err(StoreError::Refused(refusal)) if refusal.code == "version_conflict" => match refusal.member {
                    Some(member) if member < changed.len() => drop(changed.remove(member)),
                    _ => return Err(StoreError::Refused(refusal)),
                },
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
