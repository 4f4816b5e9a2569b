//! Fields that an upload does not give: those that its file decides (`options=auto`), and those that were remembered for a report of rejected rows.

use annals_csv::{Dataset, FileFault, field_text};
use annals_domain::Caller;
use annals_inspect::{Beginning, Extent, Inspection, Report};
use annals_store::{Store, StoreError};
use bytes::Bytes;
use futures_util::Stream;
use serde_json::{Map, Value};

use crate::error::ImportError;
use crate::profile::{how, remembered, says_how};

/// Names and values of an upload's fields, as text.
pub type Fields = Vec<(String, String)>;

/// The fields of an upload after its file was looked at.
pub enum Completed {
    /// The upload can be read with these.
    Fields(Fields),
    /// The upload asks for what its file decides, and the file does not decide everything.
    Uncertain(Box<Inspection>),
}

/// The field that asks for what the file decides, and its value.
const AUTO: (&str, &str) = ("options", "auto");

/// Whether an upload's fields ask for what its file decides.
pub fn is_auto(fields: &[(String, String)]) -> bool {
    fields
        .iter()
        .any(|(name, value)| (name.as_str(), value.as_str()) == AUTO)
}

/// Completes an upload's fields by its file. `open` opens the file's text from its beginning, and `written` are the fields that the kind of file
/// decides.
///
/// # Errors
/// The file cannot be read, or the database's.
pub async fn complete<S>(
    (store, caller): (&Store, &Caller),
    dataset: &'static Dataset,
    mut fields: Fields,
    written: &[(&str, &str)],
    open: impl Fn() -> S,
) -> Result<Completed, ImportError>
where
    S: Stream<Item = std::io::Result<Bytes>> + Unpin,
{
    if is_auto(&fields) {
        fields.retain(|(name, value)| (name.as_str(), value.as_str()) != AUTO);
        let file = (written, Extent::Whole);
        let inspection = inspect((store, caller), dataset, &fields, file, open).await?;
        if !inspection.certain {
            return Ok(Completed::Uncertain(Box::new(inspection)));
        }
        fields.retain(|(name, _)| !inspection.options.contains_key(name));
        extend(&mut fields, inspection.options);
    } else if !says_how(&fields) {
        let report = annals_inspect::report_of(open(), &declared(&fields, written), dataset).await;
        // A file that cannot be read is refused by the import, with its reason.
        if let Ok(Some(report)) = report {
            extend(&mut fields, of_report(store, caller, dataset, &report).await?);
        }
    }
    Ok(Completed::Fields(fields))
}

/// Inspects a file: what was confirmed for its header is proposed first. `written` are the fields that the kind of file decides, and `extent` says
/// how much of it `open` gives.
///
/// # Errors
/// The file cannot be read, or the database's.
pub async fn inspect<S>(
    (store, caller): (&Store, &Caller),
    dataset: &'static Dataset,
    fields: &[(String, String)],
    (written, extent): (&[(&str, &str)], Extent),
    open: impl Fn() -> S,
) -> Result<Inspection, ImportError>
where
    S: Stream<Item = std::io::Result<Bytes>> + Unpin,
{
    let declared = declared(fields, written);
    let beginning = Beginning::read(open(), &declared, dataset).await?.with_extent(extent);
    let known = match (beginning.report(), beginning.header()) {
        (Some(report), _) => of_report(store, caller, dataset, &report).await?,
        (None, Some(header)) => remembered(store, caller, dataset, header).await?,
        (None, None) => Map::new(),
    };
    let mut inspection = annals_inspect::inspect(open, dataset, beginning, &declared, &known).await?;
    // They are not remembered for files of other kinds with the same header.
    inspection.options.retain(|name, _| !is_written(written, name));
    Ok(inspection)
}

/// The fields that the file of a report was read with: those of its upload. A report that does not name it is read as files with its header are.
async fn of_report(
    store: &Store,
    caller: &Caller,
    dataset: &Dataset,
    report: &Report,
) -> Result<Map<String, Value>, StoreError> {
    let upload = match report.upload.parse() {
        Ok(id) => store.find_upload(caller, id).await?,
        Err(_) => None,
    };
    match upload.filter(|upload| upload.dataset == dataset.name) {
        Some(upload) => Ok(how(&upload.options)),
        None => remembered(store, caller, dataset, &report.header).await,
    }
}

/// The refusal of a file that does not decide everything although its upload asks for what it decides.
pub fn uncertain(inspection: &Inspection) -> FileFault {
    let doubts: Vec<String> = inspection
        .doubts
        .iter()
        .map(|doubt| format!("{}: {}", doubt.field, doubt.message))
        .collect();
    let why = match doubts.as_slice() {
        [] => "some rows would be refused".to_owned(),
        doubts => doubts.join("; "),
    };
    let message = format!(
        "the file does not decide how it is to be read. {why}. Send the options of an inspection, corrected where they are wrong"
    );
    FileFault::new("options_uncertain", message)
}

/// The fields that say how a file is read, which are those that the reader knows. What the kind of file decides counts more than what the caller
/// says.
fn declared(fields: &[(String, String)], written: &[(&str, &str)]) -> Map<String, Value> {
    let reading = fields
        .iter()
        .filter(|(name, _)| annals_inspect::is_about_reading(name) && !is_written(written, name));
    let written = written.iter().map(|(name, value)| (*name, *value));
    reading
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .chain(written)
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect()
}

fn is_written(written: &[(&str, &str)], name: &str) -> bool {
    written.iter().any(|(field, _)| *field == name)
}

fn extend(fields: &mut Fields, more: Map<String, Value>) {
    fields.extend(more.into_iter().map(|(name, value)| (name, field_text(&value))));
}
