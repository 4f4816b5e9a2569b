//! A worker's part of a rebuild: it reads the events of some streams in pages, folds them from the first one, and writes the final states.

use std::collections::HashSet;
use std::sync::Arc;

use annals_domain::weight::footprint_of;
use annals_domain::{Catalog, Entity, StreamId};
use annals_store::{PastEvent, Piece, Shadow, StateRow, Store, StoreError, StoredSnapshot, StreamToFold, Wave};

use super::outcome::RebuildError;
use super::snapshots::{self, WrongSnapshot};
use crate::plan;

/// Maximum number of events that one read returns.
const EVENTS_PER_READ: i32 = 1_000;
/// Estimated bytes of memory of folded states after which they are written. The last state that is added may exceed it.
const MAX_FOOTPRINT: usize = 32 << 20;
/// Maximum number of streams of a chunk.
const STREAMS_PER_CHUNK: usize = 1_000;

/// Streams that one worker folds, in order.
pub(super) struct Chunk {
    pub(super) store: Store,
    pub(super) shadow: Arc<Shadow>,
    pub(super) streams: Vec<StreamToFold>,
    /// Whether states that equal the live read models are left out. False for streams that were projected during the rebuild: they are
    /// always written.
    pub(super) skip_unchanged: bool,
}

/// The result of a chunk.
#[derive(Default)]
pub(super) struct Folded {
    pub(super) events: i64,
    pub(super) streams: i64,
    pub(super) faults: Vec<Fault>,
    pub(super) wrong_snapshots: Vec<WrongSnapshot>,
}

/// A stream without a state: its events cannot be folded, or a table refuses the state.
pub(super) struct Fault {
    pub(super) stream: StreamId,
    pub(super) message: String,
}

/// The fold of one stream, as far as its events have been read.
struct StreamFold {
    entity: Option<Entity>,
    started_by: String,
    /// The entity at its projected version, which the read models hold. Set if the fold continues beyond it, to check later snapshots.
    projected: Option<Entity>,
    fault: Option<String>,
    /// Snapshots of the stream that are not checked yet.
    snapshots: Vec<StoredSnapshot>,
}

/// Folded states that are not written yet.
#[derive(Default)]
struct PendingStates {
    wave: Wave,
    footprint: usize,
}

/// Cuts streams into chunks of about one read each. A longer stream is a chunk of its own and is read in pages.
pub(super) fn chunks(streams: Vec<StreamToFold>) -> Vec<Vec<StreamToFold>> {
    let (mut chunks, mut events): (Vec<Vec<StreamToFold>>, i32) = (Vec::new(), 0);
    for stream in streams {
        events = events.saturating_add(last_wanted(&stream));
        match chunks.last_mut() {
            Some(last) if events <= EVENTS_PER_READ && last.len() < STREAMS_PER_CHUNK => last.push(stream),
            _ => {
                events = last_wanted(&stream);
                chunks.push(vec![stream]);
            }
        }
    }
    chunks
}

/// The version up to which the stream is folded: that of the read models or of the last snapshot, whichever is higher.
fn last_wanted(stream: &StreamToFold) -> i32 {
    let snapshot = stream.last_snapshot.unwrap_or_default().min(stream.version);
    stream.projected_version.max(snapshot)
}

impl Chunk {
    pub(super) async fn fold(self) -> Result<Folded, RebuildError> {
        let (mut folded, mut pending) = (Folded::default(), PendingStates::default());
        // Index of the stream that is being folded. All streams before it are finished.
        let mut current = 0;
        let mut fold = self.begin(current).await?;
        while current < self.streams.len() {
            let pieces = self.next_pieces(current, &fold);
            if pieces.is_empty() {
                self.finish(current, fold, &mut pending, &mut folded).await?;
                current += 1;
                fold = self.begin(current).await?;
                continue;
            }
            let (revision, events) = self.shadow.read_histories(&pieces).await?;
            let catalog = self.store.projector_outline(revision).await?;
            if events.is_empty() {
                fold.fault = Some(fold.gap());
            }
            let read_from = current;
            for event in events {
                let of_event = read_from + event.place;
                while current < of_event {
                    self.finish(current, fold, &mut pending, &mut folded).await?;
                    current += 1;
                    fold = self.begin(current).await?;
                }
                let Some(stream) = self.streams.get(current) else { break };
                fold.apply(&catalog, stream, &event);
                folded.events += 1;
                folded.wrong_snapshots.extend(fold.check_snapshots()?);
            }
        }
        self.write(std::mem::take(&mut pending.wave), &mut folded).await?;
        Ok(folded)
    }

    /// The empty fold of a stream, with the stream's snapshots. They are few but may be large, so they are read only when their stream
    /// begins.
    async fn begin(&self, index: usize) -> Result<StreamFold, StoreError> {
        let mut fold = StreamFold::new();
        if let Some(stream) = self.streams.get(index).filter(|stream| stream.last_snapshot.is_some()) {
            fold.snapshots = self.shadow.read_snapshots(&[stream]).await?;
        }
        Ok(fold)
    }

