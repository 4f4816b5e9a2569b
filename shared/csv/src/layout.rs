//! Layouts: the position of each of a dataset's columns in a file.
//!
//! A file whose last column is called `annals_errors`, followed by the id of an upload, is a report of that upload's rejected rows that the
//! sender has corrected: that column is not read, and the quotes that `formula` added to cells are removed. Only Annals writes this name.

use std::borrow::Cow;

use crate::columns::{Column, Kind};
use crate::dataset::Dataset;
use crate::fault::FileFault;
use crate::formula;
use crate::mapping::Mapping;
use crate::options::ReadOptions;
use crate::records::Record;
use crate::suggestion;
use crate::table::{TableOptions, Test, is_same};

/// Name of the column that a report adds, without the upload's id.
pub const ERRORS_COLUMN: &str = "annals_errors";

/// The id of the upload that a report's column names, empty if it names none; `None` if it is another column.
pub fn reported_upload(header: &str) -> Option<&str> {
    let rest = header.trim().strip_prefix(ERRORS_COLUMN)?;
    (rest.is_empty() || rest.starts_with(' ')).then(|| rest.trim())
}

/// Maximum bytes of a column's name. There is a limit because each fault of each row repeats the name.
const MAX_HEADER_BYTES: usize = 1_000;

/// The position of each column in a file, and which of its rows and cells count.
#[derive(Debug, PartialEq)]
pub struct Layout {
    headers: Vec<String>,
    /// By column; `None` if the file lacks it.
    places: [Option<usize>; Column::COUNT],
    /// The columns of amounts that were paid and received.
    amounts: Option<(usize, usize)>,
    /// The column that says whether the amount is negative.
    sign: Option<usize>,
    /// The columns whose cells make up a name.
    names: Vec<usize>,
    /// What rows must be to be taken.
    filter: Vec<(usize, Test)>,
    empty_values: Vec<String>,
    zero_values: Vec<String>,
    /// The column that a report has added; `None` if the file is no report.
    mark: Option<usize>,
}

impl Layout {
    /// Finds a dataset's columns in a file's header: by the upload's fields, or else by their own names. Case does not matter, and
    /// spaces count as underscores.
    ///
    /// # Errors
    /// The record is no header or cannot be split; two columns have the same name; a required column is missing.
    pub fn find(dataset: &Dataset, options: &ReadOptions, header: &Record) -> Result<Self, FileFault> {
        let (mapping, table) = (&options.mapping, &options.table);
        if let Some(long) = header.fields().find(|name| name.len() > MAX_HEADER_BYTES) {
            let shown: String = long.chars().take(40).collect();
            let message = format!("the header's name {shown:?}… is longer than {MAX_HEADER_BYTES} bytes");
            return Err(FileFault::new("header_too_long", message).at(header.line()));
        }
        if header.stray_quote().is_some() {
            let message = "text follows the closing quote of a name: write a quote inside a name twice";
            return Err(FileFault::new("stray_quote", message).at(header.line()));
        }
        let mut layout = Self {
            headers: header.fields().map(|name| name.trim().to_owned()).collect(),
            places: [None; Column::COUNT],
            amounts: None,
            sign: None,
            names: Vec::new(),
            filter: Vec::new(),
            empty_values: table.empty_values.clone(),
            zero_values: table.zero_values.clone(),
            mark: mark_of(header, mapping),
        };
        if layout.mark.is_some() {
            for header in &mut layout.headers {
                *header = formula::bare(header).into_owned();
            }
        }
        let names: Vec<String> = layout.headers.iter().map(|name| normal(name)).collect();
        layout
            .place(dataset, mapping, &names)
            .and_then(|()| layout.place_table(table, &names))
            .and_then(|()| layout.check(dataset, options, &names))
            .map_err(|fault| fault.at(header.line()))?;
        Ok(layout)
    }

    fn place(&mut self, dataset: &Dataset, mapping: &Mapping, names: &[String]) -> Result<(), FileFault> {
        for column in dataset.columns {
            if let Some(Some(mapped)) = mapping.of(*column) {
                let place = self.place_named(mapped, names);
                self.places[*column as usize] =
                    Some(place.ok_or_else(|| self.no_header_called(mapped, column.name()))?);
            }
        }
        let mapped = self.places;
        for column in dataset.columns.iter().filter(|column| mapping.of(**column).is_none()) {
            let place = names.iter().position(|name| name == column.name());
            self.places[*column as usize] = place.filter(|place| !mapped.contains(&Some(*place)));
        }
        Ok(())
    }

