//! Snapshots in place of those that a rebuild has found useless, or that were never taken: of long streams only, where some version
//! would otherwise be loaded from more than a thousand events.
//!
//! After the exchange: states are of the shape that they have now, and what goes wrong here costs readers time and nothing else.

use std::num::NonZeroI32;

use annals::domain::{Entity, StreamId};
use annals::store::{Piece, Shadow, SnapshotMetadata, StateRow, Store, StoreError, StreamToFold};

/// Events that one read asks for at most.
const EVENTS_AT_ONCE: i32 = 1_000;

/// Takes the snapshots that are missing in the rebuild's scope.
pub(super) async fn refill(store: &Store, shadow: &Shadow, every: NonZeroI32) -> Result<(), StoreError> {
    let mut after: Option<StreamId> = None;
    loop {
        let page = shadow.list_sparse(after.as_ref()).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.stream.clone());
        for stream in &page {
            of_stream(store, shadow, every, stream).await?;
        }
    }
}

/// Folds the stream from its first event and takes its snapshots on the way; not further than where the catalog changes, because what
/// was folded before might be of another shape.
async fn of_stream(store: &Store, shadow: &Shadow, every: NonZeroI32, stream: &StreamToFold) -> Result<(), StoreError> {
    let (mut entity, mut started_by, mut folded_by): (Option<Entity>, String, Option<i64>) =
        (None, String::new(), None);
    loop {
        let reached = entity.as_ref().map_or(0, |entity| entity.version);
        let piece = Piece {
            stream: &stream.stream,
            after: reached,
            to: stream.projected_version.min(reached.saturating_add(EVENTS_AT_ONCE)),
        };
        let (revision, events) = shadow.read_histories(&[piece]).await?;
        if events.is_empty() || *folded_by.get_or_insert(revision) != revision {
            return Ok(());
        }
        let catalog = store.projector_outline(revision).await?;
        for event in events {
            if let Some(by) = &event.started_by {
                started_by.clone_from(by);
            }
            let folded = entity.get_or_insert_with(|| Entity::before(event.created_at));
            let data = event.data()?;
            catalog.fold(stream.stream.tenant_id, folded, &event.fact(&data))?;
            if SnapshotMetadata::is_due_at(folded.version, every.get(), stream.projected_version) {
                let row = StateRow {
                    stream: stream.stream.clone(),
                    started_by: started_by.clone(),
                    entity: folded.clone(),
                };
                if !store
                    .take_snapshot(row, revision, &SnapshotMetadata::refilled())
                    .await?
                {
                    return Ok(());
                }
            }
        }
    }
}
