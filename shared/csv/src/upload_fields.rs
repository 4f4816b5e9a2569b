//! The fields of an upload (form fields or query parameters), as the data dictionary and error messages list them.

use serde::Serialize;

/// The description of a field.
#[derive(Debug, Serialize)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its meaning and its values.
    pub description: &'static str,
    /// The value if it is not given.
    pub default: &'static str,
}

/// All fields of an upload.
pub const FIELDS: [Field; 10] = [
    field(
        "mapping",
        "JSON object: our column to the file's header, or to null where it is not to be read",
        "columns are found by their names",
    ),
    field(
        "date_format",
        "strftime pattern of dates, such as %m/%d/%Y",
        "YYYY-MM-DD",
    ),
    field(
        "currency",
        "ISO 4217 code of amounts whose row names none",
        "USD; € and ₹ before or after an amount say EUR and INR",
    ),
    field("decimal", "the decimal mark: . or ,", "."),
    field(
        "delimiter",
        "what separates fields: , or ; or | or tab",
        "what the header has most of",
    ),
    field(
        "encoding",
        "the file's encoding, such as windows-1252",
        "the byte order mark's, or else UTF-8 or Windows-1252, whichever it is",
    ),
    field(
        "rounding",
        "amounts finer than a minor unit: half_away rounds and counts them, reject refuses their rows",
        "half_away",
    ),
    field(
        "mode",
        "partial appends the rows that are right, all_or_nothing appends nothing where one is wrong",
        "partial",
    ),
    field("dry_run", "true says what would happen, and appends nothing", "false"),
    field(
        "max_errors",
        "errors that the answer lists (5,000 at most), and refused rows that the report keeps (100,000 at most)",
        "100 and 10,000",
    ),
];

const fn field(name: &'static str, description: &'static str, default: &'static str) -> Field {
    Field {
        name,
        description,
        default,
    }
}
