//! Faults: why a file is refused as a whole, and why one of its rows is rejected.

use crate::columns::Column;

/// Characters of an offending value that an answer repeats.
const SHOWN: usize = 80;

/// Why a file is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FileFault {
    /// Stable code, e.g. `unclosed_quote`.
    pub code: &'static str,
    /// Human-readable message.
    pub message: String,
    /// Physical line, from 1; `None` if the fault concerns the whole file.
    pub line: Option<u64>,
}

/// Why a row is rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    /// The column at fault; `None` if the fault concerns the row as a whole.
    pub column: Option<Column>,
    /// Stable code, e.g. `invalid_date`.
    pub code: &'static str,
    /// Human-readable message.
    pub message: String,
    /// The offending cell, or its beginning.
    pub value: Option<String>,
}

impl FileFault {
    /// A fault of the whole file.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            line: None,
        }
    }

    /// The file has no bytes, or only blank lines.
    pub fn empty_file() -> Self {
        Self::new("empty_file", "the file is empty")
    }

    /// The file ends after its header.
    pub fn no_rows() -> Self {
        Self::new("no_rows", "the file has a header and no rows")
    }

    /// The message with its line, if it has one.
    pub fn detail(&self) -> String {
        match self.line {
            Some(line) => format!("line {line}: {}", self.message),
            None => self.message.clone(),
        }
    }

    /// The same fault at a physical line.
    pub fn at(self, line: u64) -> Self {
        Self {
            line: Some(line),
            ..self
        }
    }
}

impl RowFault {
    /// A fault of the row as a whole.
    pub fn of_row(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            column: None,
            code,
            message: message.into(),
            value: None,
        }
    }

    /// A fault of a value in a column.
    pub fn of_value(column: Column, code: &'static str, message: impl Into<String>, value: &str) -> Self {
        let mut shown: String = value.chars().take(SHOWN).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        Self {
            column: Some(column),
            code,
            message: message.into(),
            value: Some(shown),
        }
    }
}
