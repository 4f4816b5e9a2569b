//! The money of a row: its amount, or its price times its quantity, in minor units of its currency.

use iso_currency::Currency;
use rust_decimal::Decimal;

use crate::amount::{self, Amount, UnitsFault};
use crate::cells::read_amount;
use crate::columns::Column;
use crate::fault::RowFault;
use crate::number;
use crate::options::{Rounding, ValueOptions};
use crate::row::{Cell, Row};
use crate::table::is_negative_sign;

/// Values of the row's other cells, on which its money depends. A value is absent if the cell is empty or cannot be read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stated {
    /// The quantity, by which the price is multiplied.
    pub quantity: Option<Decimal>,
    /// The price of one unit.
    pub price: Option<Amount>,
    /// The row's own currency.
    pub currency: Option<Currency>,
}

/// An amount in minor units.
pub struct Money {
    /// Minor units, e.g. cents.
    pub units: i64,
    /// The currency of the row, of the upload, or USD.
    pub currency: Currency,
    /// Whether the amount had fractions of a minor unit and was rounded.
    pub rounded: bool,
    /// The amount, if nothing states its currency.
    pub unstated: Option<Unstated>,
}

/// An amount whose currency nothing states: neither its row, nor its upload, nor a symbol that only one currency has. It is in USD, unless its
/// entity is known in another currency.
#[derive(Debug, Clone, PartialEq)]
pub struct Unstated {
    column: Column,
    text: String,
    amount: Amount,
    rounding: Rounding,
}

impl Unstated {
    /// The money in the currency of its entity; `None` if its symbol is that of another currency.
    ///
    /// # Errors
    /// It cannot be stored exactly.
    pub fn in_currency(&self, currency: Currency) -> Option<Result<Money, RowFault>> {
        let currency = self.amount.currency(Some(currency)).ok()?;
        let cell = Cell {
            column: self.column,
            text: &self.text,
        };
        Some(in_units(&cell, &self.amount, currency, self.rounding))
    }
}

/// The amount that was paid, and the cell that faults of it name.
struct Total<'a> {
    cell: Cell<'a>,
    amount: Amount,
}

/// Reads the row's money.
///
/// # Errors
/// There is no amount; it cannot be stored exactly; or its symbol is that of another currency than the declared one.
pub fn read(row: &Row<'_>, values: &ValueOptions, stated: &Stated) -> Result<Money, RowFault> {
    let Total { cell, amount } = read_total(row, values, stated)?;
    let mismatch = |cell: &Cell<'_>, assumed: Currency| {
        cell.fault(
            "currency_mismatch",
            format!(
                "has the sign of another currency than {}: set currency=, or fill in the column currency",
                assumed.code()
            ),
        )
    };
    let declared = stated.currency.or(values.currency);
    let currency = amount.currency(declared).map_err(|assumed| mismatch(&cell, assumed))?;
    if let (Some(price), Some(cell)) = (stated.price, row.cell(Column::UnitPrice)) {
        price
            .currency(Some(currency))
            .map_err(|assumed| mismatch(&cell, assumed))?;
    }
    let unstated = (declared.is_none() && !amount.names_currency()).then(|| Unstated {
        column: cell.column,
        text: cell.text.to_owned(),
        amount,
        rounding: values.rounding,
    });
    let money = in_units(&cell, &amount, currency, values.rounding)?;
    Ok(Money { unstated, ..money })
}

fn in_units(cell: &Cell<'_>, amount: &Amount, currency: Currency, rounding: Rounding) -> Result<Money, RowFault> {
    let units = amount::minor_units(amount.number, currency).map_err(|fault| match fault {
        UnitsFault::Digits => cell.fault("too_many_digits", "has more digits than can be rounded exactly"),
        UnitsFault::Range => cell.fault("amount_out_of_range", "is too large"),
    })?;
    if units.rounded && rounding == Rounding::Reject {
        return Err(cell.fault(
            "amount_too_fine",
            format!("has more decimals than {} allows", currency.code()),
        ));
    }
    Ok(Money {
        units: units.units,
        currency,
        rounded: units.rounded,
        unstated: None,
    })
}

fn read_total<'a>(row: &Row<'a>, values: &ValueOptions, stated: &Stated) -> Result<Total<'a>, RowFault> {
    let mut total = read_unsigned_total(row, values, stated)?;
    if let Some(place) = row.layout.sign() {
        let sign = row.layout.text(row.record, place).unwrap_or_default();
        let is_negative = is_negative_sign(sign).ok_or_else(|| {
            let message =
                "has a sign beside it that is not known: it must be a word such as debit or credit, S or H, Dr or Cr";
            RowFault::of_value(Column::Amount, "unknown_sign", format!("amount {message}"), sign)
        })?;
        if total.amount.number.is_sign_negative() && !total.amount.number.is_zero() {
            return Err(total
                .cell
                .fault("two_signs", "has a sign of its own beside the one in its column"));
        }
        if is_negative {
            total.amount.number = number::negate(total.amount.number);
        }
    }
    if values.negate {
        total.amount.number = number::negate(total.amount.number);
    }
    Ok(total)
}

/// What came in minus what was paid, of which a row has one. A minus sign in the column of what was paid means the same as none.
fn read_two<'a>(row: &Row<'a>, (debit, credit): (usize, usize), values: &ValueOptions) -> Result<Total<'a>, RowFault> {
    let of = |place| {
        let Some(text) = row.layout.text(row.record, place) else {
            return Ok(None);
        };
        let cell = Cell {
            column: Column::Amount,
            text,
        };
        let amount = read_amount(&cell, values)?;
        Ok((!amount.number.is_zero()).then_some(Total { cell, amount }))
    };
    match (of(debit)?, of(credit)?) {
        (Some(mut paid), None) => {
            paid.amount.number = number::negate(paid.amount.number.abs());
            Ok(paid)
        }
        (None, Some(received)) if received.amount.number.is_sign_negative() => Err(received
            .cell
            .fault("two_signs", "has a minus sign in the column of what came in")),
        (None, Some(received)) => Ok(received),
        (Some(paid), Some(_)) => Err(paid
            .cell
            .fault("two_amounts", "is in both columns, as paid and as received")),
        (None, None) => Err(RowFault {
            column: Some(Column::Amount),
            code: "required",
            message: "amount is required in one of its two columns".to_owned(),
            value: None,
        }),
    }
}

fn read_unsigned_total<'a>(row: &Row<'a>, values: &ValueOptions, stated: &Stated) -> Result<Total<'a>, RowFault> {
    if let Some(places) = row.layout.amounts() {
        return read_two(row, places, values);
    }
    if row.layout.has(Column::Amount) {
        let cell = row.required(Column::Amount)?;
        return Ok(Total {
            cell,
            amount: read_amount(&cell, values)?,
        });
    }
    row.required(Column::Quantity)?;
    let cell = row.required(Column::UnitPrice)?;
    let (Some(quantity), Some(price)) = (stated.quantity, stated.price) else {
        return Err(cell.fault("required", "is required"));
    };
    let product = number::multiply(price.number, quantity).ok_or_else(|| {
        cell.fault(
            "too_many_digits",
            "times quantity has more digits than can be stored exactly",
        )
    })?;
    Ok(Total {
        cell,
        amount: Amount {
            number: product,
            written: price.written,
        },
    })
}
