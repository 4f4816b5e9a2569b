//! Cells to values: one function for each kind of cell.

use annals_domain::AggregateId;
use annals_domain::money;
use annals_domain::text::TextFault;
use chrono::NaiveDate;
use email_address::{EmailAddress, Options};
use iso_currency::Currency;
use rust_decimal::Decimal;
use serde_json::{Number, Value};

use crate::amount::Amount;
use crate::fault::RowFault;
use crate::number::{self, NumberFault};
use crate::options::ValueOptions;
use crate::row::Cell;

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

/// An email address. Of `Ada <ada@example.com>` only the address is kept.
pub fn read_email(cell: &Cell<'_>) -> Result<Value, RowFault> {
    EmailAddress::parse_with_options(cell.text, Options::default())
        .map(|address| Value::from(address.email()))
        .map_err(|_| cell.fault("invalid_email", "is not an email address"))
}

/// A date, in the format that the upload declares.
pub fn read_date(cell: &Cell<'_>, values: &ValueOptions) -> Result<NaiveDate, RowFault> {
    values
        .date_format
        .parse(cell.text)
        .map_err(|fault| cell.fault(fault.code, fault.message))
}

/// A number that is not money.
pub fn read_quantity(cell: &Cell<'_>, values: &ValueOptions) -> Result<Decimal, RowFault> {
    number::parse(cell.text, values.decimal).map_err(|fault| unusable_number(cell, fault, "invalid_quantity"))
}

/// An amount of money with its currency symbol, if it has one.
pub fn read_amount(cell: &Cell<'_>, values: &ValueOptions) -> Result<Amount, RowFault> {
    Amount::parse(cell.text, values.decimal).map_err(|fault| unusable_number(cell, fault, "invalid_amount"))
}

/// A currency's code, in upper or lower case.
pub fn read_currency(cell: &Cell<'_>) -> Result<Currency, RowFault> {
    money::currency(&cell.text.to_ascii_uppercase())
        .ok_or_else(|| cell.fault("unknown_currency", "is not an ISO 4217 currency code"))
}

fn unusable_number(cell: &Cell<'_>, fault: NumberFault, form: &'static str) -> RowFault {
    match fault {
        NumberFault::Form => cell.fault(form, "is not a number; if a comma is the decimal mark, set decimal=,"),
        NumberFault::Digits => cell.fault("too_many_digits", "has more digits than can be stored exactly"),
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
