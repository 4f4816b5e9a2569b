//! What a proposal consists of: fields, findings with their reasons, and doubts.

use serde::Serialize;
use serde_json::{Map, Value};

/// The source of a column of ours.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnChoice {
    /// Our column.
    pub column: &'static str,
    /// The file's column.
    pub source: String,
    /// Why.
    pub reason: String,
    /// The file's next best column.
    pub runner_up: Option<String>,
}

/// Something that was found out about the file.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The upload field that it decides.
    pub field: &'static str,
    /// The evidence.
    pub reason: String,
}

/// Something that the file does not decide.
#[derive(Debug, Clone, Serialize)]
pub struct Doubt {
    /// The upload field that would decide it.
    pub field: &'static str,
    /// What is not certain.
    pub message: String,
    /// Values of the field that fit.
    pub choices: Vec<Value>,
}

/// Upload fields that read the file, and why.
#[derive(Debug, Default)]
pub struct Proposal {
    /// The upload fields by name. What the caller has declared is not in it.
    pub fields: Map<String, Value>,
    /// The sources of our columns.
    pub columns: Vec<ColumnChoice>,
    /// What was found out.
    pub findings: Vec<Finding>,
    /// What is not certain.
    pub doubts: Vec<Doubt>,
}

impl Proposal {
    /// Proposes a field.
    pub fn set(&mut self, field: &'static str, value: impl Into<Value>, reason: impl Into<String>) {
        self.fields.insert(field.to_owned(), value.into());
        self.note(field, reason);
    }

    /// Proposes what was confirmed for another file with this header.
    pub fn recall(&mut self, field: &'static str, value: impl Into<Value>) {
        self.fields.insert(field.to_owned(), value.into());
        self.note(field, format!("{field} was confirmed for a file with this header"));
    }

    /// Notes evidence.
    pub fn note(&mut self, field: &'static str, reason: impl Into<String>) {
        let reason = reason.into();
        self.findings.push(Finding { field, reason });
    }

    /// Whether something about a field is not certain.
    pub fn doubts_about(&self, field: &str) -> bool {
        self.doubts.iter().any(|doubt| doubt.field == field)
    }

    /// Notes a doubt.
    pub fn doubt(&mut self, field: &'static str, message: impl Into<String>, choices: Vec<Value>) {
        let message = message.into();
        self.doubts.push(Doubt {
            field,
            message,
            choices,
        });
    }
}
