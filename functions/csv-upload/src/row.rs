//! A row: a record seen through the file's layout.

use crate::columns::Column;
use crate::dataset::EXAMPLE;
use crate::layout::Layout;
use crate::records::Record;

/// Code of a row that has more or fewer fields than the header.
const RAGGED: &str = "ragged_row";
/// Code of a row in which something follows a closing quote.
const STRAY_QUOTE: &str = "stray_quote";
/// Characters of an offending value that an answer repeats.
const SHOWN: usize = 80;

/// A bare record with the file's layout.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) record: &'a Record,
    pub(crate) layout: &'a Layout,
}

/// A cell that is not blank, without the blanks around it.
#[derive(Clone, Copy)]
pub(crate) struct Cell<'a> {
    pub(crate) column: Column,
    pub(crate) text: &'a str,
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowFault {
    /// The column at fault; none: the row as a whole.
    pub(crate) column: Option<Column>,
    /// Stable code.
    pub(crate) code: &'static str,
    /// For people.
    pub(crate) message: String,
    /// The offending cell, or its beginning.
    pub(crate) value: Option<String>,
}

impl RowFault {
    /// A fault of the row as a whole.
    pub(crate) fn of_row(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            column: None,
            code,
            message: message.into(),
            value: None,
        }
    }

    /// A fault of a value in a column.
    pub(crate) fn of_value(column: Column, code: &'static str, message: impl Into<String>, value: &str) -> Self {
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

impl Cell<'_> {
    /// A fault of this cell; the message completes the sentence "{column} …".
    pub(crate) fn fault(&self, code: &'static str, message: impl AsRef<str>) -> RowFault {
        RowFault::of_value(
            self.column,
            code,
            format!("{} {}", self.column.name(), message.as_ref()),
            self.text,
        )
    }
}

impl<'a> Row<'a> {
    /// A cell, if the file has the column and the row fills it.
    pub(crate) fn cell(&self, column: Column) -> Option<Cell<'a>> {
        let text = self.record.field(self.layout.place_of(column)?).trim();
        (!text.is_empty()).then_some(Cell { column, text })
    }

    /// A cell that must be filled.
    ///
    /// # Errors
    /// It is not.
    pub(crate) fn required(&self, column: Column) -> Result<Cell<'a>, RowFault> {
        self.cell(column).ok_or_else(|| RowFault {
            column: Some(column),
            code: "required",
            message: format!("{} is required", column.name()),
            value: self.layout.has(column).then(String::new),
        })
    }

    /// That this is a row of the file at all.
    ///
    /// # Errors
    /// A stray quote, more or fewer fields than the header, none filled, or the template's example.
    pub(crate) fn check(&self) -> Result<(), RowFault> {
        let mut originals = self.layout.originals(self.record);
        if originals.all(|field| field.trim().is_empty()) {
            return Err(RowFault::of_row("empty_row", "all cells of the row are empty"));
        }
        if let Some(line) = self.record.stray_quote() {
            let message = format!(
                "a quote on line {line} ends a field and something follows it: a quote within a field is written twice, and one \
                 that is opened on one line and closed on another takes the rows in between for text"
            );
            return Err(RowFault::of_row(STRAY_QUOTE, message));
        }
        let (found, expected) = (self.record.width(), self.layout.width());
        if found != expected {
            let message = format!("the row has {found} fields, the header {expected}");
            return Err(RowFault::of_row(RAGGED, message));
        }
        // The report has made rows of the header's width out of these: their fields may stand in other columns than their own.
        for code in [RAGGED, STRAY_QUOTE] {
            if self.layout.remark(self.record).contains(code) {
                let message = "the row could not be taken apart into the header's columns: put each field into its column, \
                               and clear the remark";
                return Err(RowFault::of_row(code, message));
            }
        }
        if self.record.fields().any(|field| field.trim() == EXAMPLE) {
            return Err(RowFault::of_row(
                "example_row",
                "this is the template's example: delete the line",
            ));
        }
        Ok(())
    }
}
