//! The first reading of a file: whether it can be read to its end, and what there is to know of it before a row is dealt with.

use annals::storage::Object;
use annals::store::{HeldImport, Inspection};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::written::{RowPlace, Written};
use super::{ImportError, Importer, LANES};
use crate::dataset::Dataset;
use crate::fault::FileFault;
use crate::options::Options;
use crate::reader::Reader;

/// Most rows of an import that is all or nothing, or only says what it would do: it is one transaction, and while that is open
/// readers across streams wait for what comes after it.
const MAX_WHOLE_ROWS: i64 = 1_000_000;

impl Importer {
    /// Reads the file to its end and notes what was found.
    pub(super) async fn inspect(
        &self,
        import: &HeldImport,
        object: &Object,
        dataset: &'static Dataset,
        options: &Options,
    ) -> Result<(), ImportError> {
        let mut digest = Sha256::new();
        let source = self.storage.read(import.id, object, 0);
        let source = source.inspect(|bytes: &std::io::Result<Bytes>| {
            if let Ok(bytes) = bytes {
                digest.update(bytes);
            }
        });
        let mut reader = Reader::new(source, options.format);
        let layout = reader.header(dataset, &options.mapping).await?;
        let header = reader.record().fields().map(str::to_owned).collect();
        let place = RowPlace {
            place: reader.place(),
            row: 0,
        };
        let mut rows = 0_i64;
        while reader.next().await?.is_some() {
            rows += 1;
        }
        let (encoding, delimiter) = reader.found();
        drop(reader);
        let is_whole = options.is_whole();
        check_rows(rows, is_whole)?;
        let written = Written {
            encoding: encoding.name().to_owned(),
            delimiter: delimiter.unwrap_or(b','),
            header,
        };
        let found = Inspection {
            file_sha256: &digest.finalize(),
            header: layout.headers(),
            delimiter: char::from(written.delimiter),
            ignored_columns: &layout.ignored(),
            rows,
            reader: &json!(written),
            place: &json!(place),
            lanes: if is_whole { 1 } else { LANES },
        };
        Ok(self.store.note_inspection(import, &found).await?)
    }
}

fn check_rows(rows: i64, is_whole: bool) -> Result<(), FileFault> {
    if rows == 0 {
        return Err(FileFault::no_rows());
    }
    if is_whole && rows > MAX_WHOLE_ROWS {
        let message = format!(
            "the file has {rows} rows; with mode=all_or_nothing or dry_run=true a large upload takes at most {MAX_WHOLE_ROWS}"
        );
        return Err(FileFault::new("too_many_rows", message));
    }
    Ok(())
}
