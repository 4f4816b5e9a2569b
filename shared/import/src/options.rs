//! Options: the upload fields (form fields or query parameters), parsed strictly. All faults are returned together.

use annals_csv::{BOOLEANS, Dataset, FIELDS, ReadOptions, field_text, one_of};
use annals_domain::event::FieldFault;
use annals_domain::json;
use serde_json::{Map, Value};

/// Entries of an answer's `errors` without `max_errors`.
const ERRORS_LISTED: usize = 100;
/// Maximum number of entries of an answer's `errors`, because the size of a function's answer is limited.
const MAX_ERRORS_LISTED: usize = 5_000;
/// Rejected rows that a report keeps without `max_errors`.
const ROWS_KEPT: usize = 10_000;
/// Maximum number of rejected rows that a report keeps, so that a file in which every row is faulty does not fill the database.
const MAX_ROWS_KEPT: usize = 100_000;

/// How a file is read, and what is done with its rows.
#[derive(Debug, Default, Clone)]
pub struct Options {
    /// How the file is read.
    pub read: ReadOptions,
    /// What happens if rows are rejected.
    pub mode: Mode,
    /// Whether the upload is a dry run: nothing is appended.
    pub dry_run: bool,
    /// Whether a file that was imported before in another way is imported again.
    pub again: bool,
    /// `None` if the upload does not say it.
    max_errors: Option<usize>,
    /// The fields as they were sent.
    pub sent: Map<String, Value>,
}

/// What happens to a file with rejected rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The other rows are appended.
    #[default]
    Partial,
    /// Nothing is appended.
    AllOrNothing,
}

impl Options {
    /// Parses an upload's fields. `charset` is that of a raw body's content type; it is the encoding if the field `encoding` is not given.
    ///
    /// # Errors
    /// The fault of each field that is unknown, repeated or unusable. The pointer is the field's name: `/currency`.
    pub fn parse(
        fields: Vec<(String, String)>,
        charset: Option<&str>,
        dataset: &Dataset,
    ) -> Result<Self, Vec<FieldFault>> {
        let mut options = Self::default();
        let mut faults = Vec::new();
        for (place, (name, value)) in fields.iter().enumerate() {
            let fault = |code, detail: String| FieldFault::new(format!("/{name}"), code, detail);
            if value.contains('\0') {
                faults.push(fault("nul_character", "contains the character U+0000".to_owned()));
                continue;
            }
            if fields[..place].iter().any(|(earlier, _)| earlier == name) {
                faults.push(fault("repeated_field", "may be given only once".to_owned()));
                continue;
            }
            match options.set(name, value, dataset) {
                Ok(true) => {}
                Ok(false) => faults.push(fault(
                    "unknown_field",
                    format!(
                        "is not a field of an upload; those are {}",
                        FIELDS.map(|field| field.name).join(", ")
                    ),
                )),
                Err(detail) => faults.push(fault("invalid_value", detail)),
            }
        }
        let mut declared = None;
        if let (None, Some(charset)) = (options.read.format.encoding, charset) {
            match options.read.set_encoding(charset) {
                Ok(()) => declared = Some(("encoding".to_owned(), charset.to_owned())),
                Err(detail) => faults.push(FieldFault::new("/charset", "invalid_value", detail)),
            }
        }
        if faults.is_empty() {
            options.sent = fields
                .into_iter()
                .chain(declared)
                .map(|(name, value)| (name, Value::String(value)))
                .collect();
            Ok(options)
        } else {
            Err(faults)
        }
    }

    /// Parses fields that were recorded with an upload; `None` if they cannot be parsed any more.
    pub fn recorded(fields: &Value, dataset: &Dataset) -> Option<Self> {
        let fields = fields.as_object().into_iter().flatten();
        let fields = fields.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        Self::parse(fields.collect(), None, dataset).ok()
    }

    /// The fields as they were sent, with the encoding of the body's content type.
    pub fn fields(&self) -> Vec<(String, String)> {
        let texts = self.sent.iter().map(|(name, value)| (name.clone(), field_text(value)));
        texts.collect()
    }

    /// Whether nothing is appended before the end of the file: the upload is all or nothing, or a dry run.
    pub fn is_atomic(&self) -> bool {
        self.dry_run || self.mode == Mode::AllOrNothing
    }

    /// Whether this number of rejected rows refuses the whole file. A dry run gives the same answer.
    pub fn is_refused(&self, rejected: i64) -> bool {
        self.mode == Mode::AllOrNothing && rejected > 0
    }

    /// Maximum number of errors that the answer lists.
    pub fn errors_listed(&self) -> usize {
        self.max_errors.unwrap_or(ERRORS_LISTED).min(MAX_ERRORS_LISTED)
    }

    /// Maximum number of rejected rows that the report keeps.
    pub fn rows_kept(&self) -> usize {
        self.max_errors.unwrap_or(ROWS_KEPT).min(MAX_ROWS_KEPT)
    }

