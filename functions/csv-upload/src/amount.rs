//! Amounts of money: a number with what accountants put around it, in a currency's minor units.

use annals::domain::money::{self, MinorUnits};
use iso_currency::Currency;
use rust_decimal::Decimal;

use crate::number::{self, DecimalMark, NumberFault};

/// Signs of currencies that may stand before or after the number.
const SYMBOLS: [char; 5] = ['$', '€', '£', '¥', '₹'];

/// A number and the sign of the currency that it was written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) number: Decimal,
    pub(crate) symbol: Option<char>,
}

impl Amount {
    /// Reads `1,234.50`, `-12`, `$ 1,234.50`, `-$5`, `12,50 €`, `(12.00)`.
    pub(crate) fn parse(text: &str, mark: DecimalMark) -> Result<Self, NumberFault> {
        let text = text.trim();
        let bracketed = text
            .strip_prefix('(')
            .and_then(|rest| rest.strip_suffix(')'))
            .map(str::trim);
        let (outer_sign, rest) = number::take_sign(bracketed.unwrap_or(text));
        let (symbol, rest) = take_symbol(rest);
        let (inner_sign, digits) = if symbol.is_some() {
            number::take_sign(rest)
        } else {
            (None, rest)
        };
        let minus = match (bracketed, outer_sign, inner_sign) {
            (Some(_), None, None) => true,
            (None, sign, None) | (None, None, sign) => sign.unwrap_or(false),
            _ => return Err(NumberFault::Form),
        };
        let number = number::parse_unsigned(digits, mark)?;
        Ok(Self {
            number: if minus { number::negate(number) } else { number },
            symbol,
        })
    }

    /// The currency of an amount whose row or upload declares this one, or none, when the default counts.
    ///
    /// # Errors
    /// The declared currency or the default is not written with the amount's symbol, and the symbol does not tell which one is.
    pub(crate) fn currency(&self, declared: Option<Currency>) -> Result<Currency, Currency> {
        let assumed = declared.unwrap_or(Currency::USD);
        match self.symbol {
            Some(symbol) if !assumed.symbol().symbol.contains(symbol) => match (declared, symbol) {
                (None, '€') => Ok(Currency::EUR),
                (None, '₹') => Ok(Currency::INR),
                _ => Err(assumed),
            },
            _ => Ok(assumed),
        }
    }
}

/// Why a number is no amount of minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnitsFault {
    /// So fine and so large that it cannot be rounded exactly.
    Digits,
    /// Does not fit.
    Range,
}

/// The amount in minor units.
pub(crate) fn minor_units(number: Decimal, currency: Currency) -> Result<MinorUnits, UnitsFault> {
    let number = number.normalize();
    // `to_minor_units` multiplies, and a product of more than some 28 digits is rounded before it is rounded.
    let factor = Decimal::from(10_u64.saturating_pow(u32::from(currency.exponent().unwrap_or(0))));
    number::multiply(number, factor).ok_or(if number.scale() > 0 {
        UnitsFault::Digits
    } else {
        UnitsFault::Range
    })?;
    money::to_minor_units(number, currency).ok_or(UnitsFault::Range)
}

fn take_symbol(text: &str) -> (Option<char>, &str) {
    let rest = |c: char| {
        text.strip_prefix(c)
            .map(str::trim_start)
            .or_else(|| text.strip_suffix(c).map(str::trim_end))
    };
    SYMBOLS
        .iter()
        .find_map(|c| rest(*c).map(|rest| (Some(*c), rest)))
        .unwrap_or((None, text))
}

#[cfg(test)]
#[path = "amount_tests.rs"]
mod tests;
