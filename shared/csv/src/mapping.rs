//! Mappings: which header of a file belongs to which column of a dataset.

use annals_domain::json;
use serde_json::Value;

use crate::columns::Column;
use crate::dataset::Dataset;

/// Columns of a dataset with the headers of the file. A column mapped to `None` is not read.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Mapping(Vec<(Column, Option<String>)>);

impl Mapping {
    /// The header that a column is mapped to; `Some(None)` if the column is not to be read, `None` if the mapping lacks it.
    pub fn of(&self, column: Column) -> Option<Option<&str>> {
        self.0
            .iter()
            .find(|(mapped, _)| *mapped == column)
            .map(|(_, header)| header.as_deref())
    }

    /// Whether a column is mapped to this header.
    pub fn maps_to(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|(_, header)| header.as_deref().is_some_and(|header| header.trim() == name))
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads `{"amount": "Total", "notes": null}`.
    ///
    /// # Errors
    /// What the field must be, as the end of a sentence.
    pub fn parse(text: &str, dataset: &Dataset) -> Result<Self, String> {
        let Ok(Value::Object(members)) = json::parse(text.as_bytes()) else {
            return Err(
                "must be a JSON object that maps our columns to the file's headers, such as {\"amount\": \"Total\"}"
                    .to_owned(),
            );
        };
        let mut mapping = Vec::with_capacity(members.len());
        for (name, header) in members {
            let column = dataset.columns.iter().copied().find(|column| column.name() == name);
            let column = column.ok_or_else(|| format!("{name} is not a column of {}", dataset.name))?;
            match header {
                Value::Null => mapping.push((column, None)),
                Value::String(header) if !header.trim().is_empty() => mapping.push((column, Some(header))),
                _ => return Err(format!("{name} must be mapped to a header of the file, or to null")),
            }
        }
        Ok(Self(mapping))
    }
}
