//! Amounts of money: numbers with signs, brackets and currency symbols, converted to a currency's minor units.

use annals_domain::money::{self, MinorUnits};
use iso_currency::Currency;
use rust_decimal::Decimal;

use crate::number::{self, DecimalMark, NumberFault};

/// Currency symbols that may be written before or after the number.
const SYMBOLS: [char; 5] = ['$', '€', '£', '¥', '₹'];

/// Other signs of a currency, which only one has.
const SIGNS: [(&str, Currency); 4] = [
    ("R$", Currency::BRL),
    ("A$", Currency::AUD),
    ("C$", Currency::CAD),
    ("US$", Currency::USD),
];

/// The symbol of rupees. `Rs` and `Rs.` mean the same.
const RUPEE_SIGN: char = '₨';

/// How rupees are written. They are those of several countries.
const RUPEE_TEXTS: [&str; 3] = ["Rs.", "Rs", "₨"];

/// The countries' rupees.
const RUPEES: [Currency; 6] = [
    Currency::INR,
    Currency::PKR,
    Currency::LKR,
    Currency::NPR,
    Currency::MUR,
    Currency::SCR,
];

/// A number and the currency that is written with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// The number with its sign.
    pub number: Decimal,
    /// The currency that is written with it.
    pub written: Option<Written>,
}

/// How a currency is written beside a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// A symbol such as `$`, which several currencies may have.
    Symbol(char),
    /// An ISO 4217 code, or a sign that only one currency has.
    Code(Currency),
}

impl Amount {
    /// Reads `1,234.50`, `-12`, `12.00-`, `$ 1,234.50`, `-$5`, `12,50 €`, `EUR 12.50`, `(12.00)`, `500.00 Dr`.
    pub fn parse(text: &str, mark: DecimalMark) -> Result<Self, NumberFault> {
        let mut rest = text.trim();
        let (mut minus, mut written) = (None, None);
        // What stands around the number comes in any order, each kind once.
        while !rest.bytes().all(|b| b.is_ascii_digit()) {
            let bracketed = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
            let (sign, after) = match bracketed {
                Some(inner) => (Some(true), inner.trim()),
                None => take_sign(rest),
            };
            if let Some(sign) = sign {
                rest = after;
                if minus.replace(sign).is_some() {
                    return Err(NumberFault::Form);
                }
                continue;
            }
            let (currency, after) = take_currency(rest);
            let Some(currency) = currency else { break };
            rest = after;
            if written.replace(currency).is_some() {
                return Err(NumberFault::Form);
            }
        }
        let number = number::parse_unsigned(rest, mark)?;
        Ok(Self {
            number: if minus == Some(true) {
                number::negate(number)
            } else {
                number
            },
            written,
        })
    }

    /// The currency of the amount: the one that its row or upload declares, or else the one that its symbol names, or else USD.
    ///
    /// # Errors
    /// The declared currency, if another one is written with the amount. USD, if no currency is declared and the symbol is `£`, `¥` or
    /// `Rs`, which several currencies use.
    pub fn currency(&self, declared: Option<Currency>) -> Result<Currency, Currency> {
        let assumed = declared.unwrap_or(Currency::USD);
        match self.written {
            Some(Written::Code(currency)) if declared.is_some_and(|declared| declared != currency) => Err(assumed),
            Some(Written::Code(currency)) => Ok(currency),
            Some(Written::Symbol(RUPEE_SIGN)) => declared.filter(|declared| RUPEES.contains(declared)).ok_or(assumed),
            Some(Written::Symbol(symbol)) if !assumed.symbol().symbol.contains(symbol) => match (declared, symbol) {
                (None, '€') => Ok(Currency::EUR),
                (None, '₹') => Ok(Currency::INR),
                _ => Err(assumed),
            },
            _ => Ok(assumed),
        }
    }
}

impl Amount {
    /// Whether the amount itself says what its currency is. A dollar sign does not: several currencies have it.
    pub fn names_currency(&self) -> bool {
        !matches!(self.written, None | Some(Written::Symbol('$')))
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

/// Splits a sign off, before or after the rest; returns whether it is a minus. `Dr` is one, and `Cr` is a plus.
fn take_sign(text: &str) -> (Option<bool>, &str) {
    if let (Some(sign), rest) = number::take_sign(text) {
        return (Some(sign), rest);
    }
    if let Some(rest) = text.strip_suffix(['-', '\u{2212}']) {
        return (Some(true), rest.trim_end());
    }
    let (rest, word) = split_word(text);
    match word.trim_end_matches('.') {
        "Dr" | "DR" | "dr" => (Some(true), rest),
        "Cr" | "CR" | "cr" => (Some(false), rest),
        _ => (None, text),
    }
}

/// The text without the letters, and the point after them, that it ends in; and those.
fn split_word(text: &str) -> (&str, &str) {
    let bare = text.strip_suffix('.').unwrap_or(text);
    let start = bare.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len();
    (text[..start].trim_end(), &text[start..])
}

/// Splits a currency off, before or after the rest.
fn take_currency(text: &str) -> (Option<Written>, &str) {
    for (sign, currency) in SIGNS {
        if let Some(rest) = text.strip_prefix(sign).or_else(|| text.strip_suffix(sign)) {
            return (Some(Written::Code(currency)), rest.trim());
        }
    }
    for sign in RUPEE_TEXTS {
        if let Some(rest) = text.strip_prefix(sign).or_else(|| text.strip_suffix(sign)) {
            return (Some(Written::Symbol(RUPEE_SIGN)), rest.trim());
        }
    }
    for symbol in SYMBOLS {
        if let Some(rest) = text.strip_prefix(symbol).or_else(|| text.strip_suffix(symbol)) {
            return (Some(Written::Symbol(symbol)), rest.trim());
        }
    }
    let code = |word: &str| money::currency(&word.to_ascii_uppercase()).map(Written::Code);
    let (before, after) = text.split_at(text.len() - text.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len());
    if before.len() == 3 {
        return (code(before), after.trim_start());
    }
    match split_word(text) {
        (rest, word) if word.len() == 3 => (code(word), rest),
        _ => (None, text),
    }
}

#[cfg(test)]
#[path = "amount_tests.rs"]
mod tests;
