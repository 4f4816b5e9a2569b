//! Chunks: rows that are settled together, read, and with their fields as they were sent, of which a report needs those that
//! are refused. By then the reader's record is another one, and most rows are never refused, so fields are kept end to end in one
//! buffer and cost no allocation of their own.

use crate::layout::Layout;
use crate::plan::ChunkRow;
use crate::records::Record;

/// Rows of a chunk.
const MOST_ROWS: usize = 400;
/// Bytes of a chunk's records at which it is closed, however few they are.
const MOST_BYTES: usize = 1024 * 1024;

/// Rows in the order of the file.
#[derive(Default)]
pub(crate) struct Chunk {
    rows: Vec<ChunkRow>,
    text: String,
    field_ends: Vec<usize>,
    row_ends: Vec<usize>,
}

impl Chunk {
    /// Adds a row and the record that it was read from.
    pub(crate) fn push(&mut self, row: ChunkRow, record: &Record, layout: &Layout) {
        for field in layout.originals(record) {
            self.text.push_str(field);
            self.field_ends.push(self.text.len());
        }
        self.row_ends.push(self.field_ends.len());
        self.rows.push(row);
    }

    /// The rows.
    pub(crate) fn rows(&self) -> &[ChunkRow] {
        &self.rows
    }

    /// The fields of the row at a place, as they were sent.
    pub(crate) fn fields(&self, place: usize) -> Vec<String> {
        let end_of = |ends: &[usize], place: usize| place.checked_sub(1).map_or(0, |before| ends[before]);
        let (first, last) = (end_of(&self.row_ends, place), self.row_ends[place]);
        (first..last)
            .map(|field| self.text[end_of(&self.field_ends, field)..self.field_ends[field]].to_owned())
            .collect()
    }

    /// Whether it is to be settled before more is added.
    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() >= MOST_ROWS || self.memory() >= MOST_BYTES
    }

    /// Bytes that its records take: rows of ten thousand empty fields take some, too.
    fn memory(&self) -> usize {
        self.text.len() + self.field_ends.len() * size_of::<usize>()
    }

    /// Makes it empty, for the next rows.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.text.clear();
        self.field_ends.clear();
        self.row_ends.clear();
    }
}
