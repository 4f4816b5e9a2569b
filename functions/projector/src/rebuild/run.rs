//! A running rebuild or verification: it dispatches streams to workers, catches up in rounds until few streams are left, and ends with the
//! exchange or the comparison.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use annals_domain::StreamId;
use annals_store::{Exchange, Exchanged, FoldVersion, Locked, Shadow, Store, StoreError, StreamToFold};
use tokio::task::JoinSet;

use super::fold::{self, Chunk, Fault, Folded};
use super::outcome::{Progress, RebuildError, Rebuilt};
use super::snapshots::WrongSnapshot;

/// How many streams may be left to fold under the lock.
const MAX_STREAMS_UNDER_LOCK: usize = 2_000;
/// Rounds of catching up before each attempt at the lock.
const CATCH_UP_ROUNDS: usize = 5;
/// Maximum attempts at the lock.
const LOCK_ATTEMPTS: usize = 30;
/// Pause between two attempts, in which projectors that wait for the lock proceed.
const LOCK_PAUSE: Duration = Duration::from_millis(200);

/// A running rebuild or verification.
pub(super) struct Run {
    pub(super) shadow: Arc<Shadow>,
    store: Store,
    workers: usize,
    progress: Arc<Progress>,
    /// The fold version of each aggregate type by which the states in the new tables were folded. It is read before the fold, so that a
    /// change during the fold is noticed.
    fold_versions: Vec<FoldVersion>,
    pub(super) wrong_snapshots: Vec<WrongSnapshot>,
    pub(super) faults: Vec<Fault>,
    faulty: HashSet<StreamId>,
}

/// Which streams a pass folds.
#[derive(Clone, Copy)]
enum Pass<'a> {
    All,
    OfFoldVersion(&'a FoldVersion),
    /// Those that were projected further after they were folded.
    Outdated,
}

impl Run {
    pub(super) fn new(store: Store, shadow: Shadow, workers: usize, progress: Arc<Progress>) -> Self {
        Self {
            shadow: Arc::new(shadow),
            store,
            workers: workers.max(1),
            progress,
            fold_versions: Vec::new(),
            wrong_snapshots: Vec::new(),
            faults: Vec::new(),
            faulty: HashSet::new(),
        }
    }

