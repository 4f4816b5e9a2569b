//! Takes snapshots that are missing, or that the rebuild found unusable. Only of long streams, where some version could otherwise be loaded
//! only by folding more than a thousand events.
//!
//! This runs after the exchange, because then states are folded as the catalog says now. If it fails, reads of past versions are slower,
//! and nothing else.

use std::num::NonZeroI32;

use annals_domain::{Entity, StreamId};
use annals_store::{Piece, Shadow, SnapshotMetadata, StateRow, Store, StoreError, StreamToFold};

/// Maximum number of events that one read returns.
const EVENTS_PER_READ: i32 = 1_000;

/// Takes the missing snapshots in the rebuild's scope.
pub(super) async fn refill(store: &Store, shadow: &Shadow, every: NonZeroI32) -> Result<(), StoreError> {
    let mut after: Option<StreamId> = None;
    loop {
        let page = shadow.list_sparse(after.as_ref()).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.stream.clone());
        for stream in &page {
            refill_stream(store, shadow, every, stream).await?;
        }
    }
}

/// Folds the stream from its first event and takes its snapshots on the way. It stops if the catalog changes meanwhile, because the events
/// before the change may have been folded differently.
async fn refill_stream(
    store: &Store,
    shadow: &Shadow,
    every: NonZeroI32,
    stream: &StreamToFold,
) -> Result<(), StoreError> {
    let (mut entity, mut started_by, mut folded_by): (Option<Entity>, String, Option<i64>) =
        (None, String::new(), None);
    loop {
        let reached = entity.as_ref().map_or(0, |entity| entity.version);
        let piece = Piece {
            stream: &stream.stream,
            after: reached,
            to: stream.projected_version.min(reached.saturating_add(EVENTS_PER_READ)),
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
            let folded = entity.get_or_insert_with(|| Entity::before(event.text.created_at));
            let data = event.text.data()?;
            catalog.fold(stream.stream.tenant_id, folded, &event.text.fact(&data))?;
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
