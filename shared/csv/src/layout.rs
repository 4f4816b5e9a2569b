//! Layouts: the position of each of a dataset's columns in a file.
//!
//! A file whose last column is called `annals_errors` is a report of rejected rows that the sender has corrected: that column is not
//! read, and the quotes that `formula` added to cells are removed. Only Annals writes this name.

use std::borrow::Cow;

use crate::columns::{Column, Kind};
use crate::dataset::Dataset;
use crate::fault::FileFault;
use crate::formula;
use crate::mapping::Mapping;
use crate::records::Record;

/// Name of the column that a report adds.
pub const ERRORS_COLUMN: &str = "annals_errors";

/// Maximum bytes of a column's name. There is a limit because each fault of each row repeats the name.
const MAX_HEADER_BYTES: usize = 1_000;

/// The position of each column in a file.
#[derive(Debug)]
pub struct Layout {
    headers: Vec<String>,
    /// By column; `None` if the file lacks it.
    places: [Option<usize>; Column::COUNT],
    /// The column that a report has added; `None` if the file is no report.
    mark: Option<usize>,
}

impl Layout {
    /// Finds a dataset's columns in a file's header: by the upload's mapping, or else by their own names. Case does not matter, and
    /// spaces count as underscores.
    ///
    /// # Errors
    /// The record is no header or cannot be split; two columns have the same name; a required column is missing.
    pub fn find(dataset: &Dataset, mapping: &Mapping, header: &Record) -> Result<Self, FileFault> {
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
            .and_then(|()| layout.check(dataset, mapping, &names))
            .map_err(|fault| fault.at(header.line()))?;
        Ok(layout)
    }

    fn place(&mut self, dataset: &Dataset, mapping: &Mapping, names: &[String]) -> Result<(), FileFault> {
        for column in dataset.columns {
            if let Some(Some(mapped)) = mapping.of(*column) {
                let exactly = self.headers.iter().position(|name| name == mapped.trim());
                let place = exactly.or_else(|| names.iter().position(|name| *name == normal(mapped)));
                self.places[*column as usize] = Some(place.ok_or_else(|| {
                    let message = format!("{} is mapped to {mapped:?}, which is not in the header", column.name());
                    FileFault::new("missing_columns", message)
                })?);
            }
        }
        let mapped = self.places;
        for column in dataset.columns.iter().filter(|column| mapping.of(**column).is_none()) {
            let place = names.iter().position(|name| name == column.name());
            self.places[*column as usize] = place.filter(|place| !mapped.contains(&Some(*place)));
        }
        Ok(())
    }

    fn check(&self, dataset: &Dataset, mapping: &Mapping, names: &[String]) -> Result<(), FileFault> {
        if mapping.is_empty() && self.places.iter().all(Option::is_none) {
            let wanted: Vec<&str> = dataset.columns.iter().map(|column| column.name()).collect();
            let message = format!(
                "the first line is not a header of {}: it has none of the columns {}",
                dataset.name,
                wanted.join(", ")
            );
            return Err(FileFault::new("no_header", message));
        }
        // Columns that are not read may have any names.
        let mut read = dataset
            .columns
            .iter()
            .filter_map(|column| Some((*column, self.place_of(*column)?)));
        if let Some((_, place)) = read.find(|(column, place)| self.is_twice(*place, *column, mapping, names)) {
            let message = format!("two columns have the name {:?}", self.headers[place]);
            return Err(FileFault::new("duplicate_header", message));
        }
        let missing = |set: &&[Column]| set.iter().all(|column| self.has(*column));
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
            "the file lacks {}; set mapping= if its headers use other names",
            missing.join("; ")
        );
        Err(FileFault::new("missing_columns", message))
    }

    /// Whether another column could be meant as well. A mapping that spells a header exactly does not mean one that is spelt otherwise.
    fn is_twice(&self, place: usize, column: Column, mapping: &Mapping, names: &[String]) -> bool {
        let is_exact = mapping
            .of(column)
            .flatten()
            .is_some_and(|mapped| self.headers[place] == mapped.trim());
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
        // Amount and currency are always set: the amount may be a product of other columns, and the currency may be the upload's.
        let is_set = |column: &&Column| matches!(column.kind(), Kind::Amount | Kind::Currency) || self.has(**column);
        columns.filter(is_set).map(|column| dataset.field(*column)).collect()
    }

    /// The headers of columns that are not read.
    pub fn ignored(&self) -> Vec<String> {
        let headers = self.headers().iter().enumerate();
        headers
            .filter(|(place, name)| !self.places.contains(&Some(*place)) && !name.is_empty())
            .map(|(_, name)| name.clone())
            .collect()
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

/// The position of the column that a report has added: the last one that has a name, unless the upload maps a column to that name.
fn mark_of(header: &Record, mapping: &Mapping) -> Option<usize> {
    let last = (0..header.width()).rfind(|place| !header.field(*place).trim().is_empty())?;
    let name = header.field(last).trim();
    (name == ERRORS_COLUMN && !mapping.maps_to(name)).then_some(last)
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
