//! One rebuild under way: streams handed to workers, rounds until few are left, the exchange.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use annals::domain::StreamId;
use annals::store::{Exchange, Exchanged, Locked, Shadow, Shape, Store, StoreError, StreamToFold};
use tokio::task::JoinSet;

use super::fold::{self, Chunk, Fault, Folded};
use super::{Progress, RebuildError, Rebuilt};
use crate::rebuild::snapshots::WrongSnapshot;

/// Streams that may be left to fold behind the lock.
const FEW: usize = 2_000;
/// Rounds of catching up before each try at the lock.
const ROUNDS: usize = 5;
/// How often the lock is tried.
const TRIES: usize = 30;
/// Between two tries, so that projectors that queued up behind one get their turn.
const PAUSE: Duration = Duration::from_millis(200);

/// A rebuild, or a proof.
pub(super) struct Run {
    pub(super) shadow: Arc<Shadow>,
    store: Store,
    workers: usize,
    progress: Arc<Progress>,
    /// As they were before anything was folded that the tables still hold.
    shapes: Vec<Shape>,
    pub(super) wrong_snapshots: Vec<WrongSnapshot>,
    pub(super) faults: Vec<Fault>,
    faulty: HashSet<StreamId>,
}

/// Which streams a pass goes through.
#[derive(Clone, Copy)]
enum Pass<'a> {
    All,
    Of(&'a Shape),
    Outdated,
}

impl Run {
    pub(super) fn new(store: Store, shadow: Shadow, workers: usize, progress: Arc<Progress>) -> Self {
        Self {
            shadow: Arc::new(shadow),
            store,
            workers: workers.max(1),
            progress,
            shapes: Vec::new(),
            wrong_snapshots: Vec::new(),
            faults: Vec::new(),
            faulty: HashSet::new(),
        }
    }

    /// Folds and exchanges.
    pub(super) async fn rebuild(&mut self) -> Result<Exchanged, RebuildError> {
        self.fold_everything().await?;
        for _ in 0..TRIES {
            self.catch_up().await?;
            self.refuse_faults()?;
            if let Some(mended) = held_off(self.shadow.mend_kpis().await)? {
                // What was projected meanwhile must not be left for the lock.
                self.catch_up().await?;
                if let Some(locked) = held_off(self.shadow.lock(mended).await)?
                    && self.fold_the_last().await?
                {
                    self.refuse_faults()?;
                    if let Some(exchanged) = held_off(self.exchange(locked).await)? {
                        return Ok(exchanged);
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(RebuildError::Outrun)
    }

    async fn exchange(&self, locked: Locked) -> Result<Exchanged, StoreError> {
        let wrong: Vec<_> = self.wrong_snapshots.iter().map(WrongSnapshot::name).collect();
        let exchange = Exchange {
            shapes: &self.shapes,
            wrong_snapshots: &wrong,
        };
        self.shadow.exchange(locked, exchange).await
    }

    /// Folds until nothing is left, and keeps a snapshot of that moment.
    pub(super) async fn fold_to_a_snapshot(&mut self) -> Result<Locked, RebuildError> {
        self.fold_everything().await?;
        for _ in 0..TRIES {
            self.catch_up().await?;
            let Some(locked) = held_off(self.shadow.lock_for_a_snapshot().await)? else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            if self.fold_the_last().await? {
                locked.keep_snapshot().await?;
                self.note_progress().await?;
                return Ok(locked);
            }
        }
        Err(RebuildError::Outrun)
    }

    async fn fold_everything(&mut self) -> Result<(), RebuildError> {
        self.shapes = self.shadow.shapes().await?;
        self.progress
            .total
            .store(self.shadow.count_events().await?, Ordering::Relaxed);
        let shadow = Arc::clone(&self.shadow);
        let (made, passed) = tokio::join!(shadow.make_tables(), self.pass(Pass::All));
        passed?;
        made?;
        Ok(shadow.analyze().await?)
    }

    /// Folds what was projected further since it was folded, or has got another shape.
    async fn catch_up(&mut self) -> Result<(), RebuildError> {
        for _ in 0..ROUNDS {
            let now = self.shadow.shapes().await?;
            let before = std::mem::replace(&mut self.shapes, now.clone());
            for changed in now.iter().filter(|shape| !before.contains(shape)) {
                self.shadow.forget(changed).await?;
                self.forget_findings(|stream| changed.is_of(stream));
                self.pass(Pass::Of(changed)).await?;
            }
            if self.pass(Pass::Outdated).await? < FEW {
                break;
            }
        }
        Ok(())
    }

    /// What was found of streams that are folded anew is found anew, if it is still there.
    fn forget_findings(&mut self, of: impl Fn(&StreamId) -> bool) {
        self.wrong_snapshots.retain(|wrong| !of(&wrong.stream));
        self.faults.retain(|fault| !of(&fault.stream));
        self.faulty.retain(|stream| !of(stream));
    }

    /// Behind the lock: nothing is projected meanwhile, so this is the end of it. False: there is too much left, or another
    /// shape, and the lock must go. Progress is noted elsewhere: that may wait for somebody, which nothing may behind the lock.
    async fn fold_the_last(&mut self) -> Result<bool, RebuildError> {
        let left = self.shadow.list_outdated(None).await?;
        if left.len() > FEW || self.shadow.shapes().await? != self.shapes {
            return Ok(false);
        }
        let mut working = JoinSet::new();
        self.hand_out(&mut working, left, false).await?;
        self.wait_for(&mut working).await?;
        Ok(true)
    }

    /// Goes through streams in the order of their names; how many they were.
    async fn pass(&mut self, pass: Pass<'_>) -> Result<usize, RebuildError> {
        let (mut after, mut count): (Option<StreamId>, usize) = (None, 0);
        let mut working = JoinSet::new();
        loop {
            let page = match pass {
                Pass::All => self.shadow.list_streams(after.as_ref()).await?,
                Pass::Of(shape) => self.shadow.list_streams_of(shape, after.as_ref()).await?,
                Pass::Outdated => self.shadow.list_outdated(after.as_ref()).await?,
            };
            let Some(last) = page.last() else { break };
            after = Some(last.stream.clone());
            count += page.len();
            self.hand_out(&mut working, page, !matches!(pass, Pass::Outdated))
                .await?;
            self.note_progress().await?;
        }
        self.wait_for(&mut working).await?;
        Ok(count)
    }

    async fn note_progress(&self) -> Result<(), StoreError> {
        let (events, streams) = (self.progress.events(), self.progress.streams());
        self.shadow.note_progress(events, streams).await
    }

    /// Each chunk to a worker, as soon as one is free.
    async fn hand_out(
        &mut self,
        working: &mut JoinSet<Result<Folded, RebuildError>>,
        mut streams: Vec<StreamToFold>,
        may_be_sound: bool,
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
                may_be_sound,
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

    fn refuse_faults(&mut self) -> Result<(), RebuildError> {
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

/// None where somebody else was in the way for the moment.
fn held_off<T>(outcome: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match outcome {
        Ok(done) => Ok(Some(done)),
        Err(StoreError::Contention(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
