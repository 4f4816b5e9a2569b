//! Words that name a currency, in headers and in the lines before them. Many words of three letters are codes of currencies, such as `ALL`, `CUP`
//! and `TOP`, so a code counts only where a currency is expected.

use annals_domain::money;
use iso_currency::Currency;

/// Ends of words that announce a currency.
const ANNOUNCING: [&str; 19] = [
    "currency",
    "currencies",
    "amount",
    "amounts",
    "währung",
    "waehrung",
    "betrag",
    "beträge",
    "devise",
    "monnaie",
    "montants",
    "moneda",
    "divisa",
    "importes",
    "valuta",
    "importi",
    "moeda",
    "valores",
    "bedragen",
];

/// Words that may stand between the announcement and the code.
const BETWEEN: [&str; 14] = [
    "in", "are", "is", "all", "of", "the", "en", "em", "sind", "and", "or", "und", "et", "y",
];

/// What the lines before the header say.
#[derive(Debug, Default)]
pub struct Preamble {
    /// Codes of the currencies that they name.
    pub currencies: Vec<String>,
}

impl Preamble {
    /// Reads lines. A code counts only after a word that announces it, as in `All amounts in USD`: many words of three letters are codes.
    pub fn of(lines: &[String]) -> Self {
        let mut currencies: Vec<String> = lines.iter().flat_map(|line| announced(line)).collect();
        currencies.sort_unstable();
        currencies.dedup();
        Self { currencies }
    }
}

/// The currencies that a line announces.
fn announced(line: &str) -> Vec<String> {
    let words = line
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    let (mut codes, mut is_announced) = (Vec::new(), false);
    for word in words {
        let lower = word.to_lowercase();
        if is_announced && let Some(code) = code_of(word) {
            codes.push(code.code().to_owned());
        } else if ANNOUNCING.iter().any(|stem| lower.ends_with(stem)) {
            is_announced = true;
        } else if !BETWEEN.contains(&lower.as_str()) {
            is_announced = false;
        }
    }
    codes
}

/// A unit of money in a header.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    /// A code in capital letters.
    Code(Currency),
    /// A sign or a word that only one currency has.
    Sign(Currency),
    /// Rupees of some country.
    Rupees,
    /// Three small letters that would be a code in capitals. They say that the word is no part of the name, and nothing more.
    Small,
}

impl Unit {
    /// The unit that a word names.
    pub fn of(word: &str) -> Option<Self> {
        let word = word.trim_matches(|c: char| c.is_ascii_punctuation() && c != '$');
        match word.to_lowercase().as_str() {
            "€" | "euro" | "euros" => Some(Self::Sign(Currency::EUR)),
            "₹" => Some(Self::Sign(Currency::INR)),
            "r$" => Some(Self::Sign(Currency::BRL)),
            "us$" => Some(Self::Sign(Currency::USD)),
            "rupees" | "rupee" | "rs" | "₨" => Some(Self::Rupees),
            lower => code_of(word)
                .map(Self::Code)
                .or_else(|| code_of(&lower.to_uppercase()).map(|_| Self::Small)),
        }
    }

    /// The unit that a text in parentheses is as a whole, perhaps after `in`.
    pub fn of_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let lower = text.to_lowercase();
        let rest = lower
            .strip_prefix("in ")
            .map_or(text, |rest| &text[text.len() - rest.len()..]);
        Self::of(rest.trim())
    }

    pub fn is_sign(&self) -> bool {
        matches!(self, Self::Sign(_) | Self::Rupees)
    }

    pub fn currency(&self) -> Option<Currency> {
        match self {
            Self::Code(currency) | Self::Sign(currency) => Some(*currency),
            Self::Rupees | Self::Small => None,
        }
    }
}

/// The currency of a code in capital letters.
fn code_of(word: &str) -> Option<Currency> {
    let is_code = word.len() == 3 && word.bytes().all(|b| b.is_ascii_uppercase());
    is_code.then(|| money::currency(word)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_announced_code_is_a_currency() {
        for (line, codes) in [
            ("All amounts in USD, unless specified", &["USD"][..]),
            ("Währung: EUR", &["EUR"]),
            ("Amounts in USD and CAD", &["USD", "CAD"]),
            ("Kontowährung;CHF", &["CHF"]),
            ("Store: TOP Shop", &[]),
            ("Amounts of TOP Shop", &["TOP"]),
            ("Amounts for TOP Shop", &[]),
            ("Currency: see ALL", &[]),
        ] {
            assert_eq!(announced(line), codes, "{line}");
        }
    }
}