    /// Sets a field; returns whether a field of that name exists.
    fn set(&mut self, name: &str, value: &str, dataset: &Dataset) -> Result<bool, String> {
        match name {
            "mode" => {
                self.mode = one_of(
                    value,
                    &[("partial", Mode::Partial), ("all_or_nothing", Mode::AllOrNothing)],
                )?
            }
            "dry_run" => self.dry_run = one_of(value, &BOOLEANS)?,
            "again" => self.again = one_of(value, &BOOLEANS)?,
            "max_errors" => {
                let number = json::whole_number(value).filter(|number| *number >= 0);
                let number = number.ok_or("must be a whole number from 0")?;
                self.max_errors = Some(usize::try_from(number).unwrap_or(usize::MAX));
            }
            // What the file decides replaces it before an upload is read.
            "options" => one_of(value, &[("auto", ())])?,
            other => return self.read.set(other, value, dataset),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use annals_csv::{CUSTOMERS, Column, DecimalMark, EXPENSES, Field, Rounding, SALES};
    use iso_currency::Currency;

    use super::*;

    fn parse(fields: &[(&str, &str)]) -> Result<Options, Vec<String>> {
        let fields = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let name = |fault: &FieldFault| format!("{} {}", fault.pointer.trim_start_matches('/'), fault.code);
        Options::parse(fields, None, &SALES).map_err(|faults| faults.iter().map(name).collect())
    }

    #[test]
    fn every_field_is_read() {
        let options = parse(&[
            ("mapping", r#"{"sale_id": "Row ID", "notes": null}"#),
            ("date_format", "%d.%m.%Y"),
            ("currency", "EUR"),
            ("decimal", ","),
            ("delimiter", "tab"),
            ("encoding", "latin1"),
            ("rounding", "reject"),
            ("mode", "all_or_nothing"),
            ("dry_run", "true"),
            ("again", "true"),
            // As JSON may write it.
            ("max_errors", "1000000.0"),
        ])
        .expect("options");
        let read = &options.read;
        assert_eq!(read.mapping.of(Column::SaleId), Some(Some("Row ID")));
        assert_eq!(read.mapping.of(Column::Notes), Some(None));
        assert_eq!(read.mapping.of(Column::Product), None);
        assert_eq!(read.values.currency, Some(Currency::EUR));
        assert_eq!(read.values.decimal, Some(DecimalMark::Comma));
        assert_eq!(read.format.delimiter, Some(b'\t'));
        assert_eq!(read.format.encoding, Some(encoding_rs::WINDOWS_1252));
        assert_eq!(
            (read.values.rounding, options.mode, options.dry_run),
            (Rounding::Reject, Mode::AllOrNothing, true)
        );
        assert_eq!(
            (options.errors_listed(), options.rows_kept()),
            (MAX_ERRORS_LISTED, MAX_ROWS_KEPT)
        );
        assert_eq!(options.sent.get("currency"), Some(&Value::from("EUR")));
    }

    #[test]
    fn the_encoding_of_a_raw_body_is_recorded_as_a_field() {
        let options = Options::parse(Vec::new(), Some("latin1"), &SALES).expect("options");
        assert_eq!(options.sent.get("encoding"), Some(&Value::from("latin1")));
        let recorded = Options::recorded(&Value::Object(options.sent.clone()), &SALES).expect("options");
        assert_eq!(recorded.read, options.read);
    }

    #[test]
    fn every_field_is_described() {
        for dataset in [&SALES, &CUSTOMERS, &EXPENSES] {
            for Field { name, example, .. } in Field::all(dataset) {
                assert_eq!(
                    Options::default().set(name, &example, dataset),
                    Ok(true),
                    "{name}={example}"
                );
            }
        }
        assert_eq!(Options::default().set("colour", "red", &SALES), Ok(false));
    }

    #[test]
    fn faults_are_named_all_at_once() {
        let faults = parse(&[
            ("colour", "red"),
            ("mode", "some"),
            ("dry_run", "true"),
            ("dry_run", "false"),
        ])
        .map(|_| ())
        .expect_err("faults");
        assert!(
            faults
                .iter()
                .any(|f| f.starts_with("colour") && f.contains("unknown_field")),
            "{faults:?}"
        );
        assert!(
            faults
                .iter()
                .any(|f| f.starts_with("mode") && f.contains("invalid_value")),
            "{faults:?}"
        );
        assert!(
            faults
                .iter()
                .any(|f| f.starts_with("dry_run") && f.contains("repeated_field")),
            "{faults:?}"
        );
    }

    #[test]
    fn unusable_values_are_refused() {
        for (name, value) in [
            ("mapping", "[]"),
            ("mapping", "{"),
            ("mapping", r#"{"price": "x"}"#),
            ("mapping", r#"{"amount": 5}"#),
            ("mapping", r#"{"amount": ""}"#),
            ("mapping", r#"{"amount": "a", "amount": "b"}"#),
            ("date_format", "%Y"),
            ("currency", "usd"),
            ("currency", "XYZ"),
            ("decimal", ";"),
            ("delimiter", "x"),
            ("encoding", "klingon"),
            ("max_errors", "-1"),
            ("max_errors", "1.5"),
            ("max_errors", "many"),
            ("dry_run", "yes"),
            ("again", "1"),
            ("dry_run", ""),
            ("mapping", "\0"),
        ] {
            assert!(parse(&[(name, value)]).is_err(), "{name}={value}");
        }
    }
}
