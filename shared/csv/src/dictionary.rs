//! The data dictionary of a dataset: its columns, how their cells may be written, and the fields of an upload. Its readers are people and
//! programs that prepare files.

use serde::Serialize;

use crate::columns::{Column, Kind};
use crate::dataset::{Dataset, EXAMPLE};
use crate::upload_fields::Field;

/// The description of a dataset, as JSON.
#[derive(Serialize)]
pub struct Dictionary {
    dataset: &'static str,
    event_types: [&'static str; 2],
    columns: Vec<Entry>,
    upload_fields: Vec<Field>,
}

/// The description of a column.
#[derive(Serialize)]
struct Entry {
    name: &'static str,
    /// Whether the file must have it.
    required: bool,
    /// Sets of columns, one of which the file may have instead of this column.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    instead: Vec<Vec<&'static str>>,
    r#type: &'static str,
    accepts: &'static [&'static str],
    example: &'static str,
    description: &'static str,
}

impl Dictionary {
    /// The dictionary of a dataset.
    pub fn of(dataset: &'static Dataset) -> Self {
        Self {
            dataset: dataset.name,
            event_types: [dataset.created, dataset.updated],
            columns: dataset.columns.iter().map(|column| entry(dataset, *column)).collect(),
            upload_fields: Field::all(dataset),
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
    let notation = notation(column.kind());
    Entry {
        name: column.name(),
        required: dataset.requires(column),
        instead: others
            .filter(|set| !set.contains(&column))
            .map(|set| names(set))
            .collect(),
        r#type: notation.r#type,
        accepts: notation.accepts,
        example: example
            .map(|(_, example)| *example)
            .filter(|e| *e != EXAMPLE)
            .unwrap_or(notation.example),
        description: column.about(),
    }
}

struct Notation {
    r#type: &'static str,
    accepts: &'static [&'static str],
    example: &'static str,
}

/// How cells of a kind may be written.
fn notation(kind: Kind) -> Notation {
    let of = |r#type, accepts, example| Notation {
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
                "2026-01-31T10:30:00+01:00: the day that is written",
                "the form that date_format gives; an ambiguous date is refused",
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
        Kind::Email => of(
            "email",
            &["name@example.com", "Name <name@example.com>"],
            "ada@example.com",
        ),
        Kind::Text => of("text", &["anything"], "Ada"),
    }
}
