//! What a file is besides text: a gzip archive or a workbook. Its first bytes say so; its name and its media type do not count.

use crate::fault::FileFault;

/// Bytes that [`Packing::of`] needs.
pub const PACKING_BYTES: usize = 8;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Text, or something that [`Reader`](crate::Reader) refuses.
    Text,
    /// A gzip archive of a file.
    Gzip,
    /// A workbook, or another file of the formats that workbooks use: ZIP (.xlsx, .ods) and compound files (.xls, and .xlsx with a password).
    Workbook,
}

impl Packing {
    /// What a file with these first bytes is.
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1F, 0x8B, ..] => Self::Gzip,
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] | [0xD0, 0xCF, 0x11, 0xE0, ..] => Self::Workbook,
            _ => Self::Text,
        }
    }
}

/// A file that is larger than it may be.
pub(crate) fn too_large(message: impl Into<String>) -> FileFault {
    FileFault::new("file_too_large", message)
}

/// Bytes as a number of MiB or, from 10 GiB on, of GiB.
pub(crate) fn size(bytes: u64) -> String {
    match bytes >> 20 {
        mebibytes @ 0..10_240 => format!("{mebibytes} MiB"),
        mebibytes => format!("{} GiB", mebibytes >> 10),
    }
}
