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
mod format;
mod number;
mod ods;
mod sheet;
mod xlsx;
mod xml;

use bytes::Bytes;

use self::archive::Archive;
use self::sheet::SheetText;
use crate::fault::FileFault;
use crate::packing::{size, too_large};

/// Maximum bytes of a workbook.
pub const MAX_WORKBOOK_BYTES: usize = 64 * 1024 * 1024;
/// Maximum bytes of a large upload's sheet as text.
pub const MAX_SHEET_BYTES: usize = 256 * 1024 * 1024;
/// Maximum bytes that are inflated.
const MAX_INFLATED: u64 = 256 * 1024 * 1024;
/// Maximum number of cells of a sheet, the empty ones between others included.
const MAX_CELLS: u64 = 5_000_000;
/// Maximum number of rows and columns of a sheet, as in Excel and LibreOffice.
const MAX_ROWS: u32 = 1_048_576;
const MAX_COLUMNS: u32 = 16_384;
/// Maximum bytes of a cell. Excel allows 32,767 characters.
const MAX_CELL_BYTES: usize = 1024 * 1024;
/// Maximum number of sheets that a fault names, and of characters of each name.
const MAX_NAMED: usize = 20;
const MAX_NAME: usize = 80;

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

impl Sheet {
    /// The sheet of this name or, without a name, the first visible one that has cells. `most` is the maximum of its text in bytes.
    ///
    /// # Errors
    /// The file is no workbook of a known format, is broken or protected by a password; it has no such sheet, or one that is too large.
    pub fn read(file: &[u8], name: Option<&str>, most: usize) -> Result<Self, FileFault> {
        if file.starts_with(b"\xD0\xCF\x11\xE0") {
            return Err(compound_file(file));
        }
        if file.len() > MAX_WORKBOOK_BYTES {
            return Err(workbook_too_large());
        }
        let mut archive = Archive::open(file)?;
        let text = SheetText::new(most);
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

/// A workbook that is larger than any may be.
pub fn workbook_too_large() -> FileFault {
    let most = size(u64::try_from(MAX_WORKBOOK_BYTES).unwrap_or_default());
    too_large(format!(
        "the workbook is larger than {most}: save the sheet as CSV and send that"
    ))
}

/// Why a compound file cannot be read.
fn compound_file(file: &[u8]) -> FileFault {
    let name: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
    match file.windows(name.len()).any(|window| window == name) {
        true => password(),
        false => not_csv("is an .xls workbook of Excel 97 to 2003: save it as .xlsx, or save the sheet as CSV"),
    }
}

fn password() -> FileFault {
    not_csv("is a workbook that is protected by a password: save it without one, or save the sheet as CSV")
}

fn not_csv(what: &str) -> FileFault {
    FileFault::new("not_csv", format!("the file {what}"))
}

/// A workbook that cannot be read.
fn broken(what: impl std::fmt::Display) -> FileFault {
    not_csv(&format!(
        "is a workbook that is broken ({what}): open it in a spreadsheet and save it again, or save the sheet as CSV"
    ))
}

/// A sheet that is not there.
fn unknown_sheet(name: &str, names: &[String]) -> FileFault {
    let shorten = |name: &str| name.chars().take(MAX_NAME).collect::<String>();
    let mut listed: Vec<String> = names.iter().take(MAX_NAMED).map(|name| shorten(name)).collect();
    if names.len() > MAX_NAMED {
        listed.push("…".to_owned());
    }
    let message = format!(
        "the workbook has no sheet {:?}; it has {}",
        shorten(name),
        listed.join(", ")
    );
    FileFault::new("unknown_sheet", message)
}

/// A sheet, or a whole workbook, without cells.
fn no_cells(name: Option<&str>) -> FileFault {
    let message = match name {
        Some(name) => format!("the sheet {name:?} of the workbook has no cells"),
        None => "the workbook has no visible sheet with cells".to_owned(),
    };
    FileFault::new("empty_file", message)
}

/// Whether a sheet is the one that is asked for. Spreadsheets do not distinguish names by case.
fn is_named(sheet: &str, name: &str) -> bool {
    sheet == name || sheet.to_lowercase() == name.to_lowercase()
}

/// The name of a column, such as `AB`, by its position from 0.
fn column_name(column: u32) -> String {
    let (mut rest, mut name) = (column + 1, Vec::new());
    while rest > 0 {
        let letter = u8::try_from((rest - 1) % 26).unwrap_or_default();
        name.insert(0, b'A' + letter);
        rest = (rest - 1) / 26;
    }
    String::from_utf8(name).unwrap_or_default()
}

#[cfg(test)]
#[path = "workbook_tests.rs"]
mod tests;
