//! Headers and words as the dictionary has them, and what they mean.

use annals_csv::Column;
use annals_domain::money;
use iso_currency::Currency;

use crate::names::{NAMES, ROLES, Role, WORDS, Word};

/// A header, and what the dictionary knows of it.
#[derive(Debug, Clone)]
pub struct Header {
    /// As it is written in the file.
    pub text: String,
    /// The form that the dictionary uses: in lower case, without text in parentheses, units and currencies.
    pub name: String,
    /// The currency that it names, as in `Amount (EUR)` and `Lastschrift in CHF`.
    pub currency: Option<Currency>,
}

impl Header {
    /// Reads a header.
    pub fn of(text: &str) -> Self {
        let lower = text.trim().to_lowercase();
        let (outside, inside) = split_parentheses(&lower);
        let spaced: String = outside
            .chars()
            .map(|c| if "_-./:".contains(c) { ' ' } else { c })
            .collect();
        let mut words: Vec<&str> = spaced.split_whitespace().collect();
        let mut named = inside.split([' ', ',', ';']).find_map(currency_named);
        while let Some(currency) = words
            .last()
            .filter(|_| words.len() > 1)
            .and_then(|word| currency_named(word))
        {
            words.pop();
            named.get_or_insert(currency);
            if words.len() > 1 && words.last() == Some(&"in") {
                words.pop();
            }
        }
        let name = words.join(" ");
        Self {
            text: text.trim().to_owned(),
            name: name.trim_matches(|c: char| !c.is_alphanumeric()).to_owned(),
            currency: named,
        }
    }

    /// How good a name it is for a column: 0 is the best. `None`: the dictionary does not have it for that column.
    pub fn rank_for(&self, column: Column) -> Option<usize> {
        let names = NAMES.iter().find(|(of, _)| *of == column)?.1;
        names.iter().position(|name| *name == self.name)
    }

    /// Whether it has this role.
    pub fn is(&self, role: Role) -> bool {
        ROLES
            .iter()
            .any(|(of, names)| *of == role && names.contains(&self.name.as_str()))
    }

    /// Whether the dictionary has it at all.
    pub fn is_known(&self) -> bool {
        let name = self.name.as_str();
        NAMES.iter().any(|(_, names)| names.contains(&name)) || ROLES.iter().any(|(_, names)| names.contains(&name))
    }
}

/// Whether a cell has this meaning.
pub fn means(text: &str, word: Word) -> bool {
    let text = text.trim().to_lowercase();
    let text = match word {
        Word::TotalLine => text.trim_end_matches([':', ' ']),
        _ => text.as_str(),
    };
    WORDS
        .iter()
        .filter(|(of, _)| *of == word)
        .flat_map(|(_, words)| *words)
        .any(|word| *word == text)
}

/// Whether a cell begins like that of a total, as `Total for Hosting` does. A company may be called so, too.
pub fn begins_like_total(text: &str) -> bool {
    let text = text.trim().to_lowercase();
    let totals = WORDS
        .iter()
        .filter(|(of, _)| *of == Word::TotalLine)
        .flat_map(|(_, words)| *words);
    totals.filter(|word| !word.starts_with('*')).any(|word| {
        let rest = text.strip_prefix(word);
        rest.is_some_and(|rest| rest.starts_with([' ', ':']))
    })
}

/// Code of the only currency that lines of text name. Words of a line in capital letters are no codes: `ALL` is one.
pub fn currency_in(lines: &[String]) -> Option<String> {
    let lines = lines.iter().filter(|line| line.chars().any(char::is_lowercase));
    let words = lines.flat_map(|line| line.split(|c: char| !c.is_ascii_alphabetic()));
    let is_code = |word: &&str| word.len() == 3 && money::currency(word).is_some();
    let mut codes: Vec<&str> = words.filter(is_code).collect();
    codes.sort_unstable();
    codes.dedup();
    match codes.as_slice() {
        [code] => Some((*code).to_owned()),
        _ => None,
    }
}

/// The text outside of parentheses, and the text inside.
fn split_parentheses(text: &str) -> (String, String) {
    let (mut outside, mut inside, mut depth) = (String::new(), String::new(), 0_u32);
    for c in text.chars() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            c if depth == 0 => outside.push(c),
            c => inside.push(c),
        }
        if "([)]".contains(c) {
            outside.push(' ');
            inside.push(' ');
        }
    }
    (outside, inside)
}

/// The currency that a word of a header names. A dollar or a pound may be of several countries.
fn currency_named(word: &str) -> Option<Currency> {
    match word.trim_matches(|c: char| c.is_ascii_punctuation() && c != '$') {
        "€" | "euro" | "euros" => Some(Currency::EUR),
        "₹" | "rupees" | "rs" => Some(Currency::INR),
        "r$" => Some(Currency::BRL),
        code if code.len() == 3 => money::currency(&code.to_uppercase()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_known_whatever_stands_around_them() {
        for (text, name, currency) in [
            ("Order #", "order", None),
            ("Lastschrift in CHF", "lastschrift", Some(Currency::CHF)),
            ("Montant TTC (€)", "montant ttc", Some(Currency::EUR)),
            ("Withdrawal Amount (INR )", "withdrawal amount", Some(Currency::INR)),
            ("Débit euros", "débit", Some(Currency::EUR)),
            ("Soll/Haben-Kennzeichen", "soll haben kennzeichen", None),
            ("OPTIN_TIME", "optin time", None),
            ("EUR", "eur", None),
            ("Buch.dat.", "buch dat", None),
        ] {
            let header = Header::of(text);
            assert_eq!((header.name.as_str(), header.currency), (name, currency), "{text}");
        }
        assert!(Header::of("Bruttobetrag").rank_for(Column::Amount).is_some());
        assert!(Header::of("Soll").is(Role::Debit) && !Header::of("Sollte").is_known());
    }

    #[test]
    fn lines_of_totals_are_known() {
        for (text, is_total, begins) in [
            ("Total", true, false),
            ("Summe:", true, true),
            ("Total for Hosting", false, true),
            ("Totalausfall", false, false),
            ("***", true, false),
        ] {
            assert_eq!(
                (means(text, Word::TotalLine), begins_like_total(text)),
                (is_total, begins),
                "{text}"
            );
        }
    }
}
