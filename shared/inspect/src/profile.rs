//! What all cells of a column have in common: the formats that fit all of its days, how its numbers are written, its words.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use annals_csv::{DateFormat, Record};
use annals_domain::money;
use chrono::Datelike;

use crate::lookup::means;
use crate::names::Word;
use crate::structure::{filled, is_amount};
use crate::total_words::begins_like_total;

mod numbers;
mod strays;

pub use self::numbers::Numbers;
pub use self::strays::{Stray, Strays};

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
    days: Option<Vec<DateFormat>>,
    /// The formats that fit its first day.
    first_days: Vec<DateFormat>,
    /// Cells that are days.
    pub days_read: u64,
    /// Cells that are no days.
    pub day_strays: Strays,
    /// Whether there were too many of them.
    has_no_days: bool,
    /// The first day that is written otherwise than those before.
    pub contradiction: Option<Stray>,
    /// Days above 12, which cannot be months.
    pub late_days: u64,
    /// How its numbers are written, until there are too many other texts.
    numbers: Numbers,
    /// Cells that are no numbers.
    pub number_strays: Strays,
    /// Its words in lower case, each with how often it comes; `None` if there are too many different ones.
    pub words: Option<BTreeMap<String, u64>>,
    /// Cells that are email addresses, by their form.
    addresses: u64,
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
            words: Some(BTreeMap::new()),
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
            column.read(record.field(place).trim(), record.line());
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

/// Whether the first cell of a record is called like a total.
pub fn is_total(record: &Record) -> bool {
    let mut cells = record.fields().map(str::trim).filter(|cell| !cell.is_empty());
    cells
        .next()
        .is_some_and(|first| means(first, Word::TotalLine) || begins_like_total(first))
}

/// Counts a text, if there are not too many different ones. Long texts are cut.
fn count(counts: &mut BTreeMap<String, u64>, text: &str) {
    let text = &text[..text.floor_char_boundary(numbers::MAX_TEXT)];
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
    let has_address = || record.fields().any(|field| field.contains('@'));
    let is_sparse_row = || has_address() || (has_day() && record.fields().any(is_amount));
    (filled == 1 && width > 2)
        || (filled <= 2 && usual >= 5 && !is_sparse_row())
        // A person may be called Sum, and totals have no email address.
        || (means(first, Word::TotalLine) && !has_address())
        || (begins_like_total(first) && !has_day() && !has_address())
}

impl Profile {
    fn read(&mut self, text: &str, line: u64) {
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
        self.read_day(text, line);
        self.read_number(text, line);
        let is_number = text.bytes().all(|b| b.is_ascii_digit());
        self.is_counter = self.is_counter && is_number && text.len() <= MAX_COUNTER;
        self.addresses += u64::from(text.contains('@') && !text.contains(' '));
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

    fn read_day(&mut self, text: &str, line: u64) {
        match &mut self.days {
            Some(formats) if formats.is_empty() => return,
            Some(formats) => {
                if formats.iter().any(|format| format.parse(text).is_ok()) {
                    formats.retain(|format| format.parse(text).is_ok());
                } else if DateFormat::candidates(text).is_empty() {
                    return self.read_stray_day(text, line);
                } else {
                    formats.clear();
                    self.contradiction = Some(Stray::of(text, line));
                }
            }
            None if self.has_no_days => return,
            None => {
                let found = DateFormat::candidates(text);
                if found.is_empty() {
                    return self.read_stray_day(text, line);
                }
                self.first_days.clone_from(&found);
                self.days = Some(found);
            }
        }
        self.days_read += 1;
        let first = self.days.as_ref().and_then(|formats| formats.first());
        let day = first.and_then(|format| format.parse(text).ok());
        self.late_days += u64::from(day.is_some_and(|day| day.day() > 12));
    }

    fn read_stray_day(&mut self, text: &str, line: u64) {
        self.day_strays.read(text, line);
        if self.day_strays.are_many(self.days_read) {
            self.days = None;
            self.first_days.clear();
            self.has_no_days = true;
        }
    }

    fn read_number(&mut self, text: &str, line: u64) {
        if self.number_strays.are_many(self.numbers.count()) {
            return;
        }
        match self.numbers.read(text) {
            Some(number) => self.amounts_hash ^= hash_of(&number),
            None => self.number_strays.read(text, line),
        }
    }

    fn read_word(&mut self, text: &str) {
        let Some(words) = &mut self.words else { return };
        if text.len() > numbers::MAX_TEXT || (words.len() >= MAX_WORDS && !words.contains_key(&text.to_lowercase())) {
            self.words = None;
            return;
        }
        *words.entry(text.to_lowercase()).or_default() += 1;
    }

    /// The formats of its days. Empty if it has none, or if no format fits all. A few cells may be no days at all (`day_strays`).
    pub fn formats(&self) -> &[DateFormat] {
        let are_days = self.day_strays.are_few(self.days_read);
        self.days.as_deref().filter(|_| are_days).unwrap_or_default()
    }

    /// The formats that fit its first day, if none fits all.
    pub fn contradicted_formats(&self) -> &[DateFormat] {
        if self.formats().is_empty() && self.day_strays.are_few(self.days_read) {
            &self.first_days
        } else {
            &[]
        }
    }

    /// Its numbers, if there are any and nearly all of its cells are numbers. A few may be none (`number_strays`).
    pub fn as_numbers(&self) -> Option<&Numbers> {
        let count = self.numbers.count();
        (count > 0 && self.number_strays.are_few(count)).then_some(&self.numbers)
    }

    /// Whether nearly all cells are email addresses. The rows of others are refused.
    pub fn has_addresses(&self) -> bool {
        let others = Strays::of(self.filled - self.addresses);
        self.addresses > 0 && others.are_few(self.addresses)
    }

    /// Whether some cells are numbers, and too many are none.
    pub fn has_some_numbers(&self) -> bool {
        self.numbers.count() > 0 && self.as_numbers().is_none()
    }

    /// Whether some cells are days, and too many are none.
    pub fn has_some_days(&self) -> bool {
        self.days_read > 0 && !self.day_strays.are_few(self.days_read)
    }

    /// Whether there are numbers, and every cell is one.
    pub fn is_number(&self) -> bool {
        self.number_strays.count == 0 && self.as_numbers().is_some()
    }
}

fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(dashes.nothing.keys().all(|text| text.len() <= numbers::MAX_TEXT));
        assert!(dashes.values.is_none());
        profiles.read(&Record::of(&["7".to_owned(), String::new()]));
        assert!(!profiles.columns[0].is_unique && profiles.columns[0].values.is_none());
    }
}
