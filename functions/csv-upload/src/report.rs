//! The report of an upload: refused rows with their fields, as many as are kept. What is beyond is counted.

use annals::store::{RejectedCell, RejectedRow};
use serde::Serialize;

use crate::layout::Layout;
use crate::plan::ChunkRow;
use crate::row::RowFault;

/// Bytes at which no more rows are kept, however few they are: a row may have a megabyte.
pub(crate) const MOST_BYTES: usize = 16 * 1024 * 1024;
/// Bytes that a field counts for beside its text: rows of ten thousand empty ones take memory, too.
const FIELD_BYTES: usize = 32;

/// Refused rows.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<RejectedRow>,
    bytes: usize,
    errors: usize,
}

/// One thing that is wrong with a row, with its place: an entry of an answer's `errors`, and an item of the report's pages.
#[derive(Debug, Serialize)]
pub(crate) struct RowError<'a> {
    pub(crate) row: i64,
    pub(crate) line: i64,
    #[serde(flatten)]
    pub(crate) cell: &'a RejectedCell,
}

impl Report {
    /// Adds a refused row, or counts it where `most_rows` are kept already.
    pub(crate) fn add(
        &mut self,
        row: &ChunkRow,
        faults: &[RowFault],
        layout: &Layout,
        fields: impl FnOnce() -> Vec<String>,
        most_rows: usize,
    ) {
        self.errors += faults.len();
        if self.rows.len() >= most_rows || self.bytes >= MOST_BYTES {
            return;
        }
        let rejected = rejected_row(row, fields(), faults, layout);
        self.bytes += memory(&rejected);
        self.rows.push(rejected);
    }

    /// The rows that are kept.
    pub(crate) fn rows(&self) -> &[RejectedRow] {
        &self.rows
    }

    /// The first errors.
    pub(crate) fn errors(&self, most: usize) -> Vec<RowError<'_>> {
        let errors = self.rows.iter().flat_map(|row| {
            row.errors.iter().map(|cell| RowError {
                row: row.row,
                line: row.line,
                cell,
            })
        });
        errors.take(most).collect()
    }

    /// How many errors there were, kept or not.
    pub(crate) fn count(&self) -> usize {
        self.errors
    }
}

/// A refused row, as a report has it.
pub(crate) fn rejected_row(row: &ChunkRow, fields: Vec<String>, faults: &[RowFault], layout: &Layout) -> RejectedRow {
    RejectedRow {
        row: number(row.row),
        line: number(row.line),
        fields,
        errors: faults.iter().map(|fault| cell(fault, layout)).collect(),
    }
}

/// Bytes that a refused row takes, what is said of it included.
pub(crate) fn memory(row: &RejectedRow) -> usize {
    let fields = row.fields.iter().map(|field| field.len() + FIELD_BYTES);
    let errors = row.errors.iter().map(|cell| {
        let texts = [&cell.column, &cell.value].map(|text| text.as_ref().map_or(0, String::len));
        cell.message.len() + texts.iter().sum::<usize>() + 4 * FIELD_BYTES
    });
    fields.chain(errors).sum()
}

/// What is wrong with a row, in the words of its file.
fn cell(fault: &RowFault, layout: &Layout) -> RejectedCell {
    RejectedCell {
        column: fault.column.map(|column| layout.header(column).to_owned()),
        code: fault.code.to_owned(),
        message: fault.message.clone(),
        value: fault.value.clone(),
    }
}

fn number(of: u64) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}
