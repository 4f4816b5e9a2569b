//! The ZIP archive that a workbook is. Bytes are counted when a part is opened, by its declared size, and again while it is inflated.

use std::cell::Cell;
use std::io::{self, BufReader, Cursor, Read};

use zip::ZipArchive;
use zip::result::ZipError;

use super::xml::Xml;
use super::{MAX_CELL_BYTES, MAX_INFLATED, broken, password};
use crate::fault::FileFault;
use crate::packing::{size, too_large};

/// What the part `mimetype` of an OpenDocument spreadsheet, or of a template of one, begins with.
const OPEN_DOCUMENT: &[u8] = b"application/vnd.oasis.opendocument.spreadsheet";

/// The archive.
pub(super) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// Bytes that may still be inflated.
    left: Cell<u64>,
}

impl<'a> Archive<'a> {
    pub(super) fn open(file: &'a [u8]) -> Result<Self, FileFault> {
        Ok(Self {
            zip: ZipArchive::new(Cursor::new(file)).map_err(fault)?,
            left: Cell::new(MAX_INFLATED),
        })
    }

    /// Whether there is a part of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    pub(super) fn is_open_document(&mut self) -> Result<bool, FileFault> {
        let Some(place) = self.place("mimetype") else {
            return Ok(false);
        };
        let mut head = Vec::new();
        let part = self.zip.by_index(place).map_err(fault)?;
        let most = u64::try_from(OPEN_DOCUMENT.len()).unwrap_or_default();
        part.take(most).read_to_end(&mut head).map_err(broken)?;
        Ok(head == OPEN_DOCUMENT)
    }

    /// A part as XML, of at most this number of bytes; `None` if the archive lacks it.
    pub(super) fn part(&mut self, name: &str, most: u64) -> Result<Option<Xml<'_>>, FileFault> {
        let Some(place) = self.place(name) else {
            return Ok(None);
        };
        let file = self.zip.by_index(place).map_err(fault)?;
        if file.size() > most.min(self.left.get()) {
            return Err(inflates_too_much());
        }
        let part = Part {
            file: Box::new(file),
            left: &self.left,
            left_of_part: most,
            left_of_event: 0,
        };
        Ok(Some(Xml::new(BufReader::new(part))))
    }

    /// Some programs write the names of parts in another case than they refer to them.
    fn place(&self, name: &str) -> Option<usize> {
        let is_same = |other: &[u8]| other.eq_ignore_ascii_case(name.as_bytes());
        self.zip
            .index_for_name(name)
            .or_else(|| self.zip.file_names_raw().position(is_same))
    }
}

/// A part of the archive, which fails as soon as too much of it is inflated.
pub(super) struct Part<'a> {
    file: Box<dyn Read + 'a>,
    left: &'a Cell<u64>,
    left_of_part: u64,
    left_of_event: usize,
}

impl Part<'_> {
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

fn inflates_too_much() -> FileFault {
    too_large(format!(
        "the workbook becomes more than {} when it is inflated: save the sheet as CSV and send that",
        size(MAX_INFLATED)
    ))
}

fn fault(error: ZipError) -> FileFault {
    match error {
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => password(),
        other => broken(other),
    }
}
