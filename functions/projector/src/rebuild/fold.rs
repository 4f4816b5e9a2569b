//! A worker's share: some streams' events, read in pages, folded from nothing, their final states written.

use std::collections::HashSet;
use std::sync::Arc;

use annals::domain::weight::footprint_of;
use annals::domain::{Catalog, Entity, StreamId};
use annals::store::{PastEvent, Piece, Shadow, StateRow, Store, StoreError, StoredSnapshot, StreamToFold, Wave};

use super::RebuildError;
use super::snapshots::{self, WrongSnapshot};
use crate::plan;

/// Events that one read asks for at most.
const EVENTS_AT_ONCE: i32 = 1_000;
/// Bytes of memory, estimated, that states take at most before they are written, but for the last of them.
const MAX_FOOTPRINT: usize = 32 << 20;
/// Streams of one chunk.
const STREAMS_AT_ONCE: usize = 1_000;

/// Streams for one worker.
pub(super) struct Chunk {
    pub(super) store: Store,
    pub(super) shadow: Arc<Shadow>,
    pub(super) streams: Vec<StreamToFold>,
    /// Whether live read models that are right already need not be written.
    pub(super) may_be_sound: bool,
}

/// What came of a chunk.
#[derive(Default)]
pub(super) struct Folded {
    pub(super) events: i64,
    pub(super) streams: i64,
    pub(super) faults: Vec<Fault>,
    pub(super) wrong_snapshots: Vec<WrongSnapshot>,
}

/// A stream that has no state: its events cannot be folded, or a table refuses what they fold to.
pub(super) struct Fault {
    pub(super) stream: StreamId,
    pub(super) message: String,
}

/// A stream on its way.
struct Course {
    entity: Option<Entity>,
    started_by: String,
    /// The entity at the version that read models should hold, where it goes on from there.
    projected: Option<Entity>,
    fault: Option<String>,
    snapshots: Vec<StoredSnapshot>,
}

/// States that are waiting to be written.
#[derive(Default)]
struct Finished {
    wave: Wave,
    footprint: usize,
}

/// Cuts streams into chunks of about one read each; one that is longer is a chunk of its own, read in pages.
pub(super) fn chunks(streams: Vec<StreamToFold>) -> Vec<Vec<StreamToFold>> {
    let (mut chunks, mut events): (Vec<Vec<StreamToFold>>, i32) = (Vec::new(), 0);
    for stream in streams {
        events = events.saturating_add(last_wanted(&stream));
        match chunks.last_mut() {
            Some(last) if events <= EVENTS_AT_ONCE && last.len() < STREAMS_AT_ONCE => last.push(stream),
            _ => {
                events = last_wanted(&stream);
                chunks.push(vec![stream]);
            }
        }
    }
    chunks
}

/// As far as read models or snapshots go.
fn last_wanted(stream: &StreamToFold) -> i32 {
    let snapshot = stream.last_snapshot.unwrap_or_default().min(stream.version);
    stream.projected_version.max(snapshot)
}

impl Chunk {
    pub(super) async fn fold(self) -> Result<Folded, RebuildError> {
        let (mut folded, mut finished) = (Folded::default(), Finished::default());
        // Streams before this one are finished.
        let mut first = 0;
        let mut course = self.begin(first).await?;
        while first < self.streams.len() {
            let pieces = self.next_pieces(first, &course);
            if pieces.is_empty() {
                self.finish(first, course, &mut finished, &mut folded).await?;
                first += 1;
                course = self.begin(first).await?;
                continue;
            }
            let (revision, events) = self.shadow.read_histories(&pieces).await?;
            let catalog = self.store.projector_outline(revision).await?;
            if events.is_empty() {
                course.fault = Some(course.gap());
            }
            let read_from = first;
            for event in events {
                let place = read_from + event.place;
                while first < place {
                    self.finish(first, course, &mut finished, &mut folded).await?;
                    first += 1;
                    course = self.begin(first).await?;
                }
                let Some(stream) = self.streams.get(first) else { break };
                course.take(&catalog, stream, &event);
                folded.events += 1;
                folded.wrong_snapshots.extend(course.check_snapshots()?);
            }
        }
        self.write(std::mem::take(&mut finished.wave), &mut folded).await?;
        Ok(folded)
    }

