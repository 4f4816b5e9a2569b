//! Files that were imported before. A file that is sent again in the same way appends nothing, because its rows are known. Read in another way,
//! rows without an id would be other rows, and be counted twice.

use annals_csv::{Dataset, DecimalMark, FileFault, Format, Layout, ReadOptions, Record, ValueOptions};
use annals_domain::Caller;
use annals_store::{EarlierUpload, Store};
use uuid::Uuid;

use crate::error::ImportError;
use crate::options::Options;
use crate::warning::Warning;

/// A file, and how an upload reads it.
pub(crate) struct SentFile<'a> {
    pub(crate) dataset: &'a Dataset,
    pub(crate) file_sha256: &'a [u8; 32],
    pub(crate) layout: &'a Layout,
    pub(crate) options: &'a Options,
}

/// Refuses a file that was imported before in another way, unless the upload says that it should be imported again. The upload itself may be
/// recorded already, by the id `own`.
///
/// # Errors
/// The file is refused, or the database's.
pub(crate) async fn refuse_known(
    (store, caller): (&Store, &Caller),
    sent: SentFile<'_>,
    own: Option<Uuid>,
) -> Result<Option<Warning>, ImportError> {
    let SentFile {
        dataset,
        layout,
        options,
        ..
    } = sent;
    let mut earlier = store.uploads_of_file(caller, dataset.name, sent.file_sha256).await?;
    earlier.retain(|upload| Some(upload.id) != own);
    if let Some(upload) = earlier.iter().find(|upload| upload.is_reverting) {
        let message = format!(
            "this file was imported before, as upload {}, and what that has appended is being compensated: send it again when that is over",
            upload.id
        );
        return Err(FileFault::new("upload_reverting", message).into());
    }
    let earlier: Vec<(Uuid, Option<Reading>)> = earlier
        .iter()
        .map(|upload| (upload.id, Reading::of(upload, dataset)))
        .collect();
    let reading = (layout, &options.read);
    let mut readings = earlier.iter().filter_map(|(_, earlier)| earlier.as_ref());
    if readings.any(|earlier| earlier.is_same(reading)) {
        return Ok(None);
    }
    // Rows with an id are known by it, however their other columns are read.
    let id_of = |layout: &Layout| layout.place_of(layout.identity(dataset)?);
    let id = id_of(layout);
    let has_other_ids = |(_, earlier): &&(Uuid, Option<Reading>)| {
        id.is_none() || earlier.as_ref().and_then(|earlier| id_of(&earlier.layout)) != id
    };
    let Some((upload_id, _)) = earlier.iter().find(has_other_ids) else {
        return Ok(None);
    };
    let before = format!("this file was imported before with other options, as upload {upload_id}");
    if options.again {
        let message = format!("{before}: its rows may be counted twice");
        return Ok(Some(Warning::new("file_imported_before", message)));
    }
    let message = format!("{before}: use those options to continue it, or again=true to import its rows a second time");
    Err(FileFault::new("file_imported_before", message).into())
}

/// How a file was read, as far as it decides which rows it has and what they are.
struct Reading {
    layout: Layout,
    options: ReadOptions,
}

impl Reading {
    /// `None` if the upload's fields cannot be read any more.
    fn of(upload: &EarlierUpload, dataset: &Dataset) -> Option<Self> {
        let options = Options::recorded(&upload.options, dataset)?.read;
        let layout = Layout::find(dataset, &options, &Record::of(&upload.header)).ok()?;
        Some(Self { layout, options })
    }

    /// Whether the same file gives the same rows. The layout says where its columns are, so it does not matter which fields said it.
    fn is_same(&self, (layout, options): (&Layout, &ReadOptions)) -> bool {
        let of_values = |options: &ReadOptions| ValueOptions {
            // Without a declared mark, numbers have a point, and those that could be others are refused.
            decimal: Some(options.values.decimal.unwrap_or(DecimalMark::Point)),
            ..options.values.clone()
        };
        let of_file = |options: &ReadOptions| {
            let Format {
                encoding,
                skip_rows,
                skip_footer,
                has_no_header,
                ..
            } = options.format;
            // UTF-8 is what is detected in a file that can be read as UTF-8.
            let encoding = encoding.filter(|encoding| encoding.name() != "UTF-8");
            (
                encoding,
                has_no_header.then_some(skip_rows),
                skip_footer,
                options.sheet.clone(),
            )
        };
        self.layout == *layout
            && of_values(&self.options) == of_values(options)
            && of_file(&self.options) == of_file(options)
    }
}
