//! Upload fields: form fields and query parameters become options, read strictly, every fault named at once.

use annals::domain::event::FieldFault;
use annals::domain::{json, money};
use annals::http::ApiError;
use encoding_rs::Encoding;
use iso_currency::Currency;
use serde_json::{Map, Value};

use crate::columns::Column;
use crate::dataset::Dataset;
use crate::date::DateFormat;
use crate::dictionary::FIELDS;
use crate::number::DecimalMark;
use crate::reader::Format;

/// Entries of an answer's `errors` unless the upload says otherwise.
const ERRORS_LISTED: usize = 100;
/// Entries at most: an answer has to fit into what a function may answer with.
const MOST_ERRORS_LISTED: usize = 5_000;
/// Refused rows that the report keeps unless the upload says otherwise.
const ROWS_KEPT: usize = 10_000;
/// Rows at most: a file of nothing but bad rows must not fill the database.
const MOST_ROWS_KEPT: usize = 100_000;

/// How a file is to be read and what is to be done with it.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) format: Format,
    pub(crate) mapping: Mapping,
    pub(crate) values: Values,
    pub(crate) mode: Mode,
    pub(crate) dry_run: bool,
    /// None: not said.
    max_errors: Option<usize>,
    /// The fields as they were sent.
    pub(crate) sent: Map<String, Value>,
}

/// How cells become values.
#[derive(Debug, Default)]
pub(crate) struct Values {
    pub(crate) date_format: DateFormat,
    /// None: the default, unless an amount says something else.
    pub(crate) currency: Option<Currency>,
    pub(crate) decimal: DecimalMark,
    pub(crate) rounding: Rounding,
}

/// What becomes of amounts finer than a minor unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Rounding {
    /// They are rounded, and counted.
    #[default]
    HalfAway,
    /// Their rows are refused.
    Reject,
}

/// What becomes of a file with rows that are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mode {
    /// The others are appended.
    #[default]
    Partial,
    /// Nothing is appended.
    AllOrNothing,
}

/// Our columns by the headers of the file; a column without a header is not to be read at all.
#[derive(Debug, Default)]
pub(crate) struct Mapping(Vec<(Column, Option<String>)>);

impl Mapping {
    /// What the upload says about a column, if it says anything.
    pub(crate) fn of(&self, column: Column) -> Option<Option<&str>> {
        self.0
            .iter()
            .find(|(mapped, _)| *mapped == column)
            .map(|(_, header)| header.as_deref())
    }

    /// Whether some column is mapped to this header.
    pub(crate) fn maps_to(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|(_, header)| header.as_deref().is_some_and(|header| header.trim() == name))
    }

    /// Whether nothing is mapped.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn parse(text: &str, dataset: &Dataset) -> Result<Self, String> {
        let Ok(Value::Object(members)) = json::parse(text.as_bytes()) else {
            return Err(
                "must be a JSON object from column to the file's header, such as {\"amount\": \"Total\"}".to_owned(),
            );
        };
        let mut mapping = Vec::with_capacity(members.len());
        for (name, header) in members {
            let column = dataset.columns.iter().copied().find(|column| column.name() == name);
            let column = column.ok_or_else(|| format!("{name} is not a column of {}", dataset.name))?;
            match header {
                Value::Null => mapping.push((column, None)),
                Value::String(header) if !header.trim().is_empty() => mapping.push((column, Some(header))),
                _ => return Err(format!("{name} must be mapped to a header of the file, or to null")),
            }
        }
        Ok(Self(mapping))
    }
}