    /// Finds the columns that upload fields other than the mapping name.
    fn place_table(&mut self, table: &TableOptions, names: &[String]) -> Result<(), FileFault> {
        let place = |header: &str, field: &str| {
            let place = self
                .place_named(header, names)
                .ok_or_else(|| self.no_header_called(header, field))?;
            let is_other = |other: &usize| *other != place && names[*other] == names[place];
            match (0..names.len()).find(is_other) {
                Some(_) if numbered(header) != Some(place) => Err(self.is_twice_in_header(place)),
                _ => Ok(place),
            }
        };
        let amounts = table.amount_columns.as_ref().map(|columns| {
            let of = |header: &str| place(header, "amount_columns");
            Ok((of(&columns.debit)?, of(&columns.credit)?))
        });
        let sign = table.sign_column.as_ref().map(|header| place(header, "sign_column"));
        let parts = table.name_columns.iter().map(|header| place(header, "name_columns"));
        let parts: Vec<usize> = parts.collect::<Result<_, _>>()?;
        let conditions = table.filter.iter();
        let filter = conditions.map(|condition| Ok((place(&condition.column, "filter")?, condition.test.clone())));
        let filter: Vec<(usize, Test)> = filter.collect::<Result<_, _>>()?;
        (self.amounts, self.sign) = (amounts.transpose()?, sign.transpose()?);
        (self.names, self.filter) = (parts, filter);
        Ok(())
    }

    fn place_named(&self, header: &str, names: &[String]) -> Option<usize> {
        let exactly = self.headers.iter().position(|name| name == header.trim());
        let normally = || names.iter().position(|name| *name == normal(header));
        exactly
            .or_else(normally)
            .or_else(|| numbered(header).filter(|place| *place < self.headers.len()))
    }

    fn is_twice_in_header(&self, place: usize) -> FileFault {
        let message = format!(
            "two columns have the name {:?}: name the one that is meant by its number, as #{}",
            self.headers[place],
            place + 1
        );
        FileFault::new("duplicate_header", message)
    }

    fn no_header_called(&self, header: &str, field: &str) -> FileFault {
        let message = format!(
            "{field} names the column {header:?}, which the file does not have; {}",
            suggestion::headers(self.headers(), &[header])
        );
        FileFault::new("missing_columns", message)
    }

