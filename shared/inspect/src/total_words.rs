//! Texts of totals and balances.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::names::{WORDS, Word};

/// Maximum bytes of a cell that may be called like a total.
const MAX_TOTAL_TEXT: usize = 100;
/// Most words of a name of totals or balances.
const MAX_NAME_WORDS: usize = 3;
/// Least letters of a name of totals that counts at the begin or end of a longer text. Shorter ones are parts of other names.
const LEAST_LETTERS: usize = 4;
/// Companies whose names begin like totals.
const COMPANIES: [&str; 5] = [
    "total energies",
    "total access",
    "total wine",
    "total tools",
    "total gas",
];

/// The names of totals and balances.
static TOTALS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let of_totals = WORDS
        .iter()
        .filter(|(of, _)| [Word::TotalLine, Word::Balance].contains(of));
    of_totals.flat_map(|(_, words)| *words).copied().collect()
});

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

/// The first and the last words of these names.
static ENDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let ends = |name: &&'static str| [name.split(' ').next(), name.rsplit(' ').next()];
    TOTALS.iter().flat_map(ends).flatten().collect()
});

/// Whether a cell is called like a total or a balance, or begins or ends so, as `Food total` and `Opening balance` do.
pub fn names_total(text: &str) -> bool {
    if text.len() > MAX_TOTAL_TEXT || !text.contains(|c: char| c.is_alphabetic() || c == '*') {
        return false;
    }
    let text = text.to_lowercase();
    let ends = [':', '.', '-', ','];
    let words = text.split_whitespace().map(|word| word.trim_matches(ends));
    let words = words.filter(|word| !word.is_empty());
    // Most cells are found to be none at once.
    let mut ends = words.clone().take(1).chain(words.clone().next_back());
    if !ends.any(|word| ENDS.contains(word)) {
        return false;
    }
    let words: Vec<&str> = words.collect();
    let text = words.join(" ");
    if TOTALS.contains(text.as_str()) {
        return true;
    }
    let is_long = |name: &String| name.chars().count() >= LEAST_LETTERS && TOTALS.contains(name.as_str());
    let most = MAX_NAME_WORDS.min(words.len());
    let is_company = || COMPANIES.iter().any(|company| text.starts_with(company));
    (1..=most).any(|count| is_long(&words[words.len() - count..].join(" ")))
        || ((1..=most).any(|count| is_long(&words[..count].join(" "))) && !is_company())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::means;

    #[test]
    fn texts_of_totals_and_balances_are_known() {
        for text in [
            "Total",
            "Food Total",
            "Grand total:",
            "Rent - Total",
            "Summe Januar",
            "Opening balance",
            "Saldo",
            "Kul",
            "***",
        ] {
            assert!(names_total(text), "{text}");
        }
        for text in [
            "Total Energies",
            "Totalausfall",
            "Sum Tea",
            "Kul Drinks",
            "2026-01-31",
            "12.00",
            "Balanced diet",
            "",
        ] {
            assert!(!names_total(text), "{text}");
        }
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
