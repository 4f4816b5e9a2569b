//! Reverts: each event that an upload appended is compensated, newest first. Small ones run within the request, large ones in the importer.
//!
//! A revert goes on step by step. A step reads the next events, decides about each (`decision`), and appends the compensating events in one
//! transaction with the revert's new position. It can be killed at any statement: the next attempt continues from the position, so no event is
//! forgotten and none is compensated twice. If another caller appends to one of the entities first, the append is refused, and the step is
//! decided again.
//!
//! Architecture invariant: an event is compensated only if no later event of its stream comes from elsewhere. All other events are left alone
//! and recorded with the reason, so at the end each event of the upload is counted once.

mod decision;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use annals_append::{AppendService, check};
use annals_csv::Dataset;
use annals_domain::event::EventFault;
use annals_domain::reason::Reason;
use annals_domain::{Caller, Catalog, EventId, NewEvent, StreamId};
use annals_store::{
    CheckedEvents, DueRevert, LeasedRevert, LeftAlone, RevertRecord, RevertScope, RevertStep, Revertible, Store,
    StoreError, UploadRecord, redacted_error,
};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use self::decision::{Decider, Refused, left};
use crate::error::ImportError;
use crate::events;
use crate::importer::Importer;
use crate::partition::{RetryReason, TRIES};
use crate::run::is_final;

/// Entities that are read at the same time.
const CONCURRENT: usize = 4;

/// What became of a revert in this invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevertOutcome {
    /// It has ended now.
    Ended,
    /// It continues at the next tick of the schedule.
    GoesOn,
    /// Another worker holds its lease, as many other reverts are running as may run at the same time, it has ended before, or there is none.
    NotAcquired,
}

/// Reverts uploads.
#[derive(Clone)]
pub struct Reverter {
    store: Store,
    appends: AppendService,
}

/// The next events of an upload, and what is to become of them.
struct Step {
    /// Number of the last event.
    to: i64,
    events: Vec<NewEvent>,
    left: Vec<LeftAlone>,
    /// Revision of the catalog that the events were checked against.
    revision: i64,
}

impl Importer {
    /// Continues these reverts, one after the other. A revert that fails does not stop the others.
    pub(crate) async fn revert_all(&self, due: &[DueRevert], until: Option<Instant>) {
        let reverter = Reverter::new(self.store.clone(), self.appends.clone());
        for revert in due {
            if until.is_some_and(|until| Instant::now() >= until) {
                break;
            }
            reverter.try_run(revert.id, until).await;
        }
    }
}

impl Reverter {
    /// A reverter that appends by this service.
    pub fn new(store: Store, appends: AppendService) -> Self {
        Self { store, appends }
    }

    /// The first event type of those compensating the upload's events that the caller may not post.
    ///
    /// # Errors
    /// The database's.
    pub async fn forbidden_event_type(
        &self,
        caller: &Caller,
        upload: &UploadRecord,
    ) -> Result<Option<String>, StoreError> {
        let [created, updated] = event_types(&upload.dataset).unwrap_or_default();
        let counts = [(created, upload.counts.accepted), (updated, upload.counts.updated)];
        let appended = || counts.into_iter().filter(|(_, rows)| *rows > 0);
        let forbidden = |catalog: &Catalog| {
            appended().find_map(|(event_type, _)| {
                let inverse = catalog.find(caller.tenant_id(), event_type)?.inverse.as_ref()?;
                let kind = catalog.find(caller.tenant_id(), &inverse.event_type)?;
                (!kind.posters.contains(&caller.role())).then(|| inverse.event_type.clone())
            })
        };
        if forbidden(&*self.store.catalog(caller).await?).is_none() {
            return Ok(None);
        }
        // The catalog in memory may be older than the permission.
        Ok(forbidden(&*self.store.fresh_catalog(caller).await?))
    }

    /// Records the request for a revert, together with its event `import.revert_requested`.
    ///
    /// # Errors
    /// The append's; `already_reverted` if there is a revert of the upload.
    pub async fn request(
        &self,
        caller: &Caller,
        context: &Value,
        upload: &UploadRecord,
        reason: Option<&Reason>,
    ) -> Result<(), StoreError> {
        let mut data = Map::from_iter([
            ("dataset".to_owned(), json!(upload.dataset)),
            ("events_total".to_owned(), json!(upload.counts.appended)),
        ]);
        if let Some(reason) = reason {
            data.insert("reason".to_owned(), json!(reason));
        }
        let id = upload.upload_id;
        let event = events::event(id, "revert_requested", None, data)?;
        let request = |checked| self.store.request_revert(caller, checked, context, (id, reason));
        let requested = self.appends.append_with(caller, std::slice::from_ref(&event), request);
        requested.await.map_err(|error| events::refusal(error, &event))
    }

