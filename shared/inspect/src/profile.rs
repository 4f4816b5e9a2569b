//! What all cells of a column have in common: the formats that fit all of its days, how its numbers are written, its words.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use annals_csv::{Amount, DateFormat, DecimalMark, Record, Written};
use annals_domain::money;
use chrono::Datelike;
use iso_currency::Currency;

use crate::lookup::{begins_like_total, means};
use crate::names::Word;
use crate::structure::{filled, is_amount};

/// Most columns that are looked at.
pub const MAX_COLUMNS: usize = 300;
/// Most different words of a column that are counted.
const MAX_WORDS: usize = 60;
/// Maximum number of values of a column that are compared with each other.
const MAX_DISTINCT: usize = 200_000;
/// Most columns whose values are compared.
const MAX_COMPARED: usize = 8;
/// Most digits of a number that counts something.
const MAX_COUNTER: usize = 6;
/// Maximum bytes of a text that is kept.
const MAX_TEXT: usize = 100;

/// What a column has.
#[derive(Debug, Default)]
pub struct Profile {
    /// Cells that are filled, without those that mean nothing.
    pub filled: u64,
    /// Cells that are empty.
    pub blank: u64,
    /// Cells that say that there is nothing: `-`, `N/A`; by their text.
    pub nothing: BTreeMap<String, u64>,
    /// The formats that fit all days; `None` before the first.
    pub days: Option<Vec<DateFormat>>,
    /// The formats that fit its first day.
    first_days: Vec<DateFormat>,
    /// Days above 12, which cannot be months.
    pub late_days: u64,
    /// How its numbers are written; `None` if it has other texts.
    pub numbers: Option<Numbers>,
    /// Its words in lower case, each with how often it comes; `None` if there are too many different ones.
    pub words: Option<BTreeMap<String, u64>>,
    /// Whether every cell is an email address, by its form.
    pub is_email: bool,
    /// Whether every cell is a currency.
    pub is_currency: bool,
    /// A hash of its amounts in their order, of which an empty cell is none: two columns with the same amounts have the same.
    pub amounts_hash: u64,
    /// Whether every cell is a whole number of few digits, as those that count something.
    pub is_counter: bool,
    /// Whether each value comes only once, as far as they are compared. Only columns that may have ids are.
    pub is_unique: bool,
    /// Hashes of the values, as long as each comes only once.
    values: Option<HashSet<u64>>,
    /// Its cells in headings and lines of totals, by their text.
    pub in_headings: BTreeMap<String, u64>,
    /// Headings that are not called totals and have here what rows have: a number, or an email address.
    pub doubtful_headings: u64,
}

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
}

/// The columns of a table.
#[derive(Debug)]
pub struct Profiles {
    /// By column.
    pub columns: Vec<Profile>,
    /// Rows that are looked at.
    pub rows: u64,
    /// Headings and lines of totals between rows.
    pub headings: u64,
}

impl Profiles {
    /// Profiles of a table with this number of columns, of which some may have ids.
    pub fn new(width: usize, ids: &[usize]) -> Self {
        let ids = &ids[..ids.len().min(MAX_COMPARED)];
        let new = |place: usize| Profile {
            numbers: Some(Numbers::default()),
            words: Some(BTreeMap::new()),
            is_email: true,
            is_currency: true,
            is_counter: true,
            is_unique: ids.contains(&place),
            values: ids.contains(&place).then(HashSet::new),
            ..Profile::default()
        };
        Self {
            columns: (0..width.min(MAX_COLUMNS)).map(new).collect(),
            rows: 0,
            headings: 0,
        }
    }

    /// Adds a row.
    pub fn read(&mut self, record: &Record) {
        self.rows += 1;
        for (place, column) in self.columns.iter_mut().enumerate() {
            column.read(record.field(place).trim());
        }
    }

    /// Frees what is needed only to compare values, at the end of the file.
    pub fn forget_values(&mut self) {
        self.columns.iter_mut().for_each(|column| column.values = None);
    }

    /// Adds a heading, or a line of totals.
    pub fn read_heading(&mut self, record: &Record) {
        self.headings += 1;
        for (place, column) in self.columns.iter_mut().enumerate() {
            count(&mut column.in_headings, record.field(place).trim());
            column.doubtful_headings += u64::from(has_value(record, place));
        }
    }
}

/// Whether a record that looks like a heading and is not called a total has an amount, an email address or a number in a column. It may be a row that
/// lacks its other cells.
pub fn has_value(record: &Record, place: usize) -> bool {
    let text = record.field(place).trim();
    let has_digit = text.contains(|c: char| c.is_ascii_digit());
    let is_value = is_amount(text) || text.contains('@') || (has_digit && filled(record) > 1);
    is_value && !is_total(record)
}

fn is_total(record: &Record) -> bool {
    let mut cells = record.fields().map(str::trim).filter(|cell| !cell.is_empty());
    cells
        .next()
        .is_some_and(|first| means(first, Word::TotalLine) || begins_like_total(first))
}

/// Counts a text, if there are not too many different ones. Long texts are cut.
fn count(counts: &mut BTreeMap<String, u64>, text: &str) {
    let text = &text[..text.floor_char_boundary(MAX_TEXT)];
    if counts.len() < MAX_WORDS || counts.contains_key(text) {
        *counts.entry(text.to_owned()).or_default() += 1;
    }
}

