//! Import profiles: the upload fields that files with a header were imported with, remembered per tenant in the log.

use annals_csv::{Dataset, TableOptions};
use annals_domain::event::Part;
use annals_domain::ids::TextFault;
use annals_domain::{AggregateId, AggregateType, Caller, EventType, NewEvent, RowCounts, hex};
use annals_store::{Store, StoreError, redacted_error};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::job::Job;

const KIND: &str = "import_profile";
/// Fields that say how a file with the same header is read. Others are of one file only, or of one upload.
const REMEMBERED: [&str; 13] = [
    "mapping",
    "date_format",
    "timezone",
    "currency",
    "decimal",
    "rounding",
    "filter",
    "negate",
    "amount_columns",
    "sign_column",
    "name_columns",
    "empty_values",
    "zero_values",
];
/// Maximum bytes of a header that is remembered.
const MAX_HEADER: usize = 32 * 1024;

/// Whether any of these fields would be remembered.
pub fn says_how(fields: &[(String, String)]) -> bool {
    fields.iter().any(|(name, _)| REMEMBERED.contains(&name.as_str()))
}

/// Those of an upload's fields that say how a report of its rejected rows is read. A report has a header.
pub fn how(options: &Value) -> Map<String, Value> {
    let fields = options.as_object().into_iter().flatten();
    let kept = fields.filter(|(name, _)| REMEMBERED.contains(&name.as_str()));
    kept.map(|(name, value)| (name.clone(), parsed(name, value))).collect()
}

/// The fields that files with this header were imported with the last time; empty if there was none, or if that upload was reverted.
///
/// # Errors
/// The database's.
pub async fn remembered(
    store: &Store,
    caller: &Caller,
    dataset: &Dataset,
    header: &[String],
) -> Result<Map<String, Value>, StoreError> {
    let found = store.find_entity(caller, KIND, &id_of(dataset, header)).await?;
    let Some(mut profile) = found.map(|found| found.entity.state) else {
        return Ok(Map::new());
    };
    let upload = profile
        .get("upload_id")
        .and_then(Value::as_str)
        .and_then(|id| id.parse().ok());
    let is_reverted = match upload {
        Some(id) => store.has_revert(id).await?,
        None => false,
    };
    Ok(match profile.remove("options") {
        Some(Value::Object(options)) if !is_reverted => options,
        _ => Map::new(),
    })
}

/// Remembers the fields of an upload that has imported rows, if they are others than before. A report of rejected rows says nothing new. A
/// failure is logged: it only means that the next file is asked about.
pub(crate) async fn remember(job: &Job, counts: &RowCounts) {
    if counts.appended == 0 || job.layout.is_report() {
        return;
    }
    let (store, caller, dataset) = (&job.store, &job.caller, job.dataset);
    let (header, options) = (job.layout.headers(), how(&Value::Object(job.options.sent.clone())));
    let size: usize = header.iter().map(String::len).sum();
    if options.is_empty() || job.options.read.format.has_no_header || size > MAX_HEADER {
        return;
    }
    let saved = async {
        if remembered(store, caller, dataset, header).await? == options {
            return Ok(());
        }
        let event = event(job, options)?;
        job.appends
            .append(caller, std::slice::from_ref(&event), &job.context)
            .await
            .map(drop)
            .map_err(|error| crate::events::refusal(error, &event))
    };
    if let Err(error) = saved.await {
        tracing::warn!(error = redacted_error(&error), "import profile not saved");
    }
}

/// The value of a field as JSON: fields of a form are text.
fn parsed(name: &str, value: &Value) -> Value {
    let is_json = name == "mapping" || TableOptions::JSON_FIELDS.contains(&name);
    let text = value.as_str().filter(|_| is_json);
    text.and_then(|text| annals_domain::json::parse(text.as_bytes()).ok())
        .unwrap_or_else(|| value.clone())
}

fn event(job: &Job, options: Map<String, Value>) -> Result<NewEvent, StoreError> {
    let (dataset, header) = (job.dataset, job.layout.headers());
    let unexpected = |fault: TextFault| StoreError::Unexpected(fault.to_string());
    let event_type = EventType::try_from("import_profile.saved".to_owned()).map_err(unexpected)?;
    let aggregate_type = AggregateType::try_from(KIND.to_owned()).map_err(unexpected)?;
    let aggregate_id = AggregateId::try_from(id_of(dataset, header)).map_err(unexpected)?;
    let data = json!({"dataset": dataset.name, "header": header, "options": options, "upload_id": job.id});
    Ok(NewEvent {
        source: Some("csv".to_owned().try_into().map_err(unexpected)?),
        part: Some(Part::Import),
        ..NewEvent::plain(
            event_type,
            aggregate_type,
            aggregate_id,
            data.as_object().cloned().unwrap_or_default(),
        )
    })
}

/// The id of the profile of a dataset's files with a header: a hash, because headers are long.
fn id_of(dataset: &Dataset, header: &[String]) -> String {
    let text = json!([dataset.name, header]).to_string();
    hex::encode(&Sha256::digest(text)[..16])
}
