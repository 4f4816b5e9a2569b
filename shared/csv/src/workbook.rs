//! Workbooks: the bytes of an .xlsx or .ods file become the CSV text of one of its sheets, which is then read as any other file.
//!
//! The parts of the file are read as streams (`archive`, `xml`), the cells one after the other (`xlsx`, `ods`), and each cell is written to the
//! text at once (`sheet`). What is in memory is the file, the text, and in an .xlsx file the texts that several cells share. All of these have a
//! maximum.
//!
//! This is not the crate calamine, which reads both formats, because its memory has no maximum: in version 0.38 an .xlsx file of 1 KB that
//! announces many shared texts ends the process (`Vec::reserve` of the announced number), one of 3 KB with one long number format for many styles
//! needs 2 GB (it is copied for each), and a blank that an .ods file repeats a billion times is written a billion times. It also refuses a sheet for
//! an error that it does not know, such as `#SPILL!`, and it has only the binary number of a cell, not its digits. This module stands on the same
//! two crates: `zip` and `quick-xml`.

mod archive;
mod fault;
mod format;
mod limits;
mod number;
mod ods;
mod part;
mod sheet;
mod xlsx;
mod xml;

use self::archive::Archive;
pub use self::fault::workbook_too_large;
use self::fault::{not_csv, password};
pub use self::limits::{MAX_SHEET_BYTES, MAX_WORKBOOK_BYTES};
use self::sheet::SheetText;
pub use self::sheet::{Sheet, Unsaved};
use crate::fault::FileFault;
use crate::number::DecimalMark;

impl Sheet {
    /// The sheet of this name or, without a name, the first visible one that has cells. `most` is the maximum of its text in bytes, and `mark`
    /// the decimal mark of its numbers: that of the texts in it that are numbers, too.
    ///
    /// # Errors
    /// The file is no workbook of a known format, is broken or protected by a password; it has no such sheet, or one that is too large.
    pub fn read(file: &[u8], name: Option<&str>, most: usize, mark: DecimalMark) -> Result<Self, FileFault> {
        if file.starts_with(b"\xD0\xCF\x11\xE0") {
            return Err(compound_file(file));
        }
        if file.len() > MAX_WORKBOOK_BYTES {
            return Err(workbook_too_large());
        }
        let mut archive = Archive::open(file)?;
        let text = SheetText::new(most, mark);
        if archive.is_open_document()? {
            ods::read(&mut archive, name, text)
        } else if archive.has("[Content_Types].xml") {
            xlsx::read(&mut archive, name, text)
        } else {
            let what =
                "is a ZIP archive but no .xlsx or .ods workbook: send the file that is in it, or a gzip archive of it";
            Err(not_csv(what))
        }
    }
}

/// Why a compound file cannot be read.
fn compound_file(file: &[u8]) -> FileFault {
    let name: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
    match file.windows(name.len()).any(|window| window == name) {
        true => password(),
        false => not_csv("is an .xls workbook of Excel 97 to 2003: save it as .xlsx, or save the sheet as CSV"),
    }
}

#[cfg(test)]
#[path = "workbook_tests.rs"]
mod tests;
