//! Upload fields that say how a file is written and how its cells become values.

use annals_domain::money;
use encoding_rs::Encoding;
use iso_currency::Currency;

use crate::dataset::Dataset;
use crate::date::DateFormat;
use crate::mapping::Mapping;
use crate::number::DecimalMark;

/// How a file is read.
#[derive(Debug, Default)]
pub struct ReadOptions {
    /// How the file is written.
    pub format: Format,
    /// Which column has which header.
    pub mapping: Mapping,
    /// How cells become values.
    pub values: ValueOptions,
}

/// How the file is written. What is `None` is detected.
#[derive(Debug, Clone, Copy, Default)]
pub struct Format {
    /// The declared encoding.
    pub encoding: Option<&'static Encoding>,
    /// The ASCII character that separates fields.
    pub delimiter: Option<u8>,
}

/// How cells become values.
#[derive(Debug, Default)]
pub struct ValueOptions {
    /// The format of dates.
    pub date_format: DateFormat,
    /// Currency of rows that name no currency. `None`: USD, unless an amount has the symbol of another currency.
    pub currency: Option<Currency>,
    /// The decimal mark of numbers.
    pub decimal: DecimalMark,
    /// What happens to fractions of a minor unit.
    pub rounding: Rounding,
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
            "encoding" => self.set_encoding(value)?,
            "rounding" => {
                self.values.rounding = one_of(
                    value,
                    &[("half_away", Rounding::HalfAway), ("reject", Rounding::Reject)],
                )?
            }
            _ => return Ok(false),
        }
        Ok(true)
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