    /// What a revert would do, as far as it is found out in time, and the first events that it would leave alone. Changes nothing.
    ///
    /// # Errors
    /// The database's.
    pub async fn rehearse(
        &self,
        caller: &Caller,
        upload: &UploadRecord,
        (until, listed): (Instant, usize),
    ) -> Result<(RevertRecord, Vec<LeftAlone>), ImportError> {
        let unknown = || ImportError::Unexpected(format!("no dataset {}", upload.dataset));
        let scope = RevertScope {
            id: upload.upload_id,
            caller: caller.clone(),
            started_by: upload.started_by.clone(),
            event_types: event_types(&upload.dataset).ok_or_else(unknown)?,
        };
        let mut record = RevertRecord {
            dry_run: true,
            events_total: upload.counts.appended,
            ..RevertRecord::default()
        };
        let (mut position, mut left) = (None, Vec::new());
        while Instant::now() < until {
            let catalog = self.store.fresh_catalog(caller).await?;
            let step = match self.step(&scope, None, position, (&catalog, &Refused::new())).await {
                Err(StoreError::Outdated) => continue,
                step => step?,
            };
            let Some(step) = step else { break };
            position = Some(step.to);
            record.events_compensated += count(step.events.len());
            record.events_left += count(step.left.len());
            for alone in &step.left {
                *record.left_by_code.entry(alone.code.clone()).or_default() += 1;
            }
            left.extend(step.left);
            left.truncate(listed);
        }
        Ok((record, left))
    }

    /// Works on a revert as [`run`](Self::run) does. An error is logged, because the revert is tried again at the next tick of the schedule.
    pub async fn try_run(&self, id: Uuid, until: Option<Instant>) {
        if let Err(error) = self.run(id, until).await {
            tracing::warn!(error = redacted_error(&error), upload.id = %id, "revert stalled");
        }
    }

    /// Works on a revert until it ends or no time is left.
    ///
    /// # Errors
    /// Why it made no progress. Its lease is released, and it is due at the next tick of the schedule.
    pub async fn run(&self, id: Uuid, until: Option<Instant>) -> Result<RevertOutcome, ImportError> {
        let Some(mut revert) = self.store.acquire_revert(id, event_types).await? else {
            return Ok(RevertOutcome::NotAcquired);
        };
        let mut to_wake = BTreeSet::new();
        let worked = async {
            while self.advance(&mut revert, &mut to_wake).await? {
                if until.is_some_and(|until| Instant::now() >= until) {
                    return Ok(RevertOutcome::GoesOn);
                }
            }
            self.finish(&revert).await?;
            Ok(RevertOutcome::Ended)
        };
        let outcome = worked.await;
        self.appends.wake(to_wake).await;
        if !matches!(outcome, Ok(RevertOutcome::Ended)) {
            self.store.release_revert(&revert).await?;
        }
        outcome
    }

