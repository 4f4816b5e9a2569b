//! The data dictionary: what a dataset's columns hold and how they may be written, for whoever prepares a file, person or program.

use serde::Serialize;

use crate::columns::{Column, Kind};
use crate::dataset::{Dataset, EXAMPLE};

/// A dataset, described.
#[derive(Serialize)]
pub(crate) struct Dictionary {
    dataset: &'static str,
    event_types: [&'static str; 2],
    columns: Vec<Entry>,
    upload_fields: &'static [Field],
}

/// A column, described.
#[derive(Serialize)]
struct Entry {
    name: &'static str,
    /// The file must have it.
    required: bool,
    /// What the file may have instead, where it must have one of several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    instead: Vec<Vec<&'static str>>,
    r#type: &'static str,
    accepts: &'static [&'static str],
    example: &'static str,
    description: &'static str,
}

impl Dictionary {
    /// The dictionary of a dataset.
    pub(crate) fn of(dataset: &'static Dataset) -> Self {
        Self {
            dataset: dataset.name,
            event_types: [dataset.created, dataset.updated],
            columns: dataset.columns.iter().map(|column| entry(dataset, *column)).collect(),
            upload_fields: &FIELDS,
        }
    }
}

fn entry(dataset: &Dataset, column: Column) -> Entry {
    let of_several = dataset
        .required
        .iter()
        .find(|required| required.0.len() > 1 && required.0.concat().contains(&column));
    let others = of_several.iter().flat_map(|required| required.0);
    let names = |set: &[Column]| set.iter().map(|column| column.name()).collect();
    let example = dataset.template.iter().find(|(other, _)| *other == column);
    let written = written(column.kind());
    Entry {
        name: column.name(),
        required: dataset.requires(column),
        instead: others
            .filter(|set| !set.contains(&column))
            .map(|set| names(set))
            .collect(),
        r#type: written.r#type,
        accepts: written.accepts,
        example: example
            .map(|(_, example)| *example)
            .filter(|e| *e != EXAMPLE)
            .unwrap_or(written.example),
        description: column.about(),
    }
}

struct Written {
    r#type: &'static str,
    accepts: &'static [&'static str],
    example: &'static str,
}

/// How cells of a kind may be written.
fn written(kind: Kind) -> Written {
    let of = |r#type, accepts, example| Written {
        r#type,
        accepts,
        example,
    };
    match kind {
        Kind::Id => of("id", &["1 to 128 printable characters"], "A-0001"),
        Kind::Day => of(
            "date",
            &[
                "YYYY-MM-DD",
                "what date_format says; a date that could be two days is refused",
            ],
            "2026-01-31",
        ),
        Kind::Amount | Kind::Price => of(
            "money",
            &[
                "1234.50",
                "1,234.50",
                "1.234,50 with decimal=,",
                "1 234.50",
                "12,34,567.50",
                "-12.00",
                "(12.00)",
                "$ 1,234.50, and €, £, ¥, ₹ before or after the number, where they fit the currency",
            ],
            "411.50",
        ),
        Kind::Quantity => of(
            "number",
            &["1234.5", "1,234.5", "1.234,5 with decimal=,", "1 234.5", "-3"],
            "3",
        ),
        Kind::Currency => of("currency", &["ISO 4217 code"], "USD"),
        Kind::Email => of("email", &["name@example.com"], "ada@example.com"),
        Kind::Text => of("text", &["anything"], "Ada"),
    }
}

/// A field of an upload, for the data dictionary.
#[derive(Debug, Serialize)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    /// What it says.
    pub(crate) description: &'static str,
    /// What counts where it is not given.
    pub(crate) default: &'static str,
}

/// All fields.
pub(crate) const FIELDS: [Field; 10] = [
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
