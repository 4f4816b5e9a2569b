//! The first of the two times that a file is read: checks that it can be read to its end, before any row is processed.

use annals_csv::{Dataset, FileFault, Layout, Reader};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sha2::{Digest, Sha256};

use crate::error::ImportError;
use crate::file_format::{FileFormat, RowEnd};
use crate::options::Options;

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
    /// How many rows the file has.
    pub(crate) rows: i64,
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
    let layout = reader.header(dataset, &options.read).await?;
    let header = reader.record().fields().map(str::to_owned).collect();
    let start = RowEnd {
        point: reader.resume_point(),
        row: 0,
    };
    let mut rows = 0_i64;
    while reader.next().await?.is_some() {
        rows += 1;
    }
    let format = FileFormat {
        encoding: reader.encoding().name().to_owned(),
        delimiter: reader.delimiter(),
        header,
    };
    drop(reader);
    if rows == 0 {
        return Err(FileFault::no_rows().into());
    }
    Ok(Inspected {
        file_sha256: digest.finalize().into(),
        format,
        layout,
        start,
        rows,
    })
}
