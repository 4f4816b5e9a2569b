//! Amounts of money: numbers with signs, brackets and currency symbols, converted to a currency's minor units.

use annals_domain::money::{self, MinorUnits};
use iso_currency::Currency;
use rust_decimal::Decimal;

use crate::number::{self, DecimalMark, NumberFault};

/// Currency symbols that may be written before or after the number.
const SYMBOLS: [char; 5] = ['$', '€', '£', '¥', '₹'];

/// A number and the currency symbol that it was written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// The number with its sign.
    pub number: Decimal,
    /// One of [`SYMBOLS`].
    pub symbol: Option<char>,
}

impl Amount {
    /// Reads `1,234.50`, `-12`, `$ 1,234.50`, `-$5`, `12,50 €`, `(12.00)`.
    pub fn parse(text: &str, mark: DecimalMark) -> Result<Self, NumberFault> {
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

    /// The currency of the amount: the one that its row or upload declares, or else the one that its symbol names, or else USD.
    ///
    /// # Errors
    /// The declared currency, if it is not written with the amount's symbol. USD, if no currency is declared and the symbol is `£` or `¥`,
    /// which several currencies use.
    pub fn currency(&self, declared: Option<Currency>) -> Result<Currency, Currency> {
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

/// Why an amount cannot be converted to minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitsFault {
    /// It has too many digits to be rounded exactly.
    Digits,
    /// It does not fit into 64 bits.
    Range,
}

/// The amount in minor units of a currency.
pub fn minor_units(number: Decimal, currency: Currency) -> Result<MinorUnits, UnitsFault> {
    let number = number.normalize();
    // `to_minor_units` multiplies, and `Decimal` rounds a product of more than about 28 digits by itself. Without this check, such an
    // amount would be rounded twice.
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
