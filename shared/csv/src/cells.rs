//! Cells to values: one function for each kind of cell.

use annals_domain::text::TextFault;
use annals_domain::{AggregateId, hex, money};
use chrono::NaiveDate;
use email_address::{EmailAddress, Options};
use iso_currency::Currency;
use rust_decimal::Decimal;
use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

use crate::amount::Amount;
use crate::fault::RowFault;
use crate::number::{self, DecimalMark, NumberFault};
use crate::options::ValueOptions;
use crate::row::Cell;

/// Code of a number that could be two numbers.
pub const AMBIGUOUS_AMOUNT: &str = "ambiguous_amount";

/// An id: the row's own, or that of another entity. It must be a valid aggregate id.
pub fn read_id(cell: &Cell<'_>) -> Result<AggregateId, RowFault> {
    AggregateId::try_from(cell.text.to_owned()).map_err(|fault| {
        let code = match fault {
            TextFault::NotNormal => fault.code(),
            _ => "invalid_id",
        };
        cell.fault(code, fault.to_string())
    })
}

/// The id of an entity that a file knows by this cell and not by an id. Case does not matter.
pub fn named_id(cell: &Cell<'_>) -> Result<AggregateId, RowFault> {
    let Value::String(address) = read_email(cell)? else {
        return Err(cell.fault("invalid_email", "is not an email address"));
    };
    let hash = Sha256::digest(address.to_lowercase());
    let id = format!("email-{}", hex::encode(&hash[..16]));
    AggregateId::try_from(id).map_err(|fault| cell.fault("invalid_id", fault.to_string()))
}

/// An email address. Of `Ada <ada@example.com>` only the address is kept.
pub fn read_email(cell: &Cell<'_>) -> Result<Value, RowFault> {
    EmailAddress::parse_with_options(cell.text, Options::default())
        .map(|address| Value::from(address.email()))
        .map_err(|_| cell.fault("invalid_email", "is not an email address"))
}

/// A date, in the format and the time zone that the upload declares.
pub fn read_date(cell: &Cell<'_>, values: &ValueOptions) -> Result<NaiveDate, RowFault> {
    values
        .date_format
        .parse_in(cell.text, values.timezone.as_ref())
        .map_err(|fault| cell.fault(fault.code, fault.message))
}

/// A number that is not money.
pub fn read_quantity(cell: &Cell<'_>, values: &ValueOptions) -> Result<Decimal, RowFault> {
    let by = |mark| number::parse(cell.text, mark);
    read_number(values.decimal, by).map_err(|fault| unusable_number(cell, fault, "invalid_quantity", values.decimal))
}

/// An amount of money with its currency symbol, if it has one.
pub fn read_amount(cell: &Cell<'_>, values: &ValueOptions) -> Result<Amount, RowFault> {
    let by = |mark| Amount::parse(cell.text, mark);
    read_number(values.decimal, by).map_err(|fault| unusable_number(cell, fault, "invalid_amount", values.decimal))
}

/// Reads a number by the decimal mark. If that is not known, by a point, unless a comma would make it another number.
fn read_number<T: PartialEq>(
    mark: Option<DecimalMark>,
    by: impl Fn(DecimalMark) -> Result<T, NumberFault>,
) -> Result<T, NumberFault> {
    let read = by(mark.unwrap_or(DecimalMark::Point))?;
    match mark {
        None if by(DecimalMark::Comma).is_ok_and(|other| other != read) => Err(NumberFault::Ambiguous),
        _ => Ok(read),
    }
}

/// Whether a text can be read as a number with a decimal point only, or with a decimal comma only. Neither holds if it makes no difference.
pub fn marks_of(text: &str) -> (bool, bool) {
    if !text.contains(['.', ',']) {
        return (false, false);
    }
    let reads = |mark| Amount::parse(text, mark).is_ok();
    let (point, comma) = (reads(DecimalMark::Point), reads(DecimalMark::Comma));
    (point && !comma, comma && !point)
}

/// A currency's code, in upper or lower case.
pub fn read_currency(cell: &Cell<'_>) -> Result<Currency, RowFault> {
    money::currency(&cell.text.to_ascii_uppercase())
        .ok_or_else(|| cell.fault("unknown_currency", "is not an ISO 4217 currency code"))
}

fn unusable_number(cell: &Cell<'_>, fault: NumberFault, form: &'static str, mark: Option<DecimalMark>) -> RowFault {
    match fault {
        NumberFault::Form => cell.fault(form, format!("is not a number: {}", why_no_number(cell.text, mark))),
        NumberFault::Ambiguous => cell.fault(
            AMBIGUOUS_AMOUNT,
            "is two numbers, one with a decimal point and one with a decimal comma, and the other numbers of the file do not decide: set \
             decimal=. or decimal=,",
        ),
        NumberFault::Digits => cell.fault("too_many_digits", "has more digits than can be stored exactly"),
    }
}

/// Which option would read a text as a number, or which character is none of a number.
fn why_no_number(text: &str, mark: Option<DecimalMark>) -> String {
    let (other, name) = match mark {
        Some(DecimalMark::Comma) => (DecimalMark::Point, "."),
        _ => (DecimalMark::Comma, ","),
    };
    if Amount::parse(text, other).is_ok() {
        return format!("decimal={name} would read it");
    }
    let is_unexpected = |c: &char| !c.is_ascii_digit() && !" .,'+-()$€£¥₹\u{A0}\u{202F}\u{2019}\u{2212}".contains(*c);
    match text.chars().find(is_unexpected) {
        Some(unexpected) => format!("{unexpected:?} is unexpected"),
        None => "its signs are not where a number has them, as in -1,234,567.50".to_owned(),
    }
}

/// The number as JSON with exactly its digits: no float is used on the way.
pub fn json_number(number: Decimal) -> Value {
    number
        .normalize()
        .to_string()
        .parse::<Number>()
        .map_or(Value::Null, Value::Number)
}
