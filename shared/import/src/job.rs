//! The job: all that is the same for every row of an import.

use annals_append::AppendService;
use annals_csv::{Dataset, Layout, Reader, Record};
use annals_domain::Caller;
use annals_store::{LeasedImport, Store};
use bytes::Bytes;
use futures_util::Stream;
use serde_json::Value;
use uuid::Uuid;

use crate::error::ImportError;
use crate::file_format::{self, FileFormat, RowEnd};
use crate::options::Options;
use crate::plan::Frame;
use crate::report;

/// An import's services, caller, file and options.
pub(crate) struct Job {
    pub(crate) store: Store,
    pub(crate) appends: AppendService,
    /// Id of the upload.
    pub(crate) id: Uuid,
    /// The caller as whom events are appended.
    pub(crate) caller: Caller,
    /// What the server observed of the request for the upload.
    pub(crate) context: Value,
    pub(crate) dataset: &'static Dataset,
    pub(crate) options: Options,
    pub(crate) layout: Layout,
    pub(crate) frame: Frame,
    /// How the file is written.
    pub(crate) format: FileFormat,
    /// Where reading begins: the end of the header, or of the last row that all partitions have passed.
    pub(crate) start: RowEnd,
    /// Maximum bytes of rejected rows that one partition keeps for the report.
    pub(crate) report_bytes: usize,
}

impl Job {
    /// The job of a large upload whose file is inspected.
    ///
    /// # Errors
    /// What the inspection has recorded cannot be read, which is a bug.
    pub(crate) fn of_import(
        store: Store,
        appends: AppendService,
        import: &LeasedImport,
        dataset: &'static Dataset,
        mut options: Options,
    ) -> Result<Self, ImportError> {
        let (format, start) = file_format::recorded(import)?;
        options.read.values.decimal = format.decimal;
        let layout = Layout::find(dataset, &options.read, &Record::of(&format.header))?;
        Ok(Self {
            store,
            appends,
            id: import.id,
            caller: import.caller.clone(),
            context: import.context.clone(),
            dataset,
            frame: frame(dataset, &layout, import.id)?,
            options,
            layout,
            format,
            start,
            report_bytes: report::MAX_BYTES / import.partitions.len().max(1),
        })
    }

    /// A reader that begins at the job's start, of a source that begins at the start's offset.
    ///
    /// # Errors
    /// The recorded encoding is unknown, which is a bug.
    pub(crate) fn reader<S>(&self, source: S) -> Result<Reader<S>, ImportError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Unpin,
    {
        let encoding = self.format.encoding()?;
        Ok(Reader::resume(
            source,
            encoding,
            self.format.delimiter,
            self.start.point,
        ))
    }
}

/// The frame of an upload's events.
///
/// # Errors
/// It never fails in practice: the names and ids are always valid.
pub(crate) fn frame(dataset: &'static Dataset, layout: &Layout, id: Uuid) -> Result<Frame, ImportError> {
    Frame::new(dataset, layout, id).map_err(|fault| ImportError::Unexpected(fault.to_string()))
}
