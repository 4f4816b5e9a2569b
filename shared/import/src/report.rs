//! The report of rejected rows: rows as they were sent, with their errors. Its size is limited; rows beyond that are only counted.

use annals_csv::{Layout, RowFault};
use annals_store::{RejectedCell, RejectedRow};
use serde::Serialize;

use crate::plan::ChunkRow;

/// Bytes of rows at which a report is full. Its number of rows is limited, too, but a row may have a megabyte.
pub(crate) const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Bytes that a field counts in addition to its text. Empty fields take memory, and a row may have ten thousand of them.
const FIELD_BYTES: usize = 32;

/// One error of a row: an entry of an answer's `errors`, and an item of the report's pages.
#[derive(Debug, Serialize)]
pub struct RowError<'a> {
    /// Number of the record, from 1.
    pub row: i64,
    /// Physical line that it begins on.
    pub line: i64,
    /// Column, code, message and value.
    #[serde(flatten)]
    pub cell: &'a RejectedCell,
}

impl<'a> RowError<'a> {
    /// The errors of a row.
    pub fn of(row: &'a RejectedRow) -> impl Iterator<Item = Self> {
        row.errors.iter().map(move |cell| Self {
            row: row.row,
            line: row.line,
            cell,
        })
    }
}

/// A rejected row for the report, with the file's names of its columns.
pub(crate) fn rejected_row(row: &ChunkRow, fields: Vec<String>, faults: &[RowFault], layout: &Layout) -> RejectedRow {
    let number = |of: u64| i64::try_from(of).unwrap_or(i64::MAX);
    let cell = |fault: &RowFault| RejectedCell {
        column: fault.column.map(|column| layout.header(column).to_owned()),
        code: fault.code.to_owned(),
        message: fault.message.clone(),
        value: fault.value.clone(),
    };
    RejectedRow {
        row: number(row.row),
        line: number(row.line),
        fields,
        errors: faults.iter().map(cell).collect(),
    }
}

/// Bytes that a rejected row takes, including its errors.
pub(crate) fn memory(row: &RejectedRow) -> usize {
    let fields = row.fields.iter().map(|field| field.len() + FIELD_BYTES);
    let errors = row.errors.iter().map(|cell| {
        let texts = [&cell.column, &cell.value].map(|text| text.as_ref().map_or(0, String::len));
        cell.message.len() + texts.iter().sum::<usize>() + 4 * FIELD_BYTES
    });
    fields.chain(errors).sum()
}
