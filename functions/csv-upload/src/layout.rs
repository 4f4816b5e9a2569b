//! Layouts: where a file has which of our columns.
//!
//! A file whose last column is called `errors` is taken for a report of ours that comes back: that column is not read, and cells
//! lose the quote that kept spreadsheets from running them.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::columns::Column;
use crate::dataset::Dataset;
use crate::fault::FileFault;
use crate::formula;
use crate::options::Mapping;
use crate::records::Record;

/// What the column of a report is called that says what is wrong; the second where the file's own column is called so.
const MARKS: [&str; 2] = ["errors", "annals_errors"];

/// Most bytes of a column's name: each fault of each row repeats it.
const MAX_HEADER_BYTES: usize = 1_000;

/// Where a file has which of our columns.
#[derive(Debug)]
pub(crate) struct Layout {
    headers: Vec<String>,
    places: [Option<usize>; Column::COUNT],
    mark: Option<usize>,
}

impl Layout {
    /// Finds a dataset's columns in a file's header: as the upload maps them, or else by their own names, whatever their case
    /// and whether with spaces or underscores.
    ///
    /// # Errors
    /// No header, one that cannot be taken apart, two alike, or not the columns that the dataset requires.
    pub(crate) fn find(dataset: &Dataset, mapping: &Mapping, header: &Record) -> Result<Self, FileFault> {
        if let Some(long) = header.fields().find(|name| name.len() > MAX_HEADER_BYTES) {
            let shown: String = long.chars().take(40).collect();
            let message = format!("the header's name {shown:?}… has over {MAX_HEADER_BYTES} bytes");
            return Err(FileFault::new("header_too_long", message).at(header.line()));
        }
        if header.stray_quote().is_some() {
            let message = "something follows a quote that ends a name: a quote within a name is written twice";
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
                    let message = format!("no column is called {mapped:?}, to which {} is mapped", column.name());
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
                "the first line is no header of {}: it names none of {}",
                dataset.name,
                wanted.join(", ")
            );
            return Err(FileFault::new("no_header", message));
        }
        let mut met = HashSet::new();
        if let Some(place) = names.iter().position(|name| !name.is_empty() && !met.insert(name)) {
            let message = format!("two columns are called {:?}", self.headers[place]);
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
            "the file lacks {}; say mapping= where its headers are other words",
            missing.join("; ")
        );
        Err(FileFault::new("missing_columns", message))
    }

    /// How many columns the file has.
    pub(crate) fn width(&self) -> usize {
        self.headers.len()
    }

    /// Whether the file has a column.
    pub(crate) fn has(&self, column: Column) -> bool {
        self.place_of(column).is_some()
    }

    /// Where the file has a column, from 0.
    pub(crate) fn place_of(&self, column: Column) -> Option<usize> {
        self.places[column as usize]
    }

    /// What the file calls a column; its own name where the file lacks it.
    pub(crate) fn header(&self, column: Column) -> &str {
        self.place_of(column)
            .map_or(column.name(), |place| &self.headers[place])
    }

    /// The headers of columns that are not read.
    pub(crate) fn ignored(&self) -> Vec<String> {
        let headers = self.headers().iter().enumerate();
        headers
            .filter(|(place, name)| !self.places.contains(&Some(*place)) && !name.is_empty())
            .map(|(_, name)| name.clone())
            .collect()
    }

    /// The file's headers, without what a report has added.
    pub(crate) fn headers(&self) -> &[String] {
        &self.headers[..self.mark.unwrap_or(self.headers.len())]
    }

    /// Whether the file is a report of refused rows that comes back.
    pub(crate) fn is_report(&self) -> bool {
        self.mark.is_some()
    }

    /// A record as it was before it became part of a report; in other files as it is.
    pub(crate) fn bare<'a>(&self, record: &'a Record) -> Cow<'a, Record> {
        match self.mark {
            None => Cow::Borrowed(record),
            Some(mark) => Cow::Owned(record.map(|place, text| match place == mark {
                true => text.into(),
                false => formula::bare(text),
            })),
        }
    }

    /// The fields of a bare record, without those that a report has added.
    pub(crate) fn originals<'a>(&'a self, record: &'a Record) -> impl Iterator<Item = &'a str> {
        let own = |place: &usize| self.mark != Some(*place);
        // Spreadsheets fill rows up to the widest.
        let filled = |place: &usize| own(place) && !record.field(*place).is_empty();
        let end = match self.mark {
            Some(mark) => (mark..record.width()).rfind(filled).map_or(mark, |last| last + 1),
            None => record.width(),
        };
        (0..end.min(record.width()))
            .filter(own)
            .map(|place| record.field(place))
    }

    /// What a report that comes back says of a record; empty in other files.
    pub(crate) fn remark<'a>(&self, record: &'a Record) -> &'a str {
        self.mark.map_or("", |mark| record.field(mark))
    }
}

/// Where the header of a report has the column that says what is wrong: the last one that has a name, if it is not mapped.
fn mark_of(header: &Record, mapping: &Mapping) -> Option<usize> {
    let last = (0..header.width()).rfind(|place| !header.field(*place).trim().is_empty())?;
    let name = header.field(last).trim();
    (MARKS.contains(&name) && !mapping.maps_to(name)).then_some(last)
}

/// What a report of a file with these columns calls its own.
pub(crate) fn mark_beside<'a>(mut columns: impl Iterator<Item = &'a str>) -> &'static str {
    let [mark, other] = MARKS;
    if columns.any(|name| normal(name) == mark) {
        other
    } else {
        mark
    }
}

/// A header without what people write differently.
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
