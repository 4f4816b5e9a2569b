//! What is wrong with a file as a whole, so that nothing of it can be read as the dataset.

use annals::http::{ApiError, Problem};
use axum::http::StatusCode;

/// Why a file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FileFault {
    /// Stable code, e.g. `unclosed_quote`.
    pub(crate) code: &'static str,
    /// For people.
    pub(crate) message: String,
    /// Physical line, from 1, where there is one.
    pub(crate) line: Option<u64>,
}

impl FileFault {
    /// A fault of the whole file.
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            line: None,
        }
    }

    /// Nothing at all.
    pub(crate) fn empty_file() -> Self {
        Self::new("empty_file", "the file is empty")
    }

    /// Nothing below the header.
    pub(crate) fn no_rows() -> Self {
        Self::new("no_rows", "the file has a header and no rows")
    }

    /// What is wrong, with its place.
    pub(crate) fn detail(&self) -> String {
        match self.line {
            Some(line) => format!("line {line}: {}", self.message),
            None => self.message.clone(),
        }
    }

    /// The same, at a physical line.
    pub(crate) fn at(self, line: u64) -> Self {
        Self {
            line: Some(line),
            ..self
        }
    }
}

impl From<FileFault> for ApiError {
    fn from(fault: FileFault) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, fault.code, fault.detail()).into()
    }
}
