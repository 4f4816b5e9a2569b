//! Key figures: what state tables' triggers have noted is settled, and days that are over are announced as `kpi.calculated`.
//!
//! Tenants take turns: one's bulk load neither holds up the others' figures nor their announcements. Which revision is next, and whether
//! there is anything new to say, is read from the log, so that a rebuild, which mends figures, announces nothing that was announced, and
//! a sweep that was killed between the append and its note finds nothing new.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use annals::domain::{StreamId, TenantId};
use annals::store::{DueKpi, Settled, StoreError, told};

use crate::Projector;

/// A batch that took less is followed by one of twice its size: costs that each batch has are shared by more notes then.
const QUICK: Duration = Duration::from_secs(3);
/// How often a batch's size is doubled at most: it is held in memory, by the server.
const DOUBLINGS: u32 = 3;

/// How figures are settled and announced.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Notes that a tenant's first transaction settles at most.
    pub at_once: i32,
    /// How long a sweep settles, and how long it announces; what a bulk load leaves goes to the next ones.
    pub patience: Duration,
    /// How long figures that were announced rest after a change before they are announced again: a hundred corrections, one by one, make
    /// a few announcements.
    pub rest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            at_once: 20_000,
            patience: Duration::from_secs(15),
            rest: Duration::from_secs(5 * 60),
        }
    }
}

/// Whether time ran out before all work was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// All that could be done was done.
    Nothing,
    /// There is more.
    Some,
}

impl Left {
    pub(crate) fn or(self, other: Self) -> Self {
        if self == Self::Nothing { other } else { self }
    }
}

/// A tenant's turn at settling.
struct Turn {
    tenant: TenantId,
    at_once: i32,
}

impl Projector {
    /// The same at another pace.
    #[must_use]
    pub fn with_pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Settles what is noted, tenant by tenant in turns, for as long as it has patience. A tenant whose notes cannot be settled, or that
    /// another process settles, is left to the next sweep and does not count as work left.
    pub(crate) async fn settle_kpis(&self, patience: Duration) -> Result<Left, StoreError> {
        let began = Instant::now();
        let mut turns: VecDeque<Turn> = VecDeque::new();
        for tenant in self.store.tenants_to_settle().await? {
            turns.push_back(Turn {
                tenant,
                at_once: self.pace.at_once,
            });
        }
        while let Some(turn) = turns.pop_front() {
            turns.extend(self.take_turn(turn).await?);
            if began.elapsed() > patience && !turns.is_empty() {
                return Ok(Left::Some);
            }
        }
        Ok(Left::Nothing)
    }

    /// One batch; the next turn, where there may be more.
    async fn take_turn(&self, turn: Turn) -> Result<Option<Turn>, StoreError> {
        let began = Instant::now();
        match self.store.settle_kpis(turn.tenant, turn.at_once).await {
            Ok(Settled::Notes(notes)) if notes >= i64::from(turn.at_once) => {
                let most = self.pace.at_once.saturating_mul(2_i32.pow(DOUBLINGS));
                let at_once = match began.elapsed() < QUICK {
                    true => turn.at_once.saturating_mul(2).min(most),
                    false => turn.at_once,
                };
                Ok(Some(Turn { at_once, ..turn }))
            }
            Ok(Settled::Notes(_) | Settled::Busy) => Ok(None),
            Err(error @ StoreError::Unavailable(_)) => Err(error),
            Err(error) => {
                tracing::warn!(tenant.id = %turn.tenant, error = told(&error), "key figures not settled");
                Ok(None)
            }
        }
    }

    /// Announces days that are over and have not been announced as they are; some of each tenant's. A tenant's error is its own.
    pub(crate) async fn announce_kpis(&self) -> Result<Left, StoreError> {
        let began = Instant::now();
        let mut tenants = self.store.tenants_with_due_kpis().await?.into_iter().peekable();
        while let Some(tenant) = tenants.next() {
            match self.announce(tenant).await {
                Ok(()) => {}
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                Err(error) => not_announced(tenant, &error),
            }
            if began.elapsed() > self.pace.patience && tenants.peek().is_some() {
                return Ok(Left::Some);
            }
        }
        Ok(Left::Nothing)
    }

    async fn announce(&self, tenant: TenantId) -> Result<(), StoreError> {
        let due = self.store.due_kpis(tenant, self.pace.rest).await?;
        let (mut news, known): (Vec<DueKpi>, Vec<DueKpi>) = due.into_iter().partition(DueKpi::has_news);
        self.store.note_announced(tenant, &known).await?;
        while !news.is_empty() {
            match self.store.announce_kpis(tenant, &news).await {
                Ok(()) => {
                    let streams: Vec<StreamId> = news.iter().map(|kpi| kpi.stream(tenant)).collect::<Result<_, _>>()?;
                    self.project(&streams).await?;
                    return self.store.note_announced(tenant, &news).await;
                }
                // Another sweep was here first, or somebody wrote to the stream: that one stays due, and the others go on without it.
                Err(StoreError::Refused(refusal)) if refusal.code == "version_conflict" => match refusal.member {
                    Some(member) if member < news.len() => drop(news.remove(member)),
                    _ => return Err(StoreError::Refused(refusal)),
                },
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn not_announced(tenant: TenantId, error: &StoreError) {
    tracing::warn!(tenant.id = %tenant, error = told(error), "key figures not announced");
}
