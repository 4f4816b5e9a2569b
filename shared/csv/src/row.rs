//! A row: a record together with the file's layout, which says which column each field belongs to.

use annals_domain::weight::shortened;

use crate::columns::Column;
use crate::dataset::EXAMPLE;
use crate::fault::RowFault;
use crate::layout::Layout;
use crate::records::Record;

/// Maximum number of characters of a message that repeats a field.
const MAX_MESSAGE: usize = 300;
/// Code of a row that has more fields than the header.
const RAGGED: &str = "ragged_row";
/// Code of a row in which something follows a closing quote.
const STRAY_QUOTE: &str = "stray_quote";

/// A record with the file's layout.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    /// The record, as [`Layout::bare`] gives it.
    pub record: &'a Record,
    /// The layout of its file.
    pub layout: &'a Layout,
}

/// A cell that is not blank.
#[derive(Clone, Copy)]
pub struct Cell<'a> {
    /// The column it belongs to.
    pub column: Column,
    /// Its text, without leading and trailing white space.
    pub text: &'a str,
}

impl Cell<'_> {
    /// A fault of this cell; the message completes the sentence "{column} …".
    pub fn fault(&self, code: &'static str, message: impl AsRef<str>) -> RowFault {
        RowFault::of_value(
            self.column,
            code,
            format!("{} {}", self.column.name(), message.as_ref()),
            self.text,
        )
    }
}

impl<'a> Row<'a> {
    /// The cell of a column; `None` if the file lacks the column or the cell is blank.
    pub fn cell(&self, column: Column) -> Option<Cell<'a>> {
        let text = self.layout.text(self.record, self.layout.place_of(column)?)?;
        Some(Cell { column, text })
    }

    /// A cell that must be filled.
    ///
    /// # Errors
    /// It is not.
    pub fn required(&self, column: Column) -> Result<Cell<'a>, RowFault> {
        self.cell(column).ok_or_else(|| RowFault {
            column: Some(column),
            code: "required",
            message: format!("{} is required", column.name()),
            value: self.layout.has(column).then(String::new),
        })
    }

    /// Checks the row as a whole, before its cells are read.
    ///
    /// # Errors
    /// All cells are empty; a stray quote; more fields than the header; the template's example line.
    pub fn check(&self) -> Result<(), RowFault> {
        let mut originals = self.layout.originals(self.record);
        if originals.all(|field| field.trim().is_empty()) {
            return Err(RowFault::of_row("empty_row", "all cells of the row are empty"));
        }
        if let Some(line) = self.record.stray_quote() {
            let message = format!(
                "text follows the closing quote on line {line}: write a quote inside a field twice, and check that no quote is \
                 left open, because it turns the following rows into text"
            );
            return Err(RowFault::of_row(STRAY_QUOTE, message));
        }
        // What is missing at the end is empty, and so is what is too many.
        let (found, expected) = (self.record.width(), self.layout.width());
        if let Some(field) = (expected..found)
            .map(|place| self.record.field(place))
            .find(|field| !field.trim().is_empty())
        {
            let message = format!(
                "the row has {found} fields, the header {expected}: {field:?} belongs to no column; write a field that contains the \
                 delimiter in quotes"
            );
            return Err(RowFault::of_row(RAGGED, shortened(&message, MAX_MESSAGE)));
        }
        // A report of rejected rows fills such rows up to the header's width, so a field may be in the column of another one.
        for code in [RAGGED, STRAY_QUOTE] {
            if self.layout.remark(self.record).contains(code) {
                let message = "the row could not be split into the header's columns: put each field into its column, and empty \
                               the remark";
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