/// Whether a record is a heading or a line of totals, in a table in which this number of cells is usually filled. A record with few cells is none if
/// it has a day and an amount, or an email address: such a row lacks only what may be missing.
pub fn is_heading(record: &Record, width: usize, usual: usize) -> bool {
    let mut cells = record.fields().map(str::trim).filter(|cell| !cell.is_empty());
    let Some(first) = cells.next() else { return true };
    let filled = filled(record);
    let is_day = |field: &str| !DateFormat::candidates(field.trim()).is_empty();
    let has_day = || record.fields().any(is_day);
    let is_sparse_row =
        || record.fields().any(|field| field.contains('@')) || (has_day() && record.fields().any(is_amount));
    (filled == 1 && width > 2)
        || (filled <= 2 && usual >= 5 && !is_sparse_row())
        || means(first, Word::TotalLine)
        || (begins_like_total(first) && !has_day())
}

impl Profile {
    fn read(&mut self, text: &str) {
        // An empty cell changes the hash, too, so that amounts of other rows make another hash.
        self.amounts_hash = self.amounts_hash.rotate_left(5).wrapping_mul(0x0100_0000_01B3);
        if text.is_empty() {
            self.blank += 1;
            return;
        }
        self.read_word(text);
        if means(text, Word::Nothing) || text.chars().all(|c| c == '-') {
            count(&mut self.nothing, text);
            return;
        }
        self.filled += 1;
        self.read_day(text);
        self.read_number(text);
        let is_number = text.bytes().all(|b| b.is_ascii_digit());
        self.is_counter = self.is_counter && is_number && text.len() <= MAX_COUNTER;
        self.is_email = self.is_email && text.contains('@') && !text.contains(' ');
        self.is_currency = self.is_currency && text.len() == 3 && money::currency(&text.to_uppercase()).is_some();
        self.read_value(text);
    }

    fn read_value(&mut self, text: &str) {
        let Some(values) = &mut self.values else { return };
        let hash = hash_of(&text);
        if values.contains(&hash) {
            self.is_unique = false;
            self.values = None;
        } else if values.len() < MAX_DISTINCT {
            values.insert(hash);
        }
    }

    fn read_day(&mut self, text: &str) {
        match &mut self.days {
            None => {
                let found = DateFormat::candidates(text);
                self.first_days.clone_from(&found);
                self.days = Some(found);
            }
            Some(formats) => formats.retain(|format| format.parse(text).is_ok()),
        }
        let day = self.formats().first().and_then(|format| format.parse(text).ok());
        self.late_days += u64::from(day.is_some_and(|day| day.day() > 12));
    }

    fn read_number(&mut self, text: &str) {
        let Some(numbers) = &mut self.numbers else { return };
        let [point, comma] = [DecimalMark::Point, DecimalMark::Comma].map(|mark| Amount::parse(text, mark).ok());
        let Some(amount) = point.or(comma) else {
            self.numbers = None;
            return;
        };
        match (point, comma) {
            (Some(_), None) => numbers.points += 1,
            (None, Some(_)) => numbers.commas += 1,
            (Some(point), Some(comma)) if point.number != comma.number => numbers.ambiguous += 1,
            _ => {}
        }
        if point.is_some() != comma.is_some() && text.len() <= MAX_TEXT {
            numbers.example.get_or_insert_with(|| text.to_owned());
        }
        numbers.indian += u64::from(is_indian(text));
        self.amounts_hash ^= hash_of(&amount.number);
        match amount.number {
            number if number.is_zero() => numbers.zero += 1,
            number if number.is_sign_negative() => numbers.negative += 1,
            _ => numbers.positive += 1,
        }
        let currency = match amount.written {
            None => None,
            Some(Written::Code(currency)) => Some(currency),
            Some(Written::Symbol('€')) => Some(Currency::EUR),
            Some(Written::Symbol('₹')) => Some(Currency::INR),
            Some(Written::Symbol(symbol)) => {
                *numbers.symbols.entry(symbol).or_default() += 1;
                None
            }
        };
        if let Some(currency) = currency {
            numbers.with_currency += 1;
            *numbers.currencies.entry(currency.code()).or_default() += 1;
        }
    }

    fn read_word(&mut self, text: &str) {
        let Some(words) = &mut self.words else { return };
        if text.len() > MAX_TEXT || (words.len() >= MAX_WORDS && !words.contains_key(&text.to_lowercase())) {
            self.words = None;
            return;
        }
        *words.entry(text.to_lowercase()).or_default() += 1;
    }

    /// The formats of its days. Empty if it has none, or if no format fits all.
    pub fn formats(&self) -> &[DateFormat] {
        self.days.as_deref().unwrap_or_default()
    }

    /// The formats that fit its first day, if none fits all.
    pub fn contradicted_formats(&self) -> &[DateFormat] {
        if self.formats().is_empty() {
            &self.first_days
        } else {
            &[]
        }
    }

    /// Its numbers, if all of its cells are numbers and there are any.
    pub fn as_numbers(&self) -> Option<&Numbers> {
        self.numbers.as_ref().filter(|_| self.filled > 0)
    }
}

fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
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

    #[test]
    fn memory_does_not_grow_with_the_texts_of_a_column() {
        let mut profiles = Profiles::new(2, &[0]);
        for length in 1..2_000 {
            let cells = [length.to_string(), "-".repeat(length)];
            profiles.read(&Record::of(&cells));
            profiles.read_heading(&Record::of(&cells));
        }
        let [ids, dashes] = profiles.columns.as_slice() else {
            panic!("two columns")
        };
        assert!(ids.is_unique && dashes.nothing.len() <= MAX_WORDS && dashes.in_headings.len() <= MAX_WORDS);
        assert!(dashes.nothing.keys().all(|text| text.len() <= MAX_TEXT));
        assert!(dashes.values.is_none());
        profiles.read(&Record::of(&["7".to_owned(), String::new()]));
        assert!(!profiles.columns[0].is_unique && profiles.columns[0].values.is_none());
    }
}
