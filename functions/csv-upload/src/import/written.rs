//! What the first reading finds out for the second: how the file is written, and where its rows are.

use annals::store::HeldImport;
use encoding_rs::Encoding;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ImportError;
use crate::reader::Place;

/// How a file is written, as `annals.imports.reader` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Written {
    /// Name of its encoding.
    pub(super) encoding: String,
    /// What separates its fields.
    pub(super) delimiter: u8,
    /// Its first record.
    pub(super) header: Vec<String>,
}

/// The end of a row, as `annals.imports.place` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RowPlace {
    #[serde(flatten)]
    pub(super) place: Place,
    /// Its number; 0 before the first.
    pub(super) row: i64,
}

impl Written {
    /// The encoding.
    pub(super) fn encoding(&self) -> Result<&'static Encoding, ImportError> {
        let unknown = || ImportError::Unexpected(format!("no encoding {}", self.encoding));
        Encoding::for_label(self.encoding.as_bytes()).ok_or_else(unknown)
    }
}

/// What was noted of an import whose file has been read.
pub(super) fn noted(import: &HeldImport) -> Result<(Written, RowPlace), ImportError> {
    Ok((parse(import.reader.as_ref())?, parse(import.place.as_ref())?))
}

fn parse<T: DeserializeOwned>(noted: Option<&Value>) -> Result<T, ImportError> {
    let noted = noted.ok_or_else(|| ImportError::Unexpected("an import without a place".to_owned()))?;
    T::deserialize(noted).map_err(|error| ImportError::Unexpected(error.to_string()))
}
