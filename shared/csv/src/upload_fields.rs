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
        "JSON object that maps our columns to the file's headers, or to null to leave a column out",
        "columns are found by their names",
    ),
    field(
        "date_format",
        "strftime pattern of dates, such as %m/%d/%Y",
        "YYYY-MM-DD",
    ),
    field(
        "currency",
        "ISO 4217 code of the currency of rows that name none",
        "USD; an amount with € is in EUR, one with ₹ in INR",
    ),
    field("decimal", "the decimal mark: . or ,", "."),
    field(
        "delimiter",
        "the separator of fields: , or ; or | or tab",
        "the one that is most frequent in the header",
    ),
    field(
        "encoding",
        "the file's encoding, such as windows-1252",
        "that of the byte order mark; without one, UTF-8 or Windows-1252 is detected",
    ),
    field(
        "rounding",
        "amounts with more decimals than the currency has: half_away rounds and counts them, reject refuses their rows",
        "half_away",
    ),
    field(
        "mode",
        "partial appends the valid rows, all_or_nothing appends nothing if a row is invalid",
        "partial",
    ),
    field("dry_run", "true only reports what would happen", "false"),
    field(
        "max_errors",
        "maximum number of errors in the answer (at most 5,000) and of rejected rows in the report (at most 100,000)",
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
