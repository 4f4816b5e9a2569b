//! The second of the two times that a file is read: rows are dispatched to partitions by the hash of their entities' ids. This keeps the
//! rows of one entity in order, while partitions append concurrently.

use std::sync::Arc;

use annals_csv::Reader;
use annals_store::PartitionProgress;
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::Instant;

use crate::chunk::ReadRow;
use crate::deadline::has_time;
use crate::error::ImportError;
use crate::file_format::RowEnd;
use crate::job::Job;
use crate::message::{Message, Outlet, Watermark};

/// Distance of watermarks in rows and in bytes. An import that continues reads again from the last watermark, and the counts that the
/// uploader sees are updated at watermarks.
const WATERMARK_ROWS: i64 = 20_000;
const WATERMARK_BYTES: usize = 32 * 1024 * 1024;

/// The size at which a chunk is closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChunkSize {
    pub(crate) rows: usize,
    /// Bytes of the rows' records.
    pub(crate) bytes: usize,
}

/// How far the file was dispatched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// To its end.
    EndOfFile,
    /// To the deadline.
    Deadline,
}

/// The next chunk of a partition.
pub(crate) struct Slot<O> {
    pub(crate) outlet: O,
    rows: Vec<ReadRow>,
    bytes: usize,
    /// The partition's rows up to this number were done before.
    done_row: i64,
}

/// Reads the file from the job's start on and dispatches its rows.
///
/// # Errors
/// The file cannot be read, or a partition has failed.
pub(crate) async fn dispatch<S, O>(
    job: &Job,
    mut reader: Reader<S>,
    slots: &mut [Slot<O>],
    size: ChunkSize,
    deadline: Option<Instant>,
) -> Result<Extent, ImportError>
where
    S: Stream<Item = std::io::Result<Bytes>> + Unpin,
    O: Outlet,
{
    let partitions = u64::try_from(slots.len()).unwrap_or(1).max(1);
    let mut row = job.start.row;
    let (mut rows_since, mut bytes_since) = (0, 0);
    while let Some(record) = reader.next().await? {
        row += 1;
        if job.format.end.is_some_and(|end| row > end) {
            break;
        }
        if !job.layout.takes(record) {
            continue;
        }
        (rows_since, bytes_since) = (rows_since + 1, bytes_since + record.size());
        let read = ReadRow::new(job, row, record);
        let slot = &mut slots[usize::try_from(read.partition_key() % partitions).unwrap_or_default()];
        // A partition may have been ahead of the last watermark.
        if row > slot.done_row {
            slot.bytes += read.record.memory();
            slot.rows.push(read);
            if slot.rows.len() == size.rows || slot.bytes >= size.bytes {
                slot.close().await?;
                if !has_time(deadline) {
                    send_watermark(end(&reader, row), slots).await?;
                    return Ok(Extent::Deadline);
                }
            }
        }
        if rows_since == WATERMARK_ROWS || bytes_since >= WATERMARK_BYTES {
            send_watermark(end(&reader, row), slots).await?;
            (rows_since, bytes_since) = (0, 0);
        }
    }
    send_watermark(end(&reader, row), slots).await?;
    Ok(Extent::EndOfFile)
}

/// The end of the last row that was read.
fn end<S>(reader: &Reader<S>, row: i64) -> RowEnd
where
    S: Stream<Item = std::io::Result<Bytes>> + Unpin,
{
    RowEnd {
        point: reader.resume_point(),
        row,
    }
}

/// Closes the chunks of all partitions and sends them a watermark.
async fn send_watermark<O: Outlet>(end: RowEnd, slots: &mut [Slot<O>]) -> Result<(), ImportError> {
    let watermark = Arc::new(Watermark::new(end, slots.len()));
    for slot in slots {
        slot.close().await?;
        slot.outlet.send(Message::Watermark(Arc::clone(&watermark))).await?;
    }
    Ok(())
}

impl<O: Outlet> Slot<O> {
    /// The slot of a partition with this progress.
    pub(crate) fn new(outlet: O, progress: &PartitionProgress) -> Self {
        Self {
            outlet,
            rows: Vec::new(),
            bytes: 0,
            done_row: progress.done_row,
        }
    }

    async fn close(&mut self) -> Result<(), ImportError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let capacity = self.rows.capacity();
        let rows = std::mem::replace(&mut self.rows, Vec::with_capacity(capacity));
        self.bytes = 0;
        self.outlet.send(Message::Rows(rows)).await
    }
}
