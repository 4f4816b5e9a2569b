//! What the inspection of a file records for the import: how the file is written, and where its rows begin.

use annals_csv::{DecimalMark, ResumePoint};
use annals_store::LeasedImport;
use encoding_rs::Encoding;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ImportError;

/// How a file is written; the JSON in `annals.imports.reader`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileFormat {
    /// Name of the encoding.
    pub(crate) encoding: String,
    /// The ASCII character that separates fields.
    pub(crate) delimiter: u8,
    /// The fields of the first record.
    pub(crate) header: Vec<String>,
    /// The decimal mark, if it is declared or the file decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) decimal: Option<DecimalMark>,
    /// Number of the last row; `None`: that of the file's last record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<i64>,
}

/// The end of a row; the JSON in `annals.imports.resume_point`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RowEnd {
    /// Where reading can continue.
    #[serde(flatten)]
    pub(crate) point: ResumePoint,
    /// Number of the row; 0 before the first.
    pub(crate) row: i64,
}

impl FileFormat {
    /// The encoding of that name.
    ///
    /// # Errors
    /// Its name is unknown, which is a bug.
    pub(crate) fn encoding(&self) -> Result<&'static Encoding, ImportError> {
        let unknown = || ImportError::Unexpected(format!("no encoding {}", self.encoding));
        Encoding::for_label(self.encoding.as_bytes()).ok_or_else(unknown)
    }
}

/// The format of an inspected file, and where its import continues.
///
/// # Errors
/// The import has no inspection, or one that cannot be read; both are bugs.
pub(crate) fn recorded(import: &LeasedImport) -> Result<(FileFormat, RowEnd), ImportError> {
    Ok((parse(import.reader.as_ref())?, parse(import.resume_point.as_ref())?))
}

fn parse<T: DeserializeOwned>(recorded: Option<&Value>) -> Result<T, ImportError> {
    let recorded = recorded.ok_or_else(|| ImportError::Unexpected("an import without a resume point".to_owned()))?;
    T::deserialize(recorded).map_err(|error| ImportError::Unexpected(error.to_string()))
}
