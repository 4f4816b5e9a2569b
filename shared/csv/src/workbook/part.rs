//! A part of a workbook while it is inflated.

use std::cell::Cell;
use std::io::{self, Read};

use super::fault::broken;
use super::limits::{MAX_CELL_BYTES, MAX_INFLATED};
use crate::fault::FileFault;
use crate::packing::{size, too_large};

/// A part of the archive, which fails as soon as too much of it is inflated.
pub(super) struct Part<'a> {
    file: Box<dyn Read + 'a>,
    left: &'a Cell<u64>,
    left_of_part: u64,
    left_of_event: usize,
}

impl<'a> Part<'a> {
    pub(super) fn new(file: Box<dyn Read + 'a>, left: &'a Cell<u64>, most: u64) -> Self {
        Self {
            file,
            left,
            left_of_part: most,
            left_of_event: 0,
        }
    }

    /// To be called before each element or text is read, because the whole of it is held in memory.
    pub(super) fn begin_event(&mut self) {
        self.left_of_event = MAX_CELL_BYTES;
    }
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        let bytes = u64::try_from(read).unwrap_or(u64::MAX);
        let (Some(left), Some(left_of_part)) =
            (self.left.get().checked_sub(bytes), self.left_of_part.checked_sub(bytes))
        else {
            return Err(io::Error::other(inflates_too_much()));
        };
        self.left.set(left);
        self.left_of_part = left_of_part;
        let Some(left) = self.left_of_event.checked_sub(read) else {
            return Err(io::Error::other(broken("a text or a tag is longer than 1 MiB")));
        };
        self.left_of_event = left;
        Ok(read)
    }
}

pub(super) fn inflates_too_much() -> FileFault {
    too_large(format!(
        "the workbook becomes more than {} when it is inflated: save the sheet as CSV and send that",
        size(MAX_INFLATED)
    ))
}
