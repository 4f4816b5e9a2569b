//! How the numbers of a column are written.

use std::collections::BTreeMap;
use std::hash::Hash;

use annals_csv::{Amount, DecimalMark, Written};
use iso_currency::Currency;

/// Maximum bytes of a text that is kept.
pub(super) const MAX_TEXT: usize = 100;

/// How numbers are written.
#[derive(Debug, Default, Clone)]
pub struct Numbers {
    /// Those that can be read with a decimal point only.
    pub points: u64,
    /// Those that can be read with a decimal comma only.
    pub commas: u64,
    /// Those that are two numbers.
    pub ambiguous: u64,
    /// Those below zero.
    pub negative: u64,
    /// Those that are zero.
    pub zero: u64,
    /// Those above zero.
    pub positive: u64,
    /// Those with a currency that only one has.
    pub with_currency: u64,
    /// Those whose digits are grouped as in India: `1,23,456`.
    pub indian: u64,
    /// The symbols of currencies, by which several are meant.
    pub symbols: BTreeMap<char, u64>,
    /// The currencies that are written with a number.
    pub currencies: BTreeMap<&'static str, u64>,
    /// An example of those that decide.
    pub example: Option<String>,
}

impl Numbers {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.negative + self.zero + self.positive
    }

    /// Adds a number, and returns it; `None` if the text is none.
    pub fn read(&mut self, text: &str) -> Option<impl Hash + use<>> {
        let [point, comma] = [DecimalMark::Point, DecimalMark::Comma].map(|mark| Amount::parse(text, mark).ok());
        let amount = point.or(comma)?;
        match (point, comma) {
            (Some(_), None) => self.points += 1,
            (None, Some(_)) => self.commas += 1,
            (Some(point), Some(comma)) if point.number != comma.number => self.ambiguous += 1,
            _ => {}
        }
        if point.is_some() != comma.is_some() && text.len() <= MAX_TEXT {
            self.example.get_or_insert_with(|| text.to_owned());
        }
        self.indian += u64::from(is_indian(text));
        match amount.number {
            number if number.is_zero() => self.zero += 1,
            number if number.is_sign_negative() => self.negative += 1,
            _ => self.positive += 1,
        }
        self.read_currency(amount.written);
        Some(amount.number)
    }

    fn read_currency(&mut self, written: Option<Written>) {
        let currency = match written {
            None => None,
            Some(Written::Code(currency)) => Some(currency),
            Some(Written::Symbol('€')) => Some(Currency::EUR),
            Some(Written::Symbol('₹')) => Some(Currency::INR),
            Some(Written::Symbol(symbol)) => {
                *self.symbols.entry(symbol).or_default() += 1;
                None
            }
        };
        if let Some(currency) = currency {
            self.with_currency += 1;
            *self.currencies.entry(currency.code()).or_default() += 1;
        }
    }
}

/// Whether the digits of a number are grouped by twos before the last three, as in `1,23,456.50`.
fn is_indian(text: &str) -> bool {
    let number = text.trim_matches(|c: char| !c.is_ascii_digit());
    let whole = number.split('.').next().unwrap_or_default();
    let groups: Vec<&str> = whole.split(',').collect();
    let [first, middle @ .., last] = groups.as_slice() else {
        return false;
    };
    let digits = |group: &str, width: usize| group.len() == width && group.bytes().all(|b| b.is_ascii_digit());
    let is_first = digits(first, 1) || digits(first, 2);
    is_first && !middle.is_empty() && middle.iter().all(|group| digits(group, 2)) && digits(last, 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_as_in_india_by_twos() {
        for (text, is_so) in [
            ("1,23,456.50", true),
            ("Rs. 12,34,567 Dr", true),
            ("123,456", false),
            ("1,234", false),
            ("1,23,45", false),
        ] {
            assert_eq!(is_indian(text), is_so, "{text}");
        }
    }
}
