//! The first reading of a file: whether it can be read to its end, and what there is to know of it before a row is dealt with.

use annals::storage::Object;
use annals::store::{HeldImport, Inspection};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{ImportError, Importer, LANES};
use crate::dataset::Dataset;
use crate::fault::FileFault;
use crate::layout::Layout;
use crate::options::{Mode, Options};
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
        let header = reader
            .next()
            .await?
            .ok_or_else(|| FileFault::new("empty_file", "the file is empty"))?;
        let layout = Layout::find(dataset, &options.mapping, header)?;
        let header: Vec<String> = header.fields().map(str::to_owned).collect();
        let place = reader.place();
        let mut rows = 0_i64;
        while reader.next().await?.is_some() {
            rows += 1;
        }
        let (encoding, delimiter) = reader.found();
        drop(reader);
        let is_whole = options.dry_run || options.mode == Mode::AllOrNothing;
        check_rows(rows, is_whole)?;
        let mut place = json!(place);
        place["row"] = json!(0);
        let found = Inspection {
            file_sha256: &digest.finalize(),
            header: layout.headers(),
            delimiter: delimiter.map_or(',', char::from),
            ignored_columns: &layout.ignored(),
            rows,
            reader: &json!({"encoding": encoding.name(), "delimiter": delimiter.unwrap_or(b','), "header": header}),
            place: &place,
            lanes: if is_whole { 1 } else { LANES },
        };
        Ok(self.store.note_inspection(import, &found).await?)
    }
}

fn check_rows(rows: i64, is_whole: bool) -> Result<(), FileFault> {
    if rows == 0 {
        return Err(FileFault::new("no_rows", "the file has a header and no rows"));
    }
    if is_whole && rows > MAX_WHOLE_ROWS {
        let message = format!(
            "the file has {rows} rows; with mode=all_or_nothing or dry_run=true a large upload takes at most {MAX_WHOLE_ROWS}"
        );
        return Err(FileFault::new("too_many_rows", message));
    }
    Ok(())
}
