//! The service: check, append, wake.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::check::{check, may_be_stale};
use super::stored::{StoredEvents, stored_events};
use annals_domain::checker;
use annals_domain::event::EventFault;
use annals_domain::{Caller, Catalog, NewEvent, StreamId, naming};
use annals_queue::{Queue, STREAMS_PER_MESSAGE};
use annals_store::{AppendError, Appended, CATALOG_TRIES, CheckedEvents, Store, StoreError};
use annals_telemetry::metrics;

/// Appends events and wakes the projector. Cheap to clone.
#[derive(Clone)]
pub struct AppendService {
    store: Store,
    queue: Queue,
}

impl AppendService {
    /// Appends to this store, and sends wake-ups to this queue.
    pub fn new(store: Store, queue: Queue) -> Self {
        Self { store, queue }
    }

    /// The service of a deployed function. It does in advance what the first append would wait for: it warms the schema checks up while it
    /// creates the queue's client. `queue_url` is the wake-up queue; without one nothing is woken.
    pub async fn of_function(store: Store, queue_url: Option<String>) -> Self {
        let warming_up = tokio::task::spawn_blocking(checker::warm_up);
        let queue = Queue::of_function(queue_url);
        let _warm = warming_up.await;
        Self::new(store, queue)
    }

    /// The queue that this service wakes the projector by. Sweeps and rebuilds are requested there, too.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Appends events as the caller, all or none, and returns what the database decided about each, in order. `request` is what the
    /// server observed of the request: address, user agent, request id.
    ///
    /// # Errors
    /// [`AppendError`]. Nothing was appended then, with one exception: see [`Store::append`].
    pub async fn append(
        &self,
        caller: &Caller,
        events: &[NewEvent],
        request: &Value,
    ) -> Result<Vec<Appended>, AppendError> {
        let recorded = naming::recorded(caller, request);
        self.append_recorded(caller, events, &recorded).await
    }

    /// Appends one event.
    ///
    /// # Errors
    /// As for [`append`](Self::append).
    pub async fn append_one(
        &self,
        caller: &Caller,
        event: &NewEvent,
        request: &Value,
    ) -> Result<Appended, AppendError> {
        let appended = self.append(caller, std::slice::from_ref(event), request).await?;
        let one = appended.into_iter().next();
        one.ok_or_else(|| StoreError::Unexpected("an append without an answer".to_owned()).into())
    }

    /// Appends like [`append`](Self::append) and returns the events as the log holds them. New events are assembled from what was sent
    /// and what the database decided. Only retries are read, which takes one more query.
    ///
    /// # Errors
    /// As for [`append`](Self::append). If only reading the retries fails, the new events were appended.
    pub async fn append_stored(
        &self,
        caller: &Caller,
        events: Vec<NewEvent>,
        request: &Value,
    ) -> Result<StoredEvents, AppendError> {
        let recorded = naming::recorded(caller, request);
        let appended = self.append_recorded(caller, &events, &recorded).await?;
        Ok(stored_events(&self.store, caller, events, appended, &recorded).await?)
    }

    /// Appends events that the caller has checked by [`check`](super::check()), and wakes the projector. For imports, which leave out the
    /// events that a schema refuses.
    ///
    /// # Errors
    /// Those of [`Store::append`]. On the refusal `catalog_changed` the events have to be checked again.
    pub async fn append_checked(
        &self,
        caller: &Caller,
        checked: CheckedEvents<'_>,
        request: &Value,
    ) -> Result<Vec<Appended>, StoreError> {
        correlate(checked.events);
        let recorded = naming::recorded(caller, request);
        let appended = self.store.append(caller, checked, &recorded).await?;
        self.count_and_wake(caller, checked.events, &appended).await;
        Ok(appended)
    }

    /// Counts events that a chunk of an import has appended, and adds their streams to `to_wake`. When these are enough for one message,
    /// the projector is woken: a large import appends thousands of chunks. The caller wakes it for what is left in the end.
    pub async fn count_and_collect(&self, caller: &Caller, events: &[NewEvent], to_wake: &mut BTreeSet<StreamId>) {
        metrics::appended(events.len());
        to_wake.extend(events.iter().map(|event| event.stream(caller.tenant_id())));
        if to_wake.len() >= STREAMS_PER_MESSAGE {
            self.wake(std::mem::take(to_wake)).await;
        }
    }

    /// Checks events, has `write` append them in a transaction that also does other things, and wakes the projector. If the catalog
    /// has changed since the check, both are repeated. `write` must append all of the events or none, and the events must not have
    /// idempotency keys.
    ///
    /// # Errors
    /// [`AppendError`]. Nothing was appended, unless `write` lost its connection: then the rows that it writes show whether it was
    /// committed.
    pub async fn append_with<'a, F>(
        &self,
        caller: &Caller,
        events: &'a [NewEvent],
        write: impl Fn(CheckedEvents<'a>) -> F,
    ) -> Result<(), AppendError>
    where
        F: Future<Output = Result<(), StoreError>>,
    {
        self.check_and_write(caller, events, write).await?;
        metrics::appended(events.len());
        self.wake(events.iter().map(|event| event.stream(caller.tenant_id())))
            .await;
        Ok(())
    }

