//! The beginning of a file, before it is known where its header is and what separates its fields.

use crate::header;
use crate::records::{self, Lines, Record};

/// Characters that may separate fields.
pub const DELIMITERS: [u8; 4] = records::DELIMITERS;

/// The first complete records of a text that are not blank, at most this number. `is_whole` says whether the text is the whole file.
pub fn records(text: &str, is_whole: bool, delimiter: u8, most: usize) -> Vec<Record> {
    header::records(text, is_whole, Lines::default(), delimiter, most)
}

/// The line that declares the delimiter, `sep=;`, if the text begins with one: the delimiter, and the bytes of the line with its end.
pub fn declaration(text: &str) -> Option<(u8, usize)> {
    header::declaration(text)
}
