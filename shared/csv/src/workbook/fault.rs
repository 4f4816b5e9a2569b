//! Why a workbook is refused.

use super::limits::MAX_WORKBOOK_BYTES;
use crate::fault::FileFault;
use crate::packing::{size, too_large};

/// Maximum number of sheets that a fault names, and of characters of each name.
const MAX_NAMED: usize = 20;
const MAX_NAME: usize = 80;

/// A workbook that is larger than any may be.
pub fn workbook_too_large() -> FileFault {
    let most = size(u64::try_from(MAX_WORKBOOK_BYTES).unwrap_or_default());
    too_large(format!(
        "the workbook is larger than {most}: save the sheet as CSV and send that"
    ))
}

pub(super) fn password() -> FileFault {
    not_csv("is a workbook that is protected by a password: save it without one, or save the sheet as CSV")
}

pub(super) fn not_csv(what: &str) -> FileFault {
    FileFault::new("not_csv", format!("the file {what}"))
}

/// A workbook that cannot be read.
pub(super) fn broken(what: impl std::fmt::Display) -> FileFault {
    not_csv(&format!(
        "is a workbook that is broken ({what}): open it in a spreadsheet and save it again, or save the sheet as CSV"
    ))
}

/// A sheet that is not there.
pub(super) fn unknown_sheet(name: &str, names: &[String]) -> FileFault {
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
pub(super) fn no_cells(name: Option<&str>) -> FileFault {
    let message = match name {
        Some(name) => format!("the sheet {name:?} of the workbook has no cells"),
        None => "the workbook has no visible sheet with cells".to_owned(),
    };
    FileFault::new("empty_file", message)
}

/// Whether a sheet is the one that is asked for. Spreadsheets do not distinguish names by case.
pub(super) fn is_named(sheet: &str, name: &str) -> bool {
    sheet == name || sheet.to_lowercase() == name.to_lowercase()
}
