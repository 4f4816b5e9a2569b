//! A row of a sales file.

use annals::domain::event::MAX_DATA_BYTES;
use annals::domain::ids::TextFault;
use annals::domain::{AggregateId, money};
use chrono::NaiveDate;
use iso_currency::Currency;
use rust_decimal::Decimal;
use serde_json::{Map, Number, Value};

use crate::amount::{self, Amount, UnitsFault};
use crate::columns::{Column, Layout};
use crate::number::{self, NumberFault};
use crate::options::{Rounding, Values};
use crate::row::{Cell, Facts, Row, RowFault};

/// Fields that every sale has.
const ALWAYS: [&str; 3] = ["sale_date", "amount_cents", "currency"];
/// Fields that a sale has where the file has the column.
const OPTIONAL: [Column; 6] = [
    Column::CustomerId,
    Column::Product,
    Column::Quantity,
    Column::UnitPrice,
    Column::Category,
    Column::Notes,
];

/// Reads a sale.
///
/// # Errors
/// Everything that is wrong with the row.
pub(crate) fn read(row: &Row<'_>, values: &Values) -> Result<Facts, Vec<RowFault>> {
    let mut faults = Faults(Vec::new());
    let id = faults
        .keep(row.layout.has(Column::SaleId).then(|| read_id(row)).transpose())
        .flatten();
    let day = faults.keep(row.required(Column::SaleDate).and_then(|cell| read_date(&cell, values)));
    let customer = faults
        .keep(
            row.cell(Column::CustomerId)
                .map(|cell| read_reference(&cell))
                .transpose(),
        )
        .flatten();
    let quantity = faults
        .keep(
            row.cell(Column::Quantity)
                .map(|cell| read_quantity(&cell, values))
                .transpose(),
        )
        .flatten();
    let price = faults
        .keep(
            row.cell(Column::UnitPrice)
                .map(|cell| read_amount(&cell, values))
                .transpose(),
        )
        .flatten();
    let declared = faults
        .keep(row.cell(Column::Currency).map(|cell| read_currency(&cell)).transpose())
        .flatten();
    // Without a quantity or price that could be read there is nothing to be said about the amount that they make.
    let total = match faults.0.is_empty() || row.layout.has(Column::Amount) {
        true => faults.keep(read_total(row, values, quantity, price)),
        false => None,
    };
    let money = total.and_then(|total| {
        faults.keep(read_money(
            row,
            &total,
            price,
            declared.or(values.currency),
            values.rounding,
        ))
    });
    let (Some(day), Some(money), true) = (day, money, faults.0.is_empty()) else {
        return Err(faults.0);
    };

    let mut data = Map::new();
    data.insert("sale_date".to_owned(), Value::String(day.to_string()));
    data.insert("amount_cents".to_owned(), Value::from(money.units));
    data.insert("currency".to_owned(), Value::String(money.currency.code().to_owned()));
    let mut put = |column: Column, value: Option<Value>| {
        if let Some(value) = value {
            data.insert(column.name().to_owned(), value);
        }
    };
    put(Column::CustomerId, customer.map(Value::String));
    put(Column::Quantity, quantity.map(json_number));
    put(Column::UnitPrice, price.map(|price| json_number(price.number)));
    for column in [Column::Product, Column::Category, Column::Notes] {
        put(column, row.cell(column).map(|cell| Value::String(cell.text.to_owned())));
    }
    if row.record.size() > MAX_DATA_BYTES / 8 && serde_json::to_vec(&data).is_ok_and(|text| text.len() > MAX_DATA_BYTES)
    {
        return Err(vec![RowFault::of_row(
            "row_too_large",
            format!("the row's data have over {MAX_DATA_BYTES} bytes"),
        )]);
    }
    Ok(Facts {
        id,
        data,
        day: Some(day),
        rounded: money.rounded,
    })
}

/// The fields that a file of this layout speaks of.
pub(crate) fn fields(layout: &Layout) -> Vec<&'static str> {
    let optional = OPTIONAL
        .iter()
        .filter(|column| layout.has(**column))
        .map(|column| column.name());
    ALWAYS.into_iter().chain(optional).collect()
}

/// Gathers what is wrong, so that a row is sent back once and not once per cell.
struct Faults(Vec<RowFault>);

impl Faults {
    fn keep<T>(&mut self, read: Result<T, RowFault>) -> Option<T> {
        read.map_err(|fault| self.0.push(fault)).ok()
    }
}

fn read_id(row: &Row<'_>) -> Result<AggregateId, RowFault> {
    let cell = row.required(Column::SaleId)?;
    AggregateId::try_from(cell.text.to_owned()).map_err(|fault| unusable_id(&cell, &fault))
}

