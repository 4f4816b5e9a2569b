//! Upload fields that say how a file is written and how its cells become values.

use annals_domain::{json, money};
use encoding_rs::{Encoding, UTF_8};
use iso_currency::Currency;
use serde_json::Value;

use crate::dataset::Dataset;
use crate::date::DateFormat;
use crate::mapping::Mapping;
use crate::number::DecimalMark;
use crate::table::TableOptions;
use crate::zone::Zone;

/// Values of a field that is true or false.
pub const BOOLEANS: [(&str, bool); 2] = [("true", true), ("false", false)];

/// Maximum number of lines before the header, and of rows at the end, that are left out.
const MAX_SKIPPED: u32 = 100;

/// Maximum number of characters of a sheet's name. Excel allows 31.
const MAX_SHEET_NAME: usize = 255;

/// How a file is read.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct ReadOptions {
    /// The sheet of a workbook. `None`: the first visible one that has cells.
    pub sheet: Option<String>,
    /// How the file is written.
    pub format: Format,
    /// Which column has which header.
    pub mapping: Mapping,
    /// What else belongs to what in the file's table.
    pub table: TableOptions,
    /// How cells become values.
    pub values: ValueOptions,
}

/// How the file is written. What is `None` is detected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Format {
    /// The declared encoding.
    pub encoding: Option<&'static Encoding>,
    /// The ASCII character that separates fields.
    pub delimiter: Option<u8>,
    /// Lines before the header, or before the first row if there is no header.
    pub skip_rows: u32,
    /// Rows at the end that are none.
    pub skip_footer: u32,
    /// Whether the first line is a row. Columns are then called by their numbers, from 1.
    pub has_no_header: bool,
}

/// How cells become values.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct ValueOptions {
    /// The format of dates.
    pub date_format: DateFormat,
    /// The zone in which times with an offset have their day. `None`: the day is the one that is written.
    pub timezone: Option<Zone>,
    /// Currency of rows that name no currency. `None`: USD, unless an amount has the symbol of another currency.
    pub currency: Option<Currency>,
    /// The decimal mark of numbers. `None`: a point, and numbers that a comma would make other numbers are refused.
    pub decimal: Option<DecimalMark>,
    /// What happens to fractions of a minor unit.
    pub rounding: Rounding,
    /// Whether amounts have the opposite sign of what the dataset means.
    pub negate: bool,
}

/// What happens to amounts with fractions of a minor unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rounding {
    /// They are rounded half away from zero, and counted.
    #[default]
    HalfAway,
    /// Their rows are rejected.
    Reject,
}

impl ReadOptions {
    /// Sets a field. Returns whether a field of that name exists here.
    ///
    /// # Errors
    /// What the value must be, as the end of a sentence.
    pub fn set(&mut self, name: &str, value: &str, dataset: &Dataset) -> Result<bool, String> {
        match name {
            "sheet" => {
                let is_name = !value.trim().is_empty() && value.chars().count() <= MAX_SHEET_NAME;
                let name = is_name.then(|| value.trim().to_owned());
                self.sheet = Some(name.ok_or_else(|| format!("must be a name of 1 to {MAX_SHEET_NAME} characters"))?);
            }
            "mapping" => self.mapping = Mapping::parse(value, dataset)?,
            "date_format" => {
                let pattern = DateFormat::from_pattern(value);
                self.values.date_format =
                    pattern.ok_or("must be a strftime pattern with year, month and day, such as %m/%d/%Y, or excel for a spreadsheet's numbers")?;
            }
            "timezone" => {
                self.values.timezone =
                    Some(Zone::named(value).ok_or("must be the IANA name of a time zone, such as Europe/Berlin")?);
            }
            "currency" => {
                self.values.currency = Some(money::currency(value).ok_or("must be an ISO 4217 code such as USD")?)
            }
            "decimal" => {
                let marks = [(".", DecimalMark::Point), (",", DecimalMark::Comma)];
                self.values.decimal = Some(one_of(value, &marks)?);
            }
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
            "encoding" => self.set_encoding(value)?,
            "rounding" => {
                self.values.rounding = one_of(
                    value,
                    &[("half_away", Rounding::HalfAway), ("reject", Rounding::Reject)],
                )?
            }
            "negate" => self.values.negate = one_of(value, &BOOLEANS)?,
            "skip_rows" => self.format.skip_rows = whole_number(value, MAX_SKIPPED)?,
            "skip_footer" => self.format.skip_footer = whole_number(value, MAX_SKIPPED)?,
            "header" => self.format.has_no_header = one_of(value, &[("none", true), ("first", false)])?,
            other => return self.table.set(other, value),
        }
        Ok(true)
    }

    /// The same for the text of a sheet of a workbook, which is always in this encoding and with this delimiter, whatever the upload says.
    pub fn of_sheet(&self) -> Self {
        let mut options = self.clone();
        options.format.encoding = Some(UTF_8);
        options.format.delimiter = Some(b',');
        options
    }

    /// Declares the file's encoding by a label such as `utf-8` or `latin1`.
    ///
    /// # Errors
    /// What the value must be, as the end of a sentence.
    pub fn set_encoding(&mut self, label: &str) -> Result<(), String> {
        let encoding = Encoding::for_label_no_replacement(label.as_bytes());
        let encoding = encoding.ok_or("must name an encoding such as utf-8 or windows-1252")?;
        self.format.encoding = Some(encoding);
        Ok(())
    }
}

/// The value of an upload field as text: JSON may also have numbers, `true`, arrays or objects.
pub fn field_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A whole number up to a limit.
///
/// # Errors
/// What the value must be, as the end of a sentence.
fn whole_number(value: &str, most: u32) -> Result<u32, String> {
    let number = json::whole_number(value).and_then(|number| u32::try_from(number).ok());
    let number = number.filter(|number| *number <= most);
    number.ok_or_else(|| format!("must be a whole number from 0 to {most}"))
}

/// The meaning of a value that must be one of the known names.
///
/// # Errors
/// The known names, as the end of a sentence.
pub fn one_of<T: Copy>(value: &str, known: &[(&str, T)]) -> Result<T, String> {
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

#[cfg(test)]
pub fn read_options(fields: &[(&str, &str)], dataset: &Dataset) -> ReadOptions {
    let mut options = ReadOptions::default();
    for (name, value) in fields {
        assert_eq!(options.set(name, value, dataset), Ok(true), "{name}={value}");
    }
    options
}