    /// Wakes the projector for these streams. For imports, which wake it once for many appends.
    pub async fn wake(&self, streams: impl IntoIterator<Item = StreamId>) {
        self.queue.wake(streams).await;
    }

    /// The faults of the events among `members`, without those of retries. Nothing is appended. For a request that is refused already,
    /// so that its answer names the faults of all of its events.
    pub async fn faults<'a>(
        &self,
        caller: &Caller,
        members: impl Iterator<Item = (usize, &'a NewEvent)> + Clone,
    ) -> Result<Vec<EventFault>, StoreError> {
        let (_, faults) = self.checked(caller, members.clone()).await?;
        self.without_retries(caller, members, faults).await
    }

    async fn append_recorded(
        &self,
        caller: &Caller,
        events: &[NewEvent],
        recorded: &Value,
    ) -> Result<Vec<Appended>, AppendError> {
        correlate(events);
        let append = |checked| self.store.append(caller, checked, recorded);
        let appended = self.check_and_write(caller, events, append).await?;
        self.count_and_wake(caller, events, &appended).await;
        Ok(appended)
    }

    async fn check_and_write<'a, T, F>(
        &self,
        caller: &Caller,
        events: &'a [NewEvent],
        write: impl Fn(CheckedEvents<'a>) -> F,
    ) -> Result<T, AppendError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let members = || events.iter().enumerate();
        let (mut catalog, mut faults) = self.checked(caller, members()).await?;
        for _ in 0..CATALOG_TRIES {
            refuse(self.without_retries(caller, members(), faults).await?)?;
            let catalog_revision = catalog.revision();
            match write(CheckedEvents {
                events,
                catalog_revision,
            })
            .await
            {
                Err(StoreError::Refused(refusal)) if refusal.code == "catalog_changed" => {
                    catalog = self.store.fresh_catalog(caller).await?;
                    faults = check(&catalog, caller, members());
                }
                other => return Ok(other?),
            }
        }
        Err(StoreError::Outdated.into())
    }

    /// Checks events against the catalog in memory. If a fault may be due to an outdated catalog, reads the catalog and checks again.
    async fn checked<'a>(
        &self,
        caller: &Caller,
        members: impl Iterator<Item = (usize, &'a NewEvent)> + Clone,
    ) -> Result<(Arc<Catalog>, Vec<EventFault>), StoreError> {
        let catalog = self.store.catalog(caller).await?;
        let faults = check(&catalog, caller, members.clone());
        if !faults.iter().any(may_be_stale) {
            return Ok((catalog, faults));
        }
        let catalog = self.store.fresh_catalog(caller).await?;
        let faults = check(&catalog, caller, members);
        Ok((catalog, faults))
    }

    /// Leaves out the faults of retries: events that are stored under their idempotency key were acceptable when they were appended.
    async fn without_retries<'a>(
        &self,
        caller: &Caller,
        members: impl Iterator<Item = (usize, &'a NewEvent)>,
        mut faults: Vec<EventFault>,
    ) -> Result<Vec<EventFault>, StoreError> {
        let at_fault: HashSet<usize> = faults.iter().map(|fault| fault.member).collect();
        let keyed: Vec<(usize, &str)> = members
            .filter(|(member, _)| at_fault.contains(member))
            .filter_map(|(member, event)| Some((member, event.idempotency_key.as_ref()?.as_str())))
            .collect();
        if keyed.is_empty() {
            return Ok(faults);
        }
        let keys: Vec<&str> = keyed.iter().map(|(_, key)| *key).collect();
        let known = self.store.known_keys(caller, &keys).await?;
        let retries = keyed.into_iter().filter(|(_, key)| known.contains(*key));
        let retries: HashSet<usize> = retries.map(|(member, _)| member).collect();
        faults.retain(|fault| !retries.contains(&fault.member));
        Ok(faults)
    }

    async fn count_and_wake(&self, caller: &Caller, events: &[NewEvent], appended: &[Appended]) {
        let new = appended.iter().filter(|appended| !appended.replayed);
        metrics::appended(new.clone().count());
        let new = new.filter_map(|appended| events.get(appended.member));
        self.wake(new.map(|event| event.stream(caller.tenant_id()))).await;
    }
}

fn refuse(faults: Vec<EventFault>) -> Result<(), AppendError> {
    match faults.first().map(|fault| fault.code) {
        None => Ok(()),
        Some(code) => Err(AppendError::Refused { code, faults }),
    }
}

/// Puts the events' correlation id on the log lines of the request, if all events have the same one.
fn correlate(events: &[NewEvent]) {
    let mut ids = events.iter().map(|event| event.correlation_id.as_ref());
    if let Some(Some(first)) = ids.next()
        && ids.all(|id| id == Some(first))
    {
        annals_telemetry::correlate(first.as_str());
    }
}
