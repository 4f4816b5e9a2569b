//! Cells that are none of what nearly all other cells of their column are.

use super::numbers::MAX_TEXT;

/// How many strays decide that a column is something else, if the others are not many more.
const MAX_STRAYS: u64 = 20;
/// How many times more of the others there must be.
const MANY: u64 = 4;

/// A cell, and where it is.
#[derive(Debug, Clone)]
pub struct Stray {
    /// Its text, or the beginning of it.
    pub text: String,
    /// Its physical line.
    pub line: u64,
}

impl Stray {
    /// The cell with this text on this physical line.
    pub fn of(text: &str, line: u64) -> Self {
        let text = text[..text.floor_char_boundary(MAX_TEXT)].to_owned();
        Self { text, line }
    }
}

/// The cells that are none of what the others are.
#[derive(Debug, Clone, Default)]
pub struct Strays {
    /// How many there are.
    pub count: u64,
    /// The first.
    pub first: Option<Stray>,
}

impl Strays {
    /// This number of cells, of which none is kept.
    pub fn of(count: u64) -> Self {
        Self { count, first: None }
    }

    /// Adds one.
    pub fn read(&mut self, text: &str, line: u64) {
        self.count += 1;
        self.first.get_or_insert_with(|| Stray::of(text, line));
    }

    /// Whether there are so few that the column is what this number of its other cells are.
    pub fn are_few(&self, others: u64) -> bool {
        self.count * MANY <= others
    }

    /// Whether there are so many that the column need not be looked at any more.
    pub fn are_many(&self, others: u64) -> bool {
        self.count > MAX_STRAYS && !self.are_few(others)
    }
}