    fn check(&self, dataset: &Dataset, options: &ReadOptions, names: &[String]) -> Result<(), FileFault> {
        let mapping = &options.mapping;
        let is_bare = mapping.is_empty() && self.amounts.is_none() && self.names.is_empty();
        if is_bare && self.places.iter().all(Option::is_none) {
            let wanted: Vec<&str> = dataset.columns.iter().map(|column| column.name()).collect();
            let message = format!(
                "the first line is not a header of {}: it has none of the columns {}; {}",
                dataset.name,
                wanted.join(", "),
                suggestion::headers(self.headers(), &wanted)
            );
            return Err(FileFault::new("no_header", message));
        }
        // Columns that are not read may have any names.
        let mut read = dataset
            .columns
            .iter()
            .filter_map(|column| Some((*column, self.place_of(*column)?)));
        if let Some((_, place)) = read.find(|(column, place)| self.is_twice(*place, *column, mapping, names)) {
            return Err(self.is_twice_in_header(place));
        }
        let is_there = |column: Column| {
            let is_composed = match column {
                Column::Amount => self.amounts.is_some(),
                Column::Name => !self.names.is_empty(),
                _ => false,
            };
            self.has(column) || is_composed
        };
        let missing = |set: &&[Column]| set.iter().all(|column| is_there(*column));
        let missing: Vec<String> = dataset
            .required
            .iter()
            .filter(|required| !required.0.iter().any(missing))
            .map(ToString::to_string)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the file lacks {}; set mapping= if its headers use other names: {}",
            missing.join("; "),
            suggestion::headers(self.headers(), &missing.iter().map(String::as_str).collect::<Vec<_>>())
        );
        Err(FileFault::new("missing_columns", message))
    }

    /// Whether another column could be meant as well. A mapping that spells a header exactly does not mean one that is spelt otherwise.
    fn is_twice(&self, place: usize, column: Column, mapping: &Mapping, names: &[String]) -> bool {
        let mapped = mapping.of(column).flatten();
        if mapped.is_some_and(|mapped| numbered(mapped) == Some(place)) {
            return false;
        }
        let is_exact = mapped.is_some_and(|mapped| self.headers[place] == mapped.trim());
        let spelt = if is_exact { &self.headers } else { names };
        (0..spelt.len()).any(|other| other != place && spelt[other] == spelt[place])
    }

    /// How many columns the file has.
    pub fn width(&self) -> usize {
        self.headers.len()
    }

    /// Whether the file has a column.
    pub fn has(&self, column: Column) -> bool {
        self.place_of(column).is_some()
    }

    /// The column by which the entities of a file are known: the column of ids or, without one, the column that the dataset uses instead. `None`: rows
    /// are known by their content.
    pub fn identity(&self, dataset: &Dataset) -> Option<Column> {
        let columns = [Some(dataset.id), dataset.named_by];
        columns.into_iter().flatten().find(|column| self.has(*column))
    }

    /// The position of a column, from 0; `None` if the file lacks it.
    pub fn place_of(&self, column: Column) -> Option<usize> {
        self.places[column as usize]
    }

    /// The file's name of a column; the dataset's name if the file lacks the column.
    pub fn header(&self, column: Column) -> &str {
        self.place_of(column)
            .map_or(column.name(), |place| &self.headers[place])
    }

    /// The fields of an entity that a row of this file sets. An empty cell sets its field to null.
    pub fn fields(&self, dataset: &Dataset) -> Vec<&'static str> {
        let columns = dataset.columns.iter().filter(|column| **column != dataset.id);
        // Amount and currency are always set: the amount may be made of other columns, and the currency may be the upload's.
        let is_set = |column: &&Column| {
            let is_name = **column == Column::Name && !self.names.is_empty();
            matches!(column.kind(), Kind::Amount | Kind::Currency) || is_name || self.has(**column)
        };
        columns.filter(is_set).map(|column| dataset.field(*column)).collect()
    }

    /// The headers of columns that are not read.
    pub fn ignored(&self) -> Vec<String> {
        let headers = self.headers().iter().enumerate();
        headers
            .filter(|(place, name)| !self.reads(*place) && !name.is_empty())
            .map(|(_, name)| name.clone())
            .collect()
    }

    fn reads(&self, place: usize) -> bool {
        self.places.contains(&Some(place))
            || self
                .amounts
                .is_some_and(|(debit, credit)| [debit, credit].contains(&place))
            || self.sign == Some(place)
            || self.names.contains(&place)
            || self.filter.iter().any(|(column, _)| *column == place)
    }

    /// The columns of amounts that were paid and received, if they are two.
    pub fn amounts(&self) -> Option<(usize, usize)> {
        self.amounts
    }

    /// The column that says whether the amount is negative.
    pub fn sign(&self) -> Option<usize> {
        self.sign
    }

    /// The columns whose cells make up a name.
    pub fn names(&self) -> &[usize] {
        &self.names
    }

    /// Whether a record is a row that is taken.
    pub fn takes(&self, record: &Record) -> bool {
        if self.filter.is_empty() {
            return true;
        }
        let record = self.bare(record);
        self.filter
            .iter()
            .all(|(place, test)| test.passes(record.field(*place)))
    }

    /// The text of a cell without the white space around it; `None` if the cell is empty, or as good as that. A text that means zero is `0`.
    pub fn text<'a>(&self, record: &'a Record, place: usize) -> Option<&'a str> {
        let text = record.field(place).trim();
        let is_one_of = |texts: &[String]| texts.iter().any(|known| is_same(known, text));
        if text.is_empty() || is_one_of(&self.empty_values) {
            return None;
        }
        Some(if is_one_of(&self.zero_values) { "0" } else { text })
    }

    /// The file's headers, without the column that a report has added.
    pub fn headers(&self) -> &[String] {
        &self.headers[..self.mark.unwrap_or(self.headers.len())]
    }

    /// Whether the file is a report of rejected rows that is sent again.
    pub fn is_report(&self) -> bool {
        self.mark.is_some()
    }

    /// The record without the quotes that a report has added; the record itself in other files.
    pub fn bare<'a>(&self, record: &'a Record) -> Cow<'a, Record> {
        match self.mark {
            None => Cow::Borrowed(record),
            Some(mark) => Cow::Owned(record.map(|place, text| match place == mark {
                true => text.into(),
                false => formula::bare(text),
            })),
        }
    }

    /// The fields of a bare record, without the one that a report has added.
    pub fn originals<'a>(&'a self, record: &'a Record) -> impl Iterator<Item = &'a str> {
        let own = |place: &usize| self.mark != Some(*place);
        // Spreadsheets fill all rows up to the widest one with empty fields.
        let filled = |place: &usize| own(place) && !record.field(*place).is_empty();
        let end = match self.mark {
            Some(mark) => (mark..record.width()).rfind(filled).map_or(mark, |last| last + 1),
            None => record.width(),
        };
        (0..end.min(record.width()))
            .filter(own)
            .map(|place| record.field(place))
    }

    /// The errors that a report names for the record; empty in other files.
    pub fn remark<'a>(&self, record: &'a Record) -> &'a str {
        self.mark.map_or("", |mark| record.field(mark))
    }
}

/// The position that `#2` means, for columns whose header others have, too.
fn numbered(header: &str) -> Option<usize> {
    let number: usize = header.trim().strip_prefix('#')?.parse().ok()?;
    number.checked_sub(1)
}

/// The position of the column that a report has added: the last one that has a name, unless the upload maps a column to that name.
fn mark_of(header: &Record, mapping: &Mapping) -> Option<usize> {
    let last = (0..header.width()).rfind(|place| !header.field(*place).trim().is_empty())?;
    let name = header.field(last).trim();
    (reported_upload(name).is_some() && !mapping.maps_to(name)).then_some(last)
}

/// A header in lower case, with underscores for spaces.
fn normal(header: &str) -> String {
    let words: Vec<&str> = header
        .split(|c: char| c.is_whitespace() || c == '_')
        .filter(|word| !word.is_empty())
        .collect();
    words.join("_").to_lowercase()
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