    /// A stream's course, with its snapshots, which are few and may be large: they are read when it is their stream's turn.
    async fn begin(&self, place: usize) -> Result<Course, StoreError> {
        let mut course = Course::new();
        if let Some(stream) = self.streams.get(place).filter(|stream| stream.last_snapshot.is_some()) {
            course.snapshots = self.shadow.read_snapshots(&[stream]).await?;
        }
        Ok(course)
    }

    /// Takes a stream's state to those that are to be written, and writes them where they have become many.
    async fn finish(
        &self,
        place: usize,
        mut course: Course,
        finished: &mut Finished,
        folded: &mut Folded,
    ) -> Result<(), RebuildError> {
        let stream = &self.streams[place];
        let beyond = course.snapshots.drain(..).map(snapshots::beyond_the_stream);
        folded.wrong_snapshots.extend(beyond);
        match course.finish(stream) {
            Ok((entity, started_by)) => {
                finished.footprint += footprint_of(&entity.state);
                finished.wave.states.push(StateRow {
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
        if finished.footprint >= MAX_FOOTPRINT {
            self.write(std::mem::take(finished).wave, folded).await?;
        }
        Ok(())
    }

    /// What to read next: of the stream that is under way, and of those after it.
    fn next_pieces<'a>(&'a self, first: usize, course: &Course) -> Vec<Piece<'a>> {
        let (mut pieces, mut budget) = (Vec::new(), EVENTS_AT_ONCE);
        for (place, stream) in self.streams.iter().enumerate().skip(first) {
            let end = last_wanted(stream);
            let after = match place == first {
                true => course.version(),
                false => 0,
            };
            if place == first && (course.fault.is_some() || after >= end) {
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
        let sound = match self.may_be_sound {
            true => self.shadow.find_sound(&wave.states).await?,
            false => HashSet::new(),
        };
        self.write_wave(wave, &sound, folded).await
    }

    /// Where a table refuses a row, in halves, until the stream at fault is alone.
    async fn write_wave(
        &self,
        mut wave: Wave,
        sound: &HashSet<usize>,
        folded: &mut Folded,
    ) -> Result<(), RebuildError> {
        if wave.states.is_empty() {
            return Ok(());
        }
        let error = match self.shadow.write(&wave, sound).await {
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

impl Course {
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

    fn take(&mut self, catalog: &Catalog, stream: &StreamToFold, event: &PastEvent) {
        if self.fault.is_some() {
            return;
        }
        if event.version != self.version() + 1 {
            self.fault = Some(self.gap());
            return;
        }
        if let Some(started_by) = &event.started_by {
            self.started_by.clone_from(started_by);
        }
        let entity = self.entity.get_or_insert_with(|| Entity::before(event.created_at));
        let data = match event.data() {
            Ok(data) => data,
            Err(error) => {
                self.fault = Some(error.to_string());
                return;
            }
        };
        if let Err(error) = catalog.fold(stream.stream.tenant_id, entity, &event.fact(&data)) {
            self.fault = Some(error.to_string());
        } else if event.version == stream.projected_version && event.version < last_wanted(stream) {
            self.projected = Some(entity.clone());
        }
    }

    /// Compares the snapshot of the version that has been folded up to, if there is one.
    fn check_snapshots(&mut self) -> Result<Option<WrongSnapshot>, StoreError> {
        match &self.entity {
            Some(entity) => snapshots::check(&mut self.snapshots, entity, &self.started_by),
            None => Ok(None),
        }
    }

    /// The entity as read models should hold it, and who started it.
    fn finish(self, stream: &StreamToFold) -> Result<(Entity, String), String> {
        match (self.fault, self.projected.or(self.entity)) {
            (None, Some(entity)) if entity.version == stream.projected_version => Ok((entity, self.started_by)),
            (fault, _) => Err(fault.unwrap_or_else(|| "its events end before its progress".to_owned())),
        }
    }
}
