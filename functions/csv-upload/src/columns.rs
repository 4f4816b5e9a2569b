//! Columns: ours, and where a file has them.

use crate::dataset::Dataset;
use crate::fault::FileFault;
use crate::options::Mapping;
use crate::records::Record;

macro_rules! columns {
    ($($column:ident $name:literal,)*) => {
        /// A column of some dataset.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Column {
            $(#[doc = concat!("`", $name, "`")] $column,)*
        }

        impl Column {
            const COUNT: usize = [$(Self::$column),*].len();

            /// Its name in files, templates and mappings.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$column => $name,)*
                }
            }
        }
    };
}

columns! {
    SaleDate "sale_date",
    Amount "amount",
    UnitPrice "unit_price",
    SaleId "sale_id",
    CustomerId "customer_id",
    Product "product",
    Quantity "quantity",
    Category "category",
    Currency "currency",
    Notes "notes",
}

/// Where a file has which of our columns.
#[derive(Debug)]
pub(crate) struct Layout {
    headers: Vec<String>,
    places: [Option<usize>; Column::COUNT],
}

impl Layout {
    /// Finds a dataset's columns in a file's header: as the upload maps them, or else by their own names, whatever their case
    /// and whether with spaces or underscores.
    ///
    /// # Errors
    /// No header, two alike, or not the columns that the dataset requires.
    pub(crate) fn find(dataset: &Dataset, mapping: &Mapping, header: &Record) -> Result<Self, FileFault> {
        let headers: Vec<String> = header.fields().map(|name| name.trim().to_owned()).collect();
        let names: Vec<String> = headers.iter().map(|name| normal(name)).collect();
        let mut layout = Self {
            headers,
            places: [None; Column::COUNT],
        };
        for column in dataset.columns {
            if let Some(Some(mapped)) = mapping.of(*column) {
                layout.places[*column as usize] = Some(layout.place_of(mapped.trim(), &names).ok_or_else(|| {
                    let message = format!("no column is called {mapped:?}, to which {} is mapped", column.name());
                    FileFault::new("missing_columns", message).at(header.line())
                })?);
            }
        }
        let mapped = layout.places;
        for column in dataset.columns.iter().filter(|column| mapping.of(**column).is_none()) {
            let place = names.iter().position(|name| name == column.name());
            layout.places[*column as usize] = place.filter(|place| !mapped.contains(&Some(*place)));
        }
        layout
            .check(dataset, mapping, &names)
            .map_err(|fault| fault.at(header.line()))?;
        Ok(layout)
    }

    fn place_of(&self, header: &str, names: &[String]) -> Option<usize> {
        let exactly = self.headers.iter().position(|name| name == header);
        exactly.or_else(|| names.iter().position(|name| *name == normal(header)))
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
        let twice = names
            .iter()
            .enumerate()
            .find(|(place, name)| !name.is_empty() && names[..*place].contains(name));
        if let Some((place, _)) = twice {
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
        self.place(column).is_some()
    }

    /// Where the file has a column, from 0.
    pub(crate) fn place(&self, column: Column) -> Option<usize> {
        self.places[column as usize]
    }

    /// What the file calls a column; its own name where the file lacks it.
    pub(crate) fn header(&self, column: Column) -> &str {
        self.place(column).map_or(column.name(), |place| &self.headers[place])
    }

    /// The headers of columns that are not read.
    pub(crate) fn ignored(&self) -> Vec<String> {
        let unread = |(place, name): &(usize, &String)| !self.places.contains(&Some(*place)) && !name.is_empty();
        self.headers
            .iter()
            .enumerate()
            .filter(unread)
            .map(|(_, name)| name.clone())
            .collect()
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
#[path = "columns_tests.rs"]
mod tests;