    /// Folds everything and exchanges the tables.
    pub(super) async fn rebuild(&mut self) -> Result<Exchanged, RebuildError> {
        self.fold_everything().await?;
        for _ in 0..LOCK_ATTEMPTS {
            self.catch_up().await?;
            self.fail_on_fault()?;
            if let Some(repaired) = unless_contended(self.shadow.repair_key_figures().await)? {
                // Events projected during the repair are folded now, so that little is left to fold under the lock.
                self.catch_up().await?;
                if let Some(locked) = unless_contended(self.shadow.lock(repaired).await)?
                    && self.fold_rest_under_lock().await?
                {
                    self.fail_on_fault()?;
                    if let Some(exchanged) = unless_contended(self.exchange(locked).await)? {
                        return Ok(exchanged);
                    }
                }
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        Err(RebuildError::NeverCaughtUp)
    }

    async fn exchange(&self, locked: Locked) -> Result<Exchanged, StoreError> {
        let wrong: Vec<_> = self.wrong_snapshots.iter().map(WrongSnapshot::key).collect();
        let exchange = Exchange {
            fold_versions: &self.fold_versions,
            wrong_snapshots: &wrong,
        };
        self.shadow.exchange(locked, exchange).await
    }

    /// Folds until nothing is left, and then lets projectors continue. The tables are compared as they were at that moment, which the
    /// transaction's snapshot shows.
    pub(super) async fn fold_to_a_snapshot(&mut self) -> Result<Locked, RebuildError> {
        self.fold_everything().await?;
        for _ in 0..LOCK_ATTEMPTS {
            self.catch_up().await?;
            if let Some(locked) = unless_contended(self.shadow.lock_for_a_snapshot().await)?
                && self.fold_rest_under_lock().await?
            {
                locked.keep_snapshot().await?;
                self.note_progress().await?;
                return Ok(locked);
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        Err(RebuildError::NeverCaughtUp)
    }

    async fn fold_everything(&mut self) -> Result<(), RebuildError> {
        self.fold_versions = self.shadow.fold_versions().await?;
        self.progress
            .total
            .store(self.shadow.count_events().await?, Ordering::Relaxed);
        let shadow = Arc::clone(&self.shadow);
        let (made, passed) = tokio::join!(shadow.make_tables(), self.pass(Pass::All));
        passed?;
        made?;
        Ok(shadow.analyze().await?)
    }

    /// Folds streams again that were projected further since they were folded, or whose type is folded differently since a change of the
    /// catalog.
    async fn catch_up(&mut self) -> Result<(), RebuildError> {
        for _ in 0..CATCH_UP_ROUNDS {
            let now = self.shadow.fold_versions().await?;
            let before = std::mem::replace(&mut self.fold_versions, now.clone());
            for changed in now.iter().filter(|version| !before.contains(version)) {
                self.shadow.forget(changed).await?;
                self.forget_findings(|stream| changed.is_of(stream));
                self.pass(Pass::OfFoldVersion(changed)).await?;
            }
            if self.pass(Pass::Outdated).await? < MAX_STREAMS_UNDER_LOCK {
                break;
            }
        }
        Ok(())
    }

    /// Forgets the faults and wrong snapshots of streams that are folded again. The new fold finds them again, if they are still there.
    fn forget_findings(&mut self, of: impl Fn(&StreamId) -> bool) {
        self.wrong_snapshots.retain(|wrong| !of(&wrong.stream));
        self.faults.retain(|fault| !of(&fault.stream));
        self.faulty.retain(|stream| !of(stream));
    }

    /// Folds the streams that are left, while the lock stops all projectors. Returns false if too many streams are left or the catalog has
    /// changed. The caller must then release the lock. This does not record progress, because that could wait for another session, and
    /// nothing may wait under the lock.
    async fn fold_rest_under_lock(&mut self) -> Result<bool, RebuildError> {
        let left = self.shadow.list_outdated(None).await?;
        if left.len() > MAX_STREAMS_UNDER_LOCK || self.shadow.fold_versions().await? != self.fold_versions {
            return Ok(false);
        }
        let mut working = JoinSet::new();
        self.dispatch(&mut working, left, false).await?;
        self.wait_for(&mut working).await?;
        Ok(true)
    }

    /// Folds the streams of a pass, in the order of their ids. Returns how many there were.
    async fn pass(&mut self, pass: Pass<'_>) -> Result<usize, RebuildError> {
        let (mut after, mut count): (Option<StreamId>, usize) = (None, 0);
        let mut working = JoinSet::new();
        loop {
            let page = match pass {
                Pass::All => self.shadow.list_streams(after.as_ref()).await?,
                Pass::OfFoldVersion(version) => self.shadow.list_streams_of(version, after.as_ref()).await?,
                Pass::Outdated => self.shadow.list_outdated(after.as_ref()).await?,
            };
            let Some(last) = page.last() else { break };
            after = Some(last.stream.clone());
            count += page.len();
            let skip_unchanged = !matches!(pass, Pass::Outdated);
            self.dispatch(&mut working, page, skip_unchanged).await?;
            self.note_progress().await?;
        }
        self.wait_for(&mut working).await?;
        Ok(count)
    }

    async fn note_progress(&self) -> Result<(), StoreError> {
        let (events, streams) = (self.progress.events(), self.progress.streams());
        self.shadow.note_progress(events, streams).await
    }

    /// Gives each chunk to a worker as soon as one is free. Streams that have a fault already are left out.
    async fn dispatch(
        &mut self,
        working: &mut JoinSet<Result<Folded, RebuildError>>,
        mut streams: Vec<StreamToFold>,
        skip_unchanged: bool,
    ) -> Result<(), RebuildError> {
        streams.retain(|stream| !self.faulty.contains(&stream.stream));
        if !self.wrong_snapshots.is_empty() {
            let again: HashSet<&StreamId> = streams.iter().map(|stream| &stream.stream).collect();
            self.wrong_snapshots.retain(|wrong| !again.contains(&wrong.stream));
        }
        for streams in fold::chunks(streams) {
            while working.len() >= self.workers {
                self.wait_for_one(working).await?;
            }
            let chunk = Chunk {
                store: self.store.clone(),
                shadow: Arc::clone(&self.shadow),
                streams,
                skip_unchanged,
            };
            working.spawn(chunk.fold());
        }
        Ok(())
    }

    async fn wait_for(&mut self, working: &mut JoinSet<Result<Folded, RebuildError>>) -> Result<(), RebuildError> {
        while !working.is_empty() {
            self.wait_for_one(working).await?;
        }
        Ok(())
    }

    async fn wait_for_one(&mut self, working: &mut JoinSet<Result<Folded, RebuildError>>) -> Result<(), RebuildError> {
        let Some(done) = working.join_next().await else {
            return Ok(());
        };
        let folded = done.map_err(|e| StoreError::Unexpected(format!("a worker ended early: {e}")))??;
        self.progress.events.fetch_add(folded.events, Ordering::Relaxed);
        self.progress.streams.fetch_add(folded.streams, Ordering::Relaxed);
        self.wrong_snapshots.extend(folded.wrong_snapshots);
        self.faulty
            .extend(folded.faults.iter().map(|fault| fault.stream.clone()));
        self.faults.extend(folded.faults);
        Ok(())
    }

    fn fail_on_fault(&mut self) -> Result<(), RebuildError> {
        match self.faults.pop() {
            None => Ok(()),
            Some(fault) => Err(RebuildError::AtStream {
                stream: fault.stream,
                message: fault.message,
            }),
        }
    }

    pub(super) fn rebuilt(&self, exchanged: Exchanged) -> Rebuilt {
        Rebuilt {
            id: self.shadow.id(),
            streams: exchanged.compared.streams,
            events: exchanged.compared.events,
            changed_rows: exchanged.changed_rows,
        }
    }

    pub(super) async fn fail(&self, error: &RebuildError) {
        let tenant = match error {
            RebuildError::AtStream { stream, .. } => Some(stream.tenant_id),
            _ => None,
        };
        self.shadow.fail(&error.to_string(), tenant).await;
    }
}

/// `None` if another session held a lock; the step can be tried again.
fn unless_contended<T>(outcome: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match outcome {
        Ok(done) => Ok(Some(done)),
        Err(StoreError::Contention(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
