//! Files that were imported before. A file that is sent again in the same way appends nothing, because its rows are known. Read in another way,
//! rows without an id would be other rows, and be counted twice.

use annals_csv::{Dataset, FileFault, Layout, Record};
use annals_domain::Caller;
use annals_store::{EarlierUpload, Store};

use crate::error::ImportError;
use crate::inspect::Inspected;
use crate::options::Options;
use crate::warning::Warning;

/// Refuses a file that was imported before in another way, unless the upload says that it should be imported again.
///
/// # Errors
/// The file is refused, or the database's.
pub(crate) async fn refuse_known(
    store: &Store,
    caller: &Caller,
    dataset: &Dataset,
    options: &Options,
    inspected: &Inspected,
) -> Result<Option<Warning>, ImportError> {
    let earlier = store
        .uploads_of_file(caller, dataset.name, &inspected.file_sha256)
        .await?;
    let reads_the_same = |upload: &EarlierUpload| {
        Options::recorded(&upload.options, dataset).is_some_and(|recorded| recorded.read == options.read)
    };
    if earlier.iter().any(reads_the_same) {
        return Ok(None);
    }
    // Rows with an id are known by it, however their other columns are read.
    let id_of = |layout: &Layout| layout.place_of(layout.identity(dataset)?);
    let id = id_of(&inspected.layout);
    let has_other_ids = |upload: &&EarlierUpload| {
        let recorded = Options::recorded(&upload.options, dataset);
        let layout =
            recorded.and_then(|recorded| Layout::find(dataset, &recorded.read, &Record::of(&upload.header)).ok());
        id.is_none() || layout.and_then(|layout| id_of(&layout)) != id
    };
    let Some(upload) = earlier.iter().find(has_other_ids) else {
        return Ok(None);
    };
    let before = format!(
        "this file was imported before with other options, as upload {}",
        upload.id
    );
    if options.again {
        let message = format!("{before}: its rows may be counted twice");
        return Ok(Some(Warning::new("file_imported_before", message)));
    }
    let message = format!("{before}: use those options to continue it, or again=true to import its rows a second time");
    Err(FileFault::new("file_imported_before", message).into())
}