/// An id of something else: it must be one that that thing can have.
fn read_reference(cell: &Cell<'_>) -> Result<String, RowFault> {
    AggregateId::try_from(cell.text.to_owned())
        .map(|id| id.as_str().to_owned())
        .map_err(|fault| unusable_id(cell, &fault))
}

fn unusable_id(cell: &Cell<'_>, fault: &TextFault) -> RowFault {
    cell.fault("invalid_id", fault.to_string())
}

fn read_date(cell: &Cell<'_>, values: &Values) -> Result<NaiveDate, RowFault> {
    values
        .date_format
        .parse(cell.text)
        .map_err(|fault| cell.fault(fault.code, fault.message))
}

fn read_currency(cell: &Cell<'_>) -> Result<Currency, RowFault> {
    money::currency(&cell.text.to_ascii_uppercase())
        .ok_or_else(|| cell.fault("unknown_currency", "is no ISO 4217 code"))
}

fn read_quantity(cell: &Cell<'_>, values: &Values) -> Result<Decimal, RowFault> {
    number::parse(cell.text, values.decimal).map_err(|fault| unusable_number(cell, fault, "invalid_quantity"))
}

fn read_amount(cell: &Cell<'_>, values: &Values) -> Result<Amount, RowFault> {
    Amount::parse(cell.text, values.decimal).map_err(|fault| unusable_number(cell, fault, "invalid_amount"))
}

fn unusable_number(cell: &Cell<'_>, fault: NumberFault, form: &'static str) -> RowFault {
    match fault {
        NumberFault::Form => cell.fault(
            form,
            "is no number that can be read; say decimal= where a comma is the decimal mark",
        ),
        NumberFault::Digits => cell.fault("too_many_digits", "has more digits than can be kept exactly"),
    }
}

/// What was paid, and the cell that it is to be blamed on.
struct Total<'a> {
    cell: Cell<'a>,
    amount: Amount,
}

fn read_total<'a>(
    row: &Row<'a>,
    values: &Values,
    quantity: Option<Decimal>,
    price: Option<Amount>,
) -> Result<Total<'a>, RowFault> {
    if row.layout.has(Column::Amount) {
        let cell = row.required(Column::Amount)?;
        return Ok(Total {
            cell,
            amount: read_amount(&cell, values)?,
        });
    }
    row.required(Column::Quantity)?;
    let cell = row.required(Column::UnitPrice)?;
    let (Some(quantity), Some(price)) = (quantity, price) else {
        return Err(cell.fault("required", "is required"));
    };
    let product = number::multiply(price.number, quantity);
    let product = product.ok_or_else(|| {
        cell.fault(
            "too_many_digits",
            "times quantity has more digits than can be kept exactly",
        )
    })?;
    Ok(Total {
        cell,
        amount: Amount {
            number: product,
            symbol: price.symbol,
        },
    })
}

struct Money {
    units: i64,
    currency: Currency,
    rounded: bool,
}

fn read_money(
    row: &Row<'_>,
    total: &Total<'_>,
    price: Option<Amount>,
    declared: Option<Currency>,
    rounding: Rounding,
) -> Result<Money, RowFault> {
    let cell = &total.cell;
    let mismatch = |cell: &Cell<'_>, assumed: Currency| {
        cell.fault(
            "currency_mismatch",
            format!(
                "is not written in {}: say currency=, or fill the column",
                assumed.code()
            ),
        )
    };
    let currency = total
        .amount
        .currency(declared)
        .map_err(|assumed| mismatch(cell, assumed))?;
    if let (Some(price), Some(cell)) = (price, row.cell(Column::UnitPrice)) {
        price
            .currency(Some(currency))
            .map_err(|assumed| mismatch(&cell, assumed))?;
    }
    let units = amount::minor_units(total.amount.number, currency).map_err(|fault| match fault {
        UnitsFault::Digits => cell.fault("too_many_digits", "has more digits than can be rounded exactly"),
        UnitsFault::Range => cell.fault("amount_out_of_range", "is too large"),
    })?;
    if units.rounded && rounding == Rounding::Reject {
        return Err(cell.fault(
            "amount_too_fine",
            format!("is finer than a minor unit of {}", currency.code()),
        ));
    }
    Ok(Money {
        units: units.units,
        currency,
        rounded: units.rounded,
    })
}

/// Without a float in between: the digits are the number.
fn json_number(number: Decimal) -> Value {
    number
        .normalize()
        .to_string()
        .parse::<Number>()
        .map_or(Value::Null, Value::Number)
}

#[cfg(test)]
#[path = "sales_tests.rs"]
mod tests;
