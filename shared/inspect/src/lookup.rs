//! Headers and words as the dictionary has them, and what they mean.

use std::collections::HashSet;
use std::sync::LazyLock;

use annals_csv::Column;
use iso_currency::Currency;

use crate::currency_words::Unit;
use crate::names::{NAMES, ROLES, Role, WORDS, Word};

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

    /// Whether it names currencies.
    pub fn is_of_currencies(&self) -> bool {
        let stems = [
            "currenc", "währung", "waehrung", "devise", "moneda", "divisa", "valuta", "moeda", "munt",
        ];
        self.rank_for(Column::Currency).is_some() || stems.iter().any(|stem| self.name.contains(stem))
    }

    /// Whether it names what was paid back.
    pub fn is_of_refunds(&self) -> bool {
        let stems = ["refund", "erstatt", "rembours", "reembols", "rimbors", "terugbetal"];
        stems.iter().any(|stem| self.name.contains(stem))
    }

    /// Whether it names documents of sales, such as orders and invoices.
    pub fn is_of_sales(&self) -> bool {
        let stems = [
            "order", "invoice", "sale", "rechnung", "bestell", "auftrag", "verkauf", "commande", "facture", "vente",
            "pedido", "factura", "venta", "ordine", "fattura", "vendita", "fatura", "venda", "factu", "bikri",
            "chalan",
        ];
        stems.iter().any(|stem| self.name.contains(stem))
    }

    /// Whether it names what is taken off a price.
    pub fn is_of_discounts(&self) -> bool {
        let stems = [
            "discount",
            "rebate",
            "rabatt",
            "nachlass",
            "skonto",
            "remise",
            "descuento",
            "sconto",
            "desconto",
            "korting",
            "chhoot",
        ];
        stems.iter().any(|stem| self.name.contains(stem))
    }

    /// Whether it names what is still to be paid.
    pub fn is_of_dues(&self) -> bool {
        let stems = [
            "amount due",
            "balance due",
            "total due",
            "amount outstanding",
            "open amount",
            "unpaid",
            "offener betrag",
            "restbetrag",
            "reste à payer",
            "pendiente",
            "da pagare",
            "em aberto",
            "openstaand",
            "baki rashi",
        ];
        stems.iter().any(|stem| self.name.contains(stem))
    }

    /// Whether it says which rows were cancelled, or when.
    pub fn is_of_cancellations(&self) -> bool {
        let stems = [
            "cancel",
            "storn",
            "annul",
            "anulad",
            "void",
            "geannuleerd",
            "abgebrochen",
            "deleted",
            "gelöscht",
        ];
        let mut words = self.name.split(' ');
        !self.is(Role::Status) && words.any(|word| stems.iter().any(|stem| word.starts_with(stem)))
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

/// Whether a cell is called like a total or a balance, or begins or ends so, as `Food total` and `Opening balance` do.
pub fn names_total(text: &str) -> bool {
    if text.len() > MAX_TOTAL_TEXT || !text.contains(|c: char| c.is_alphabetic() || c == '*') {
        return false;
    }
    let text = text.to_lowercase();
    let ends = [':', '.', '-', ','];
    let words = text.split_whitespace().map(|word| word.trim_matches(ends));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
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
