//! Cells become CSV text. A row is a line, also if it is empty, so the number of a line is that of its row. Empty cells at the end of a row and
//! empty rows at the end of the sheet are left out.

use bytes::Bytes;

use super::fault::broken;
use super::limits::{MAX_CELLS, MAX_COLUMNS, MAX_ROWS};
use super::number::number_text;
use crate::fault::FileFault;
use crate::number::DecimalMark;
use crate::packing::{size, too_large};

/// A sheet as CSV text, in UTF-8 and with commas.
#[derive(Debug, PartialEq, Eq)]
pub struct Sheet {
    /// The text. Its lines are the sheet's rows.
    pub text: Bytes,
    /// Cells with a formula whose value is not saved in the file. They are empty in the text.
    pub unsaved: Unsaved,
}

/// Cells with a formula whose value is not saved.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Unsaved {
    /// How many there are.
    pub cells: u64,
    /// The first of them, such as `C7`.
    pub first: Option<String>,
}

impl Unsaved {
    /// Counts a cell, by its position from 0.
    fn add(&mut self, row: u32, column: u32) {
        self.cells += 1;
        self.first
            .get_or_insert_with(|| format!("{}{}", column_name(column), row + 1));
    }
}

/// The text of a sheet, as far as its cells were read.
pub(super) struct SheetText {
    text: String,
    most: usize,
    mark: DecimalMark,
    /// The row whose line is open, from 0.
    row: u32,
    line_start: usize,
    /// Cells in the open line, the empty ones included.
    width: u32,
    /// Cells in all lines before it.
    cells: u64,
    unsaved: Unsaved,
}

impl SheetText {
    /// An empty text, which may have at most this number of bytes. Its numbers have this decimal mark.
    pub(super) fn new(most: usize, mark: DecimalMark) -> Self {
        Self {
            text: String::new(),
            most,
            mark,
            row: 0,
            line_start: 0,
            width: 0,
            cells: 0,
            unsaved: Unsaved::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Adds a cell at its position from 0. Cells come row by row, and in a row from left to right.
    pub(super) fn add(&mut self, row: u32, column: u32, value: &str) -> Result<(), FileFault> {
        if value.is_empty() {
            return Ok(());
        }
        if row >= MAX_ROWS || column >= MAX_COLUMNS {
            return Err(broken("a cell is outside of the sheet"));
        }
        if row < self.row || (row == self.row && column < self.width) {
            return Err(broken("cells are not in order"));
        }
        self.open(row)?;
        let separators = match self.width {
            0 => column,
            width => column + 1 - width,
        };
        self.width = column + 1;
        // Twice, because all of its characters could be quotes.
        self.check(usize::try_from(separators).unwrap_or(usize::MAX) + 2 * value.len() + 2)?;
        self.text.extend((0..separators).map(|_| ','));
        if value.contains([',', '"', '\r', '\n']) {
            self.text.push('"');
            self.text.push_str(&value.replace('"', "\"\""));
            self.text.push('"');
        } else {
            self.text.push_str(value);
        }
        Ok(())
    }

    /// Writes the last row this number of times more, if that is the row.
    pub(super) fn repeat(&mut self, row: u32, times: u32) -> Result<(), FileFault> {
        if row != self.row || self.width == 0 {
            return Ok(());
        }
        let (line, width) = (self.text[self.line_start..].to_owned(), self.width);
        for row in (row + 1..).take(usize::try_from(times).unwrap_or(usize::MAX)) {
            if row >= MAX_ROWS {
                return Err(broken("a cell is outside of the sheet"));
            }
            self.open(row)?;
            self.width = width;
            self.check(line.len())?;
            self.text.push_str(&line);
        }
        Ok(())
    }

    /// The text of a number, which is none of two numbers as a text of the sheet may be: `1.2340`, because `1.234` could be a thousand.
    pub(super) fn number(&self, written: &str) -> String {
        let mut text = number_text(written);
        let (whole, fraction) = text.split_once('.').unwrap_or_default();
        if fraction.len() == 3 && whole.trim_start_matches('-').len() <= 3 {
            text.push('0');
        }
        match self.mark {
            DecimalMark::Point => text,
            DecimalMark::Comma => text.replace('.', ","),
        }
    }

    /// Counts a cell with a formula whose value is not saved.
    pub(super) fn add_unsaved(&mut self, row: u32, column: u32) {
        self.unsaved.add(row, column);
    }

    /// The sheet.
    pub(super) fn finish(mut self) -> Sheet {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        Sheet {
            text: self.text.into_bytes().into(),
            unsaved: self.unsaved,
        }
    }

    /// Begins the line of a row, unless it is open.
    fn open(&mut self, row: u32) -> Result<(), FileFault> {
        if row > self.row {
            let lines = row - self.row;
            self.check(usize::try_from(lines).unwrap_or(usize::MAX))?;
            self.text.extend((0..lines).map(|_| '\n'));
            self.cells += u64::from(self.width);
            (self.row, self.width, self.line_start) = (row, 0, self.text.len());
        }
        Ok(())
    }

    /// Checks the limits before as many bytes are added.
    fn check(&self, bytes: usize) -> Result<(), FileFault> {
        let too_many = |what: String| {
            let way = "save it as CSV and send that by POST /api/v1/data/uploads, or send it in parts";
            Err(too_large(format!("the sheet has more than {what}: {way}")))
        };
        if self.cells + u64::from(self.width) > MAX_CELLS {
            return too_many("5,000,000 cells".to_owned());
        }
        if self.text.len() + bytes > self.most {
            let most = size(u64::try_from(self.most).unwrap_or(u64::MAX));
            return too_many(format!("{most} of text"));
        }
        Ok(())
    }
}

/// The name of a column, such as `AB`, by its position from 0.
pub(super) fn column_name(column: u32) -> String {
    let (mut rest, mut name) = (column + 1, Vec::new());
    while rest > 0 {
        let letter = u8::try_from((rest - 1) % 26).unwrap_or_default();
        name.insert(0, b'A' + letter);
        rest = (rest - 1) / 26;
    }
    String::from_utf8(name).unwrap_or_default()
}