impl Options {
    /// Reads an upload's fields. `charset` is that of a raw body's content type, and counts where `encoding` is not given.
    ///
    /// # Errors
    /// 400 with each field that is unknown, repeated or unusable.
    pub(crate) fn parse(
        fields: Vec<(String, String)>,
        charset: Option<&str>,
        dataset: &Dataset,
    ) -> Result<Self, ApiError> {
        let mut options = Self::default();
        let mut faults = Vec::new();
        for (place, (name, value)) in fields.iter().enumerate() {
            let fault = |code, detail: String| FieldFault::new(format!("/{name}"), code, detail);
            if value.contains('\0') {
                faults.push(fault("nul_character", "holds the character U+0000".to_owned()));
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
        if let (None, Some(charset)) = (options.format.encoding, charset) {
            match encoding(charset) {
                Ok(declared) => options.format.encoding = Some(declared),
                Err(detail) => faults.push(FieldFault::new("/charset", "invalid_value", detail)),
            }
        }
        if faults.is_empty() {
            options.sent = fields
                .into_iter()
                .map(|(name, value)| (name, Value::String(value)))
                .collect();
            Ok(options)
        } else {
            Err(ApiError::malformed(faults))
        }
    }

    /// The fields of an upload as they were recorded when they had been read; none where they cannot be read any more.
    pub(crate) fn recorded(fields: &Value, dataset: &Dataset) -> Option<Self> {
        let fields = fields.as_object().into_iter().flatten();
        let fields = fields.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        Self::parse(fields.collect(), None, dataset).ok()
    }

    /// Whether nothing is appended before the end of the file, if at all.
    pub(crate) fn is_whole(&self) -> bool {
        self.dry_run || self.mode == Mode::AllOrNothing
    }

    /// Whether so many rejected rows refuse all the others, too. A dry run says the same.
    pub(crate) fn is_refused(&self, rejected: u64) -> bool {
        self.mode == Mode::AllOrNothing && rejected > 0
    }

    /// How many errors the answer lists.
    pub(crate) fn errors_listed(&self) -> usize {
        self.max_errors.unwrap_or(ERRORS_LISTED).min(MOST_ERRORS_LISTED)
    }

    /// How many refused rows the report keeps.
    pub(crate) fn rows_kept(&self) -> usize {
        self.max_errors.unwrap_or(ROWS_KEPT).min(MOST_ROWS_KEPT)
    }

    /// Sets a field; answers with whether there is one of that name.
    fn set(&mut self, name: &str, value: &str, dataset: &Dataset) -> Result<bool, String> {
        match name {
            "mapping" => self.mapping = Mapping::parse(value, dataset)?,
            "date_format" => {
                let pattern = DateFormat::from_pattern(value);
                self.values.date_format =
                    pattern.ok_or("must be a strftime pattern with year, month and day, such as %m/%d/%Y")?;
            }
            "currency" => {
                self.values.currency = Some(money::currency(value).ok_or("must be an ISO 4217 code such as USD")?)
            }
            "decimal" => self.values.decimal = one_of(value, &[(".", DecimalMark::Point), (",", DecimalMark::Comma)])?,
            "delimiter" => {
                let known = [
                    (",", b','),
                    (";", b';'),
                    ("|", b'|'),
                    ("tab", b'\t'),
                    ("\\t", b'\t'),
                    ("\t", b'\t'),
                ];
                self.format.delimiter = Some(one_of(value, &known)?);
            }
            "encoding" => self.format.encoding = Some(encoding(value)?),
            "rounding" => {
                self.values.rounding = one_of(
                    value,
                    &[("half_away", Rounding::HalfAway), ("reject", Rounding::Reject)],
                )?
            }
            "mode" => {
                self.mode = one_of(
                    value,
                    &[("partial", Mode::Partial), ("all_or_nothing", Mode::AllOrNothing)],
                )?
            }
            "dry_run" => self.dry_run = one_of(value, &[("true", true), ("false", false)])?,
            "max_errors" => {
                self.max_errors = Some(value.parse().map_err(|_| "must be a whole number".to_owned())?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn one_of<T: Copy>(value: &str, known: &[(&str, T)]) -> Result<T, String> {
    known
        .iter()
        .find(|(name, _)| *name == value)
        .map(|(_, meaning)| *meaning)
        .ok_or_else(|| {
            let names: Vec<String> = known
                .iter()
                .map(|(name, _)| name.escape_default().to_string())
                .collect();
            format!("must be one of: {}", names.join("  "))
        })
}

fn encoding(label: &str) -> Result<&'static Encoding, String> {
    Encoding::for_label_no_replacement(label.as_bytes())
        .ok_or_else(|| "must name an encoding such as utf-8 or windows-1252".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::SALES;

    fn parse(fields: &[(&str, &str)]) -> Result<Options, Vec<String>> {
        let fields = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Options::parse(fields, None, &SALES).map_err(|error| match error {
            ApiError::Refused(problem) => format!("{problem:?}").split('/').skip(1).map(str::to_owned).collect(),
            other => panic!("{other:?}"),
        })
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
            ("max_errors", "1000000"),
        ])
        .expect("options");
        assert_eq!(options.mapping.of(Column::SaleId), Some(Some("Row ID")));
        assert_eq!(options.mapping.of(Column::Notes), Some(None));
        assert_eq!(options.mapping.of(Column::Product), None);
        assert_eq!(options.values.currency, Some(Currency::EUR));
        assert_eq!(options.values.decimal, DecimalMark::Comma);
        assert_eq!(options.format.delimiter, Some(b'\t'));
        assert_eq!(options.format.encoding, Some(encoding_rs::WINDOWS_1252));
        assert_eq!(
            (options.values.rounding, options.mode, options.dry_run),
            (Rounding::Reject, Mode::AllOrNothing, true)
        );
        assert_eq!(
            (options.errors_listed(), options.rows_kept()),
            (MOST_ERRORS_LISTED, MOST_ROWS_KEPT)
        );
        assert_eq!(options.sent.get("currency"), Some(&Value::from("EUR")));
    }

    #[test]
    fn every_field_is_described() {
        let known = |name: &str| !matches!(Options::default().set(name, "", &SALES), Ok(false));
        assert!(FIELDS.iter().all(|field| known(field.name)));
        assert!(!known("colour"));
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
            ("dry_run", "yes"),
            ("dry_run", ""),
            ("mapping", "\0"),
        ] {
            assert!(parse(&[(name, value)]).is_err(), "{name}={value}");
        }
    }
}
