//! The first of the two times that a file is read: checks that it can be read to its end, before any row is processed.

use std::collections::VecDeque;

use annals_csv::{Dataset, FileFault, Judge, Layout, Reader};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sha2::{Digest, Sha256};

use crate::error::ImportError;
use crate::file_format::{FileFormat, RowEnd};
use crate::options::Options;
use crate::warning::Warning;

/// What the inspection finds.
pub(crate) struct Inspected {
    /// SHA-256 of the file.
    pub(crate) file_sha256: [u8; 32],
    /// How the file is written.
    pub(crate) format: FileFormat,
    /// The positions of the dataset's columns.
    pub(crate) layout: Layout,
    /// The end of the header.
    pub(crate) start: RowEnd,
    /// How many rows the file has, without those that are left out.
    pub(crate) rows: i64,
    /// How many records after the header are left out, by the upload's filter or as its footer.
    pub(crate) left_out: i64,
}

impl Inspected {
    /// What the caller should know of the rows.
    pub(crate) fn warnings(&self) -> Option<Warning> {
        let message = || format!("{} rows are left out by filter or skip_footer", self.left_out);
        (self.left_out > 0).then(|| Warning::new("rows_left_out", message()))
    }
}

/// Reads a file to its end. A file that breaks off in the middle is refused here, so it leaves nothing behind.
///
/// # Errors
/// The file cannot be read, has no header of the dataset, or has no rows.
pub(crate) async fn inspect<S>(source: S, dataset: &Dataset, options: &Options) -> Result<Inspected, ImportError>
where
    S: Stream<Item = std::io::Result<Bytes>> + Unpin,
{
    let mut digest = Sha256::new();
    let source = source.inspect(|bytes: &std::io::Result<Bytes>| {
        if let Ok(bytes) = bytes {
            digest.update(bytes);
        }
    });
    let mut reader = Reader::new(source, options.read.format);
    let (layout, header) = reader.header(dataset, &options.read).await?;
    let start = RowEnd {
        point: reader.resume_point(),
        row: 0,
    };
    let (mut records, mut rows) = (0_i64, 0_i64);
    let mut judge = Judge::new(dataset, &layout, &options.read.values);
    // A report has only rows.
    let footer = if layout.is_report() {
        0
    } else {
        options.read.format.skip_footer
    };
    let footer = usize::try_from(footer).unwrap_or_default();
    // The last records, of which it is not known whether they are rows.
    let mut last = VecDeque::with_capacity(footer + 1);
    while let Some(record) = reader.next().await? {
        records += 1;
        last.push_back(record.copy());
        let Some(record) = (last.len() > footer).then(|| last.pop_front()).flatten() else {
            continue;
        };
        if layout.takes(&record) {
            judge.read(&record);
            rows += 1;
        }
    }
    let left_out = records - rows;
    let end = records - i64::try_from(last.len()).unwrap_or_default();
    let decimal = judge.finish()?;
    let format = FileFormat {
        encoding: reader.encoding().name().to_owned(),
        delimiter: reader.delimiter(),
        header: header.fields().map(str::to_owned).collect(),
        decimal,
        end: (!last.is_empty()).then_some(end),
    };
    drop(reader);
    if rows == 0 {
        return Err(match left_out {
            0 => FileFault::no_rows(),
            _ => FileFault::new(
                "no_rows",
                format!("all {left_out} rows of the file are left out by filter or skip_footer"),
            ),
        }
        .into());
    }
    Ok(Inspected {
        file_sha256: digest.finalize().into(),
        format,
        layout,
        start,
        rows,
        left_out,
    })
}
