//! The fields of an upload (form fields or query parameters), as the data dictionary and error messages list them.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::json;

use crate::dataset::Dataset;

/// The description of a field.
#[derive(Debug, Clone, Serialize)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its meaning and its values.
    pub description: &'static str,
    /// The value if it is not given.
    pub default: &'static str,
    /// A value. Empty in [`FIELDS`] if it depends on the dataset.
    pub example: Cow<'static, str>,
}

impl Field {
    /// All fields of an upload of this dataset.
    pub fn all(dataset: &Dataset) -> Vec<Self> {
        let mut fields = FIELDS.to_vec();
        for field in fields.iter_mut().filter(|field| field.example.is_empty()) {
            let mapping = dataset
                .template
                .first()
                .map(|(column, _)| json!({column.name(): "Header in the file"}));
            field.example = mapping.unwrap_or_default().to_string().into();
        }
        fields
    }
}

/// All fields of an upload.
pub const FIELDS: [Field; 24] = [
    field(
        "mapping",
        "JSON object that maps our columns to the file's headers, or to null to leave a column out",
        "columns are found by their names",
        "",
    ),
    field(
        "date_format",
        "strftime pattern of dates, such as %m/%d/%Y, or excel for the numbers of a spreadsheet",
        "YYYY-MM-DD",
        "%m/%d/%Y",
    ),
    field(
        "timezone",
        "IANA name of the time zone in which times with an offset have their day, such as Europe/Berlin",
        "the day is the one that is written",
        "Europe/Berlin",
    ),
    field(
        "currency",
        "ISO 4217 code of the currency of rows that name none",
        "USD; an amount with € is in EUR, one with ₹ in INR",
        "EUR",
    ),
    field(
        "decimal",
        "the decimal mark: . or ,",
        "the one that the file decides; a point, if numbers could not be others",
        ",",
    ),
    field(
        "delimiter",
        "the separator of fields: , or ; or | or tab",
        "the one by which the header has the columns that are needed",
        ";",
    ),
    field(
        "encoding",
        "the file's encoding, such as windows-1252",
        "that of the byte order mark; without one, UTF-8 or Windows-1252 is detected",
        "windows-1252",
    ),
    field(
        "rounding",
        "amounts with more decimals than the currency has: half_away rounds and counts them, reject refuses their rows",
        "half_away",
        "reject",
    ),
    field(
        "mode",
        "partial appends the valid rows, all_or_nothing appends nothing if a row is invalid",
        "partial",
        "all_or_nothing",
    ),
    field(
        "options",
        "auto reads the file as POST /data/inspect proposes, if the file leaves no doubt, and refuses it otherwise",
        "nothing is proposed",
        "auto",
    ),
    field(
        "sheet",
        "name of the sheet of a workbook (.xlsx or .ods); other files have none",
        "the first visible sheet that has cells",
        "Orders 2026",
    ),
    field(
        "skip_rows",
        "number of lines before the header: at most 100",
        "0: the header is found",
        "3",
    ),
    field(
        "skip_footer",
        "number of rows at the end that are none: at most 100",
        "0",
        "1",
    ),
    field(
        "header",
        "none: the first line is a row, and columns are called 1, 2, 3",
        "first: the first line that has the columns",
        "none",
    ),
    field(
        "filter",
        "which rows are taken: {\"column\": \"Status\", \"in\": [\"Paid\"]}, or \"not_in\", or \"sign\": \"negative\" or \"positive\"; or an array \
         of such conditions, all of which must hold",
        "all rows",
        "{\"column\": \"Status\", \"in\": [\"Paid\", \"Refunded\"]}",
    ),
    field("negate", "true gives amounts the opposite sign", "false", "true"),
    field(
        "amount_columns",
        "two columns of amounts, {\"debit\": \"Paid out\", \"credit\": \"Paid in\"}: the amount is the credit minus the debit",
        "one column",
        "{\"debit\": \"Paid out\", \"credit\": \"Paid in\"}",
    ),
    field(
        "sign_column",
        "header of the column that says whether the amount is negative, by a word such as debit or credit, S or H, Dr or Cr, Af or Bij",
        "the amount has its sign",
        "Debit/Credit",
    ),
    field(
        "name_columns",
        "headers of the columns that make up a name, [\"First Name\", \"Last Name\"]",
        "one column",
        "[\"First Name\", \"Last Name\"]",
    ),
    field(
        "empty_values",
        "texts of cells that are as good as empty, [\"-\", \"N/A\"]",
        "none",
        "[\"-\", \"N/A\"]",
    ),
    field(
        "zero_values",
        "texts of cells that mean the number zero, [\"-\"]",
        "none",
        "[\"-\"]",
    ),
    field(
        "again",
        "true imports a file once more that was imported before with other options and has no ids",
        "false: such a file is refused",
        "true",
    ),
    field("dry_run", "true only reports what would happen", "false", "true"),
    field(
        "max_errors",
        "maximum number of errors in the answer (at most 5,000) and of rejected rows in the report (at most 100,000)",
        "100 and 10,000",
        "1000",
    ),
];

const fn field(name: &'static str, description: &'static str, default: &'static str, example: &'static str) -> Field {
    Field {
        name,
        description,
        default,
        example: Cow::Borrowed(example),
    }
}
