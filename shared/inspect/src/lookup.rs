//! Headers and words as the dictionary has them, and what they mean.

use annals_csv::Column;
use iso_currency::Currency;

use crate::currency_words::Unit;
use crate::names::{NAMES, ROLES, Role, WORDS, Word};

/// Words of headers in languages in which the day comes before the month.
const DAY_FIRST: [&str; 30] = [
    "dato",
    "fecha",
    "jour",
    "giorno",
    "día",
    "dag",
    "soll",
    "haben",
    "menge",
    "preis",
    "notiz",
    "kunde",
    "montant",
    "importe",
    "importo",
    "bedrag",
    "valor",
    "monto",
    "solde",
    "fournisseur",
    "proveedor",
    "fornitore",
    "leverancier",
    "libellé",
    "concepto",
    "descrizione",
    "omschrijving",
    "beløb",
    "beløp",
    "belopp",
];

/// Parts of words of such headers.
const DAY_FIRST_STEMS: [&str; 20] = [
    "datum",
    "betrag",
    "buchung",
    "zweck",
    "beleg",
    "rechnung",
    "währung",
    "umsatz",
    "schrift",
    "belastung",
    "händler",
    "lieferant",
    "kategorie",
    "nummer",
    "auftrag",
    "bestell",
    "verkauf",
    "ausgabe",
    "empfänger",
    "bezeichnung",
];

/// A header, and what the dictionary knows of it.
#[derive(Debug, Clone)]
pub struct Header {
    /// As it is written in the file.
    pub text: String,
    /// The form that the dictionary uses: in lower case, without text in parentheses, units and currencies.
    pub name: String,
    /// The currency that it names, as in `Amount (EUR)` and `Lastschrift in CHF`.
    pub currency: Option<Currency>,
    /// Whether it names rupees, which several countries have.
    pub names_rupees: bool,
}

impl Header {
    /// Reads a header.
    pub fn of(text: &str) -> Self {
        let (outside, inside) = split_parentheses(text.trim());
        let spaced: String = outside
            .chars()
            .map(|c| if "_-./:".contains(c) { ' ' } else { c })
            .collect();
        let mut words: Vec<&str> = spaced.split_whitespace().collect();
        let mut units: Vec<Unit> = inside.iter().filter_map(|text| Unit::of_text(text)).collect();
        let is_shouted = !text.chars().any(char::is_lowercase);
        while words.len() > 1
            && let Some(unit) = words.last().and_then(|word| Unit::of(word))
        {
            words.pop();
            let has_in = words.len() > 1 && words.last().is_some_and(|word| word.eq_ignore_ascii_case("in"));
            if has_in {
                words.pop();
            }
            // In a header of capitals, every word of three letters looks like a code: `TOTAL ALL`.
            let is_code = has_in || !is_shouted || unit.is_sign();
            units.extend(Some(unit).filter(|_| is_code));
        }
        let currencies: Vec<Currency> = units.iter().filter_map(Unit::currency).collect();
        let name = words.join(" ").to_lowercase();
        Self {
            text: text.trim().to_owned(),
            name: name.trim_matches(|c: char| !c.is_alphanumeric()).to_owned(),
            currency: currencies.first().copied(),
            names_rupees: units.iter().any(|unit| matches!(unit, Unit::Rupees)),
        }
    }

    /// Whether it is in a language whose speakers write the day before the month.
    pub fn is_day_first(&self) -> bool {
        let is_cyrillic = |c: char| ('\u{400}'..='\u{4FF}').contains(&c);
        let mut words = self.name.split(' ');
        self.text.chars().any(is_cyrillic)
            || words.any(|word| DAY_FIRST.contains(&word) || DAY_FIRST_STEMS.iter().any(|stem| word.contains(stem)))
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

/// The text outside of parentheses, and the texts inside.
fn split_parentheses(text: &str) -> (String, Vec<String>) {
    let (mut outside, mut inside, mut depth) = (String::new(), Vec::new(), 0_u32);
    for c in text.chars() {
        match c {
            '(' | '[' => {
                depth += 1;
                outside.push(' ');
                inside.push(String::new());
            }
            ')' | ']' => depth = depth.saturating_sub(1),
            c if depth == 0 => outside.push(c),
            c => inside.iter_mut().last().into_iter().for_each(|text| text.push(c)),
        }
    }
    (outside, inside)
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
            ("amount_usd", "amount", None),
            ("Total (incl. all taxes)", "total", None),
            ("Price per cup", "price per", None),
            ("TOTAL ALL", "total", None),
            ("AMOUNT IN EUR", "amount", Some(Currency::EUR)),
            ("Betrag [CHF]", "betrag", Some(Currency::CHF)),
            ("Amount (in Rs.)", "amount", None),
            ("Buch.dat.", "buch dat", None),
        ] {
            let header = Header::of(text);
            assert_eq!((header.name.as_str(), header.currency), (name, currency), "{text}");
        }
        assert!(Header::of("Bruttobetrag").rank_for(Column::Amount).is_some());
        assert!(Header::of("Soll").is(Role::Debit) && !Header::of("Sollte").is_known());
    }
}
