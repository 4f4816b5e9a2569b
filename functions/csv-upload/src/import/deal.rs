//! The second reading: rows are dealt to lanes by the hash of their entities' ids, so that the rows of one entity keep their
//! order, while lanes append side by side.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use annals::storage::Object;
use annals::store::LaneProgress;
use serde_json::json;
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::lane::{Lane, Mark, Parcel};
use super::settle::{CHUNK_ROWS, Job, ReadRow};
use super::written::RowPlace;
use super::{ImportError, Importer, has_time};
use crate::reader::{Place, Reader};

/// Bytes of a chunk's records at which it is closed, however few they are: what lanes hold is this, some times over.
const CHUNK_BYTES: usize = 64 * 1024;
/// Rows between two places that are noted, and bytes: what a lane has settled is known anyway, this is what is read again, and how often
/// figures follow.
const MARK_ROWS: i64 = 20_000;
const MARK_BYTES: usize = 32 * 1024 * 1024;

/// How far dealing came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dealt {
    /// To the end of the file.
    All,
    /// As far as the invocation's time allowed.
    Some,
}

/// Rows for one lane.
struct Dealing {
    parcels: Sender<Parcel>,
    rows: Vec<ReadRow>,
    bytes: usize,
    settled_row: i64,
}

impl Importer {
    /// Deals what is left of the file; how far it came, and where lanes are.
    pub(super) async fn deal(
        &self,
        job: &Arc<Job>,
        object: &Object,
        deadline: Option<Instant>,
    ) -> Result<(Dealt, Vec<LaneProgress>), ImportError> {
        let RowPlace { place, row } = job.start;
        let mut reader = job.reader(self.storage.read(job.import.id, object, place.offset))?;
        let mut lanes = JoinSet::new();
        let mut dealings: Vec<Dealing> = Vec::new();
        for progress in &job.import.lanes {
            let (parcels, receiver) = channel(1);
            lanes.spawn(Lane::new(Arc::clone(job), *progress).run(receiver));
            dealings.push(Dealing {
                parcels,
                rows: Vec::new(),
                bytes: 0,
                settled_row: progress.settled_row,
            });
        }
        let dealt = deal_rows(job, &mut reader, &mut dealings, row, deadline).await;
        drop(dealings);
        // Lanes that were told to stop finish what they have. What went wrong in one of them goes before what that did to dealing.
        let mut ends = Vec::new();
        while let Some(ended) = lanes.join_next().await {
            ends.push(ended.map_err(|e| ImportError::Unexpected(e.to_string()))??);
        }
        Ok((dealt?, ends))
    }
}

async fn deal_rows<S>(
    job: &Arc<Job>,
    reader: &mut Reader<S>,
    dealings: &mut [Dealing],
    mut row: i64,
    deadline: Option<Instant>,
) -> Result<Dealt, ImportError>
where
    S: futures_util::Stream<Item = std::io::Result<bytes::Bytes>> + Unpin,
{
    let lanes = u64::try_from(dealings.len()).unwrap_or(1).max(1);
    let (mut rows_since, mut bytes_since) = (0, 0);
    while let Some(record) = reader.next().await? {
        row += 1;
        (rows_since, bytes_since) = (rows_since + 1, bytes_since + record.size());
        let read = ReadRow::of(job, row, record);
        let lane = usize::try_from(read.key() % lanes).unwrap_or_default();
        let dealing = &mut dealings[lane];
        // A lane may be ahead of the place that was noted.
        if row > dealing.settled_row {
            dealing.bytes += read.record.memory();
            dealing.rows.push(read);
            if dealing.rows.len() == CHUNK_ROWS || dealing.bytes >= CHUNK_BYTES {
                dealing.close().await?;
                if !has_time(deadline) {
                    mark(reader.place(), dealings, row).await?;
                    return Ok(Dealt::Some);
                }
            }
        }
        if rows_since == MARK_ROWS || bytes_since >= MARK_BYTES {
            mark(reader.place(), dealings, row).await?;
            (rows_since, bytes_since) = (0, 0);
        }
    }
    mark(reader.place(), dealings, row).await?;
    Ok(Dealt::All)
}

impl Dealing {
    async fn close(&mut self) -> Result<(), ImportError> {
        if !self.rows.is_empty() {
            let rows = std::mem::replace(&mut self.rows, Vec::with_capacity(CHUNK_ROWS));
            self.bytes = 0;
            self.send(Parcel::Rows(rows)).await?;
        }
        Ok(())
    }

    async fn send(&self, parcel: Parcel) -> Result<(), ImportError> {
        let sent = self.parcels.send(parcel).await;
        sent.map_err(|_| ImportError::Unexpected("a lane has ended".to_owned()))
    }
}

/// Deals all that is held back, and lets every lane come by the place that has been read to.
async fn mark(place: Place, dealings: &mut [Dealing], row: i64) -> Result<(), ImportError> {
    let mark = Arc::new(Mark {
        place: json!(RowPlace { place, row }),
        row,
        position: place.position(),
        left: AtomicUsize::new(dealings.len()),
    });
    for dealing in dealings {
        dealing.close().await?;
        dealing.send(Parcel::Mark(Arc::clone(&mark))).await?;
    }
    Ok(())
}
