//! How large a workbook may be.

/// Maximum bytes of a workbook.
pub const MAX_WORKBOOK_BYTES: usize = 64 * 1024 * 1024;
/// Maximum bytes of a large upload's sheet as text.
pub const MAX_SHEET_BYTES: usize = 256 * 1024 * 1024;
/// Maximum bytes that are inflated.
pub(super) const MAX_INFLATED: u64 = 256 * 1024 * 1024;
/// Maximum number of cells of a sheet, the empty ones between others included.
pub(super) const MAX_CELLS: u64 = 5_000_000;
/// Maximum number of rows and columns of a sheet, as in Excel and LibreOffice.
pub(super) const MAX_ROWS: u32 = 1_048_576;
pub(super) const MAX_COLUMNS: u32 = 16_384;
/// Maximum bytes of a cell. Excel allows 32,767 characters.
pub(super) const MAX_CELL_BYTES: usize = 1024 * 1024;