    /// Does the next step. Returns whether there was one.
    async fn advance(&self, revert: &mut LeasedRevert, to_wake: &mut BTreeSet<StreamId>) -> Result<bool, ImportError> {
        let caller = revert.scope.caller.clone();
        let mut catalog = self.store.catalog(&caller).await?;
        let mut refused = Refused::new();
        for _ in 0..TRIES {
            let reason = revert.reason.as_ref();
            let decided = self
                .step(&revert.scope, reason, revert.position, (&catalog, &refused))
                .await;
            let step = match decided {
                Ok(None) => return Ok(false),
                Ok(Some(step)) => step,
                Err(StoreError::Outdated) => {
                    catalog = self.store.fresh_catalog(&caller).await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let record = RevertStep {
                to: step.to,
                events: CheckedEvents {
                    events: &step.events,
                    catalog_revision: step.revision,
                },
                left: &step.left,
            };
            match self.store.append_revert_step(revert, &record).await {
                Ok(()) => {
                    revert.position = Some(step.to);
                    self.appends.count_and_collect(&caller, &step.events, to_wake).await;
                    return Ok(true);
                }
                Err(error) => {
                    if let Some((id, why)) = refused_event(&error, &step.events) {
                        refused.insert(id, why);
                    } else if RetryReason::of(error)? == RetryReason::Catalog {
                        catalog = self.store.fresh_catalog(&caller).await?;
                    }
                }
            }
        }
        Err(ImportError::Overtaken)
    }

    /// Decides about the next events before the position. `None` if there are no more.
    ///
    /// # Errors
    /// [`StoreError::Outdated`] if a newer catalog is needed.
    async fn step(
        &self,
        scope: &RevertScope,
        reason: Option<&Reason>,
        position: Option<i64>,
        (catalog, refused): (&Arc<Catalog>, &Refused),
    ) -> Result<Option<Step>, StoreError> {
        let mut page = self.store.list_revertible(scope, position).await?;
        // A step has one event of a stream at most, because the state after an older event depends on what became of the newer one.
        let mut streams = HashSet::new();
        let mut is_repeated = |found: &Revertible| !streams.insert(found.event.aggregate_id.clone());
        page.truncate(page.iter().position(&mut is_repeated).unwrap_or(page.len()));
        let Some(last) = page.last() else { return Ok(None) };
        let (to, kind) = (last.event.event_number, last.event.aggregate_type.clone());
        let ids: Vec<&str> = page.iter().map(|found| found.event.aggregate_id.as_str()).collect();
        let decider = Decider {
            store: &self.store,
            scope,
            reason,
            catalog,
            hidden: self.store.find_taken(&scope.caller, &kind, &ids).await?,
            refused,
        };
        let decisions: Vec<BoxFuture<'_, _>> = page.iter().map(|found| decider.decide(found).boxed()).collect();
        let decisions: Vec<_> = stream::iter(decisions).buffered(CONCURRENT).try_collect().await?;
        let (mut events, mut alone) = (Vec::new(), Vec::new());
        for (found, decision) in page.iter().zip(decisions) {
            match decision {
                Ok(event) => events.push((&found.event, event)),
                Err(left_alone) => alone.push(left_alone),
            }
        }
        let faults = check(
            catalog,
            &scope.caller,
            events.iter().map(|(_, event)| event).enumerate(),
        );
        // A catalog in memory may be older than the permission, or than the schema.
        if !faults.is_empty() && self.store.fresh_catalog(&scope.caller).await?.revision() != catalog.revision() {
            return Err(StoreError::Outdated);
        }
        // Of the faults of an event only the first is reported.
        let faults: HashMap<usize, EventFault> = faults.into_iter().rev().map(|fault| (fault.member, fault)).collect();
        let mut sound = Vec::new();
        for (place, (mistake, event)) in events.into_iter().enumerate() {
            match faults.get(&place) {
                None => sound.push(event),
                Some(found) => alone.push(left(mistake, found.code, &found.fault.detail)),
            }
        }
        Ok(Some(Step {
            to,
            events: sound,
            left: alone,
            revision: catalog.revision(),
        }))
    }

    /// Ends a revert whose events are all done, together with its event `import.revert_completed`.
    async fn finish(&self, revert: &LeasedRevert) -> Result<(), ImportError> {
        let id = revert.scope.id;
        let record = self.store.find_revert(id).await?.unwrap_or_default();
        let data = Map::from_iter([
            ("events_total".to_owned(), json!(record.events_total)),
            ("events_compensated".to_owned(), json!(record.events_compensated)),
            ("events_left".to_owned(), json!(record.events_left)),
            ("left_by_code".to_owned(), json!(record.left_by_code)),
        ]);
        let event = events::event(id, "revert_completed", None, data)?;
        let finish = |checked| self.store.finish_revert(revert, checked);
        let caller = &revert.scope.caller;
        let finished = self
            .appends
            .append_with(caller, std::slice::from_ref(&event), finish)
            .await;
        match finished.map_err(|error| events::refusal(error, &event)) {
            Ok(()) => {}
            // The caller may not post events of imports any more. The revert ends nevertheless.
            Err(StoreError::Refused(refusal)) if is_final(&refusal) => {
                tracing::warn!(error.code = refusal.code, upload.id = %id, "the revert ends without an event");
                self.store.finish_revert(revert, CheckedEvents::NONE).await?;
            }
            Err(error) => return Err(error.into()),
        }
        tracing::info!(
            upload.id = %id,
            events.compensated = record.events_compensated,
            events.left = record.events_left,
            "upload reverted"
        );
        Ok(())
    }
}

/// Types of the events that uploads of a dataset append: created and updated.
fn event_types(dataset: &str) -> Option<[&'static str; 2]> {
    Dataset::named(dataset).map(|dataset| [dataset.created, dataset.updated])
}

/// The event that a compensation was refused for, if another attempt would be refused again.
fn refused_event(error: &StoreError, events: &[NewEvent]) -> Option<(EventId, (String, String))> {
    let StoreError::Refused(refusal) = error else {
        return None;
    };
    let event = events.get(refusal.member?).filter(|_| is_final(refusal))?;
    let cause = EventId::from(event.causation_id?);
    Some((cause, (refusal.code.clone(), refusal.message.clone())))
}

fn count(events: usize) -> i64 {
    i64::try_from(events).unwrap_or(i64::MAX)
}
