//! What a partition is sent: rows, and watermarks between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc::Sender;

use crate::chunk::ReadRow;
use crate::error::ImportError;
use crate::file_format::RowEnd;

/// A message to a partition.
pub(crate) enum Message {
    /// The next rows of the partition, in the file's order.
    Rows(Vec<ReadRow>),
    /// All rows before this point have been sent.
    Watermark(Arc<Watermark>),
}

/// A point in the file. A partition passes it when it has finished its rows before that point.
pub(crate) struct Watermark {
    pub(crate) end: RowEnd,
    /// Partitions that have not passed it.
    left: AtomicUsize,
}

/// Where the messages of a partition go: directly to the partition, or through a channel to the task that runs it.
pub(crate) trait Outlet {
    /// Sends a message; waits while the partition is busy.
    ///
    /// # Errors
    /// The partition's error, or that its task has ended.
    async fn send(&mut self, message: Message) -> Result<(), ImportError>;
}

impl Watermark {
    /// A watermark for this number of partitions.
    pub(crate) fn new(end: RowEnd, partitions: usize) -> Self {
        Self {
            end,
            left: AtomicUsize::new(partitions),
        }
    }

    /// Notes that a partition passes; returns whether it is the last one.
    pub(crate) fn pass(&self) -> bool {
        self.left.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl Outlet for Sender<Message> {
    async fn send(&mut self, message: Message) -> Result<(), ImportError> {
        let sent = Self::send(self, message).await;
        sent.map_err(|_| ImportError::Unexpected("a partition has ended".to_owned()))
    }
}
