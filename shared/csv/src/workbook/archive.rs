//! The ZIP archive that a workbook is. Bytes are counted when a part is opened, by its declared size, and again while it is inflated.

use std::cell::Cell;
use std::io::{BufReader, Cursor, Read};

use zip::ZipArchive;
use zip::result::ZipError;

use super::fault::{broken, password};
use super::limits::MAX_INFLATED;
use super::part::{Part, inflates_too_much};
use super::xml::Xml;
use crate::fault::FileFault;

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
        let part = Part::new(Box::new(file), &self.left, most);
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

fn fault(error: ZipError) -> FileFault {
    match error {
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => password(),
        other => broken(other),
    }
}
