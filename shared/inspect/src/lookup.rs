//! Headers and words as the dictionary has them, and what they mean.

use annals_csv::Column;
use annals_domain::money;
use iso_currency::Currency;

use crate::names::{NAMES, ROLES, Role, WORDS, Word};

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

/// Names of numbers that a business gives its own documents, which begin again each year in many countries.
const OF_DOCUMENTS: [&str; 36] = [
    "document number",
    "document no",
    "entry number",
    "entry no",
    "receipt number",
    "receipt no",
    "receipt id",
    "bill number",
    "bill no",
    "belegnummer",
    "beleg nr",
    "belegnr",
    "buchungsnummer",
    "buchungs nr",
    "quittungsnummer",
    "ausgabennummer",
    "ausgaben nr",
    "nummer",
    "numéro de pièce",
    "n° pièce",
    "numéro d'écriture",
    "numéro de reçu",
    "número de asiento",
    "número de documento",
    "número de recibo",
    "numero documento",
    "numero movimento",
    "numero ricevuta",
    "numero fattura",
    "número do documento",
    "bonnummer",
    "boekstuknummer",
    "boekstuk",
    "bill sankhya",
    "bill kramank",
    "kramank",
];

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

    /// Whether it names numbers that a business gives its own documents.
    pub fn is_of_documents(&self) -> bool {
        OF_DOCUMENTS.contains(&self.name.as_str())
    }

    /// Whether it names what was paid back.
    pub fn is_of_refunds(&self) -> bool {
        let stems = ["refund", "erstatt", "rembours", "reembols", "rimbors", "terugbetal"];
        stems.iter().any(|stem| self.name.contains(stem))
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

/// A unit of money in a header.
#[derive(Debug, Clone, Copy)]
enum Unit {
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
    fn of(word: &str) -> Option<Self> {
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
    fn of_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let lower = text.to_lowercase();
        let rest = lower
            .strip_prefix("in ")
            .map_or(text, |rest| &text[text.len() - rest.len()..]);
        Self::of(rest.trim())
    }

    fn is_sign(&self) -> bool {
        matches!(self, Self::Sign(_) | Self::Rupees)
    }

    fn currency(&self) -> Option<Currency> {
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
