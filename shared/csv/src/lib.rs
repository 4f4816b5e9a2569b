//! CSV: the bytes of a file become typed rows of a dataset.
//!
//! The order of the steps: [`Reader`] turns a stream of bytes into records (`decode`: bytes to text, `records`: text to records, `header`:
//! where the header is) → [`Layout`] finds the dataset's columns in the header → [`Row`] is a record seen through the layout → [`facts`] reads the row's cells
//! (`cells`, `money`) and returns [`Facts`], or every [`RowFault`] of the row. [`formula`] protects spreadsheets that open a report of
//! rejected rows.
//!
//! A file that is a gzip archive or a workbook ([`Packing`]) first becomes such a stream of text: [`Inflater`], [`Sheet`].
//!
//! A [`Dataset`] is a table of columns with their kinds. No code depends on which dataset it is.
//!
//! Architecture invariants: the file is never needed in memory as a whole, unless it is a workbook; every pass over a file gives the same records, however its
//! bytes are split into chunks.

mod amount;
mod cells;
mod columns;
mod dataset;
mod date;
mod date_candidates;
mod decode;
mod dictionary;
pub mod facts;
mod fault;
pub mod formula;
mod gzip;
mod header;
mod judge;
mod layout;
mod mapping;
mod money;
mod number;
mod options;
mod packing;
mod reader;
mod records;
mod row;
pub mod sample;
mod suggestion;
mod table;
mod template;
mod upload_fields;
mod western;
mod workbook;
mod zone;

pub use self::amount::{Amount, Written};
pub use self::columns::{Column, Kind};
pub use self::dataset::{AMOUNT_FIELD, CURRENCY_FIELD, CUSTOMERS, Dataset, EXAMPLE, EXPENSES, SALES};
pub use self::date::DateFormat;
pub use self::dictionary::Dictionary;
pub use self::facts::Facts;
pub use self::fault::{FileFault, RowFault};
pub use self::gzip::Inflater;
pub use self::judge::Judge;
pub use self::layout::{ERRORS_COLUMN, Layout, reported_upload};
pub use self::mapping::Mapping;
pub use self::number::DecimalMark;
pub use self::options::{BOOLEANS, Format, ReadOptions, Rounding, ValueOptions, field_text, one_of};
pub use self::packing::{PACKING_BYTES, Packing};
pub use self::reader::{ReadError, Reader, ResumePoint};
pub use self::records::{Record, Splitter};
pub use self::row::Row;
pub use self::table::{AmountColumns, Condition, TableOptions, Test, is_negative_sign};
pub use self::template::template;
pub use self::upload_fields::{FIELDS, Field};
pub use self::workbook::{MAX_SHEET_BYTES, MAX_WORKBOOK_BYTES, Sheet, Unsaved, workbook_too_large};
pub use self::zone::Zone;