    /// Adds a finished stream's state to the pending ones, and writes those if they take much memory.
    async fn finish(
        &self,
        index: usize,
        mut fold: StreamFold,
        pending: &mut PendingStates,
        folded: &mut Folded,
    ) -> Result<(), RebuildError> {
        let stream = &self.streams[index];
        let beyond = fold.snapshots.drain(..).map(snapshots::beyond_the_stream);
        folded.wrong_snapshots.extend(beyond);
        match fold.finish(stream) {
            Ok((entity, started_by)) => {
                pending.footprint += footprint_of(&entity.state);
                pending.wave.states.push(StateRow {
                    stream: stream.stream.clone(),
                    started_by,
                    entity,
                });
            }
            Err(message) => folded.faults.push(Fault {
                stream: stream.stream.clone(),
                message,
            }),
        }
        if pending.footprint >= MAX_FOOTPRINT {
            self.write(std::mem::take(pending).wave, folded).await?;
        }
        Ok(())
    }

    /// What to read next: the rest of the current stream, and the streams after it. Empty if the current stream is finished.
    fn next_pieces<'a>(&'a self, current: usize, fold: &StreamFold) -> Vec<Piece<'a>> {
        let (mut pieces, mut budget) = (Vec::new(), EVENTS_PER_READ);
        for (index, stream) in self.streams.iter().enumerate().skip(current) {
            let end = last_wanted(stream);
            let after = match index == current {
                true => fold.version(),
                false => 0,
            };
            if index == current && (fold.fault.is_some() || after >= end) {
                break;
            }
            let to = end.min(after + budget);
            budget -= to - after;
            let piece = Piece {
                stream: &stream.stream,
                after,
                to,
            };
            pieces.push(piece);
            if budget == 0 {
                break;
            }
        }
        pieces
    }

    async fn write(&self, mut wave: Wave, folded: &mut Folded) -> Result<(), RebuildError> {
        let tables = self.shadow.child_tables();
        wave.children = wave
            .states
            .iter()
            .flat_map(|row| plan::child_rows(tables, row))
            .collect();
        let unchanged = match self.skip_unchanged {
            true => self.shadow.find_unchanged(&wave.states).await?,
            false => HashSet::new(),
        };
        self.write_wave(wave, &unchanged, folded).await
    }

    /// Writes a wave. If a table refuses a row, the wave is halved until the stream at fault is alone.
    async fn write_wave(
        &self,
        mut wave: Wave,
        unchanged: &HashSet<usize>,
        folded: &mut Folded,
    ) -> Result<(), RebuildError> {
        if wave.states.is_empty() {
            return Ok(());
        }
        let error = match self.shadow.write(&wave, unchanged).await {
            Ok(()) => {
                folded.streams += i64::try_from(wave.states.len()).unwrap_or_default();
                return Ok(());
            }
            Err(error) => error,
        };
        let Some((_, message)) = error.poison() else {
            return Err(error.into());
        };
        if let [row] = wave.states.as_slice() {
            folded.faults.push(Fault {
                stream: row.stream.clone(),
                message: message.into_owned(),
            });
            return Ok(());
        }
        let mut second = Wave {
            states: wave.states.split_off(wave.states.len() / 2),
            ..Wave::default()
        };
        let belongs_to_first = |stream: &StreamId| wave.states.iter().any(|row| row.stream == *stream);
        (wave.children, second.children) = std::mem::take(&mut wave.children)
            .into_iter()
            .partition(|row| belongs_to_first(&row.key.stream));
        Box::pin(self.write_wave(wave, &HashSet::new(), folded)).await?;
        Box::pin(self.write_wave(second, &HashSet::new(), folded)).await
    }
}

impl StreamFold {
    fn new() -> Self {
        Self {
            entity: None,
            started_by: String::new(),
            projected: None,
            fault: None,
            snapshots: Vec::new(),
        }
    }

    fn version(&self) -> i32 {
        self.entity.as_ref().map_or(0, |entity| entity.version)
    }

    fn gap(&self) -> String {
        format!("the log has no event {}", self.version() + 1)
    }

    /// Applies the next event. After a fault, further events are ignored.
    fn apply(&mut self, catalog: &Catalog, stream: &StreamToFold, event: &PastEvent) {
        if self.fault.is_some() {
            return;
        }
        if event.text.version != self.version() + 1 {
            self.fault = Some(self.gap());
            return;
        }
        if let Some(started_by) = &event.started_by {
            self.started_by.clone_from(started_by);
        }
        let entity = self.entity.get_or_insert_with(|| Entity::before(event.text.created_at));
        let data = match event.text.data() {
            Ok(data) => data,
            Err(error) => {
                self.fault = Some(error.to_string());
                return;
            }
        };
        if let Err(error) = catalog.fold(stream.stream.tenant_id, entity, &event.text.fact(&data)) {
            self.fault = Some(error.to_string());
        } else if event.text.version == stream.projected_version && event.text.version < last_wanted(stream) {
            self.projected = Some(entity.clone());
        }
    }

    /// Compares the snapshot of the version that the fold has reached, if there is one.
    fn check_snapshots(&mut self) -> Result<Option<WrongSnapshot>, StoreError> {
        match &self.entity {
            Some(entity) => snapshots::check(&mut self.snapshots, entity, &self.started_by),
            None => Ok(None),
        }
    }

    /// The entity as read models should hold it, and the actor that started the stream. An error says why the stream has no such state.
    fn finish(self, stream: &StreamToFold) -> Result<(Entity, String), String> {
        match (self.fault, self.projected.or(self.entity)) {
            (None, Some(entity)) if entity.version == stream.projected_version => Ok((entity, self.started_by)),
            (fault, _) => Err(fault.unwrap_or_else(|| "the log ends before the projected version".to_owned())),
        }
    }
}
