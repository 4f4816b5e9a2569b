//! What all rows of a file say together, and no single row: which sign is the decimal mark, and whether the declared order of day and month is
//! that of the file.
//!
//! `1.000` is a thousand or one. If other numbers of the file can be read with a point only, it is one; if none of them decides, or some
//! contradict, such numbers are refused row by row.

use crate::cells::marks_of;
use crate::columns::Kind;
use crate::dataset::Dataset;
use crate::date::DateFormat;
use crate::fault::FileFault;
use crate::layout::Layout;
use crate::number::DecimalMark;
use crate::options::ValueOptions;
use crate::records::Record;

/// Reads all rows of a file before any of them is taken.
pub struct Judge<'a> {
    layout: &'a Layout,
    values: &'a ValueOptions,
    /// The places of columns with numbers, as long as it is not known how they are written.
    numbers: Vec<usize>,
    has_points: bool,
    has_commas: bool,
    /// The column with days and their format with day and month in the other order, until there is a day that only the declared order reads.
    swapped: Option<(usize, DateFormat)>,
    /// Days that the other order reads.
    days: u64,
    /// Those of them that the declared order does not read.
    unread: u64,
    /// The first of these, and its line.
    first_unread: Option<(String, u64)>,
}

impl<'a> Judge<'a> {
    /// A judge of a file with this layout.
    pub fn new(dataset: &Dataset, layout: &'a Layout, values: &'a ValueOptions) -> Self {
        let places = |is_wanted: fn(Kind) -> bool| {
            let wanted = dataset.columns.iter().filter(move |column| is_wanted(column.kind()));
            wanted.filter_map(|column| layout.place_of(*column))
        };
        let is_number = |kind| matches!(kind, Kind::Amount | Kind::Price | Kind::Quantity);
        let numbers = || {
            let of_two = layout.amounts().into_iter().flat_map(|(debit, credit)| [debit, credit]);
            places(is_number).chain(of_two).collect()
        };
        let day = places(|kind| kind == Kind::Day).next();
        Self {
            layout,
            values,
            numbers: match values.decimal {
                None => numbers(),
                Some(_) => Vec::new(),
            },
            has_points: false,
            has_commas: false,
            swapped: day.zip(values.date_format.swapped()),
            days: 0,
            unread: 0,
            first_unread: None,
        }
    }

    /// Reads a row.
    pub fn read(&mut self, record: &Record) {
        if self.numbers.is_empty() && self.swapped.is_none() {
            return;
        }
        let record = &*self.layout.bare(record);
        let cell = |place: usize| self.layout.text(record, place);
        for text in self.numbers.iter().filter_map(|place| cell(*place)) {
            match marks_of(text) {
                (true, false) => self.has_points = true,
                (false, true) => self.has_commas = true,
                _ => {}
            }
        }
        if self.has_points && self.has_commas {
            self.numbers.clear();
        }
        let Some((place, swapped)) = &self.swapped else { return };
        let Some(text) = cell(*place) else { return };
        match (swapped.reads(text), self.values.date_format.reads(text)) {
            (true, true) => self.days += 1,
            (true, false) => {
                self.days += 1;
                self.unread += 1;
                self.first_unread
                    .get_or_insert_with(|| (text.to_owned(), record.line()));
            }
            (false, true) => self.swapped = None,
            // It is no day in either order, and its row is refused.
            (false, false) => {}
        }
    }

    /// The decimal mark of the file; `None` if it does not decide.
    ///
    /// # Errors
    /// The declared order of day and month leaves days unread that the other order reads, and there is none of which the opposite is true.
    pub fn finish(self) -> Result<Option<DecimalMark>, FileFault> {
        if let (Some((_, swapped)), Some((text, line))) = (&self.swapped, &self.first_unread) {
            let (declared, days, unread) = (&self.values.date_format, self.days, self.unread);
            let message = format!(
                "{unread} of the file's {days} days, such as {text}, cannot be read as {declared}, and all of them can as {swapped}: set \
                 date_format={swapped} if that is right, and correct those days otherwise"
            );
            return Err(FileFault::new("wrong_date_order", message).at(*line));
        }
        // If all numbers have a comma, the file is not read with a decimal comma unless the upload declares it. The errors of its rows say so.
        let is_decided = self.has_points && !self.has_commas;
        Ok(self.values.decimal.or(is_decided.then_some(DecimalMark::Point)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::SALES;
    use crate::options::read_options;

    fn judge(fields: &[(&str, &str)], rows: &[&str]) -> Result<Option<DecimalMark>, &'static str> {
        let options = read_options(fields, &SALES);
        let record = |text: &str| Record::of(&text.split('|').map(str::to_owned).collect::<Vec<_>>());
        let header = record("sale_date|amount|quantity");
        let layout = Layout::find(&SALES, &options, &header).expect("a header");
        let mut judge = Judge::new(&SALES, &layout, &options.values);
        rows.iter().for_each(|row| judge.read(&record(row)));
        judge.finish().map_err(|fault| fault.code)
    }

    #[test]
    fn numbers_are_judged_together() {
        let point = Ok(Some(DecimalMark::Point));
        for (rows, mark) in [
            (&["d|1.000|1", "d|12.50|1"][..], point),
            (&["d|1.000|1", "d|7|1,234.5"], point),
            (&["d|1.000|1", "d|12,50|1"], Ok(None)),
            (&["d|1.50|1", "d|12,50|1"], Ok(None)),
            (&["d|1.000|1,500", "d|99|2"], Ok(None)),
            (&["d|0.125|1"], point),
            (&["d|five|"], Ok(None)),
        ] {
            assert_eq!(judge(&[], rows), mark, "{rows:?}");
        }
        assert_eq!(judge(&[("decimal", ",")], &["d|1.50|1"]), Ok(Some(DecimalMark::Comma)));
    }

    #[test]
    fn the_order_of_day_and_month_must_not_be_contradicted() {
        let rows = ["05/01/2026|1|1", "|2|1", "n/a|3|1", "25/01/2026|4|1"];
        assert_eq!(judge(&[("date_format", "%m/%d/%Y")], &rows), Err("wrong_date_order"));
        assert_eq!(judge(&[("date_format", "%d/%m/%Y")], &rows), Ok(None));
        // Neither order reads all of them: each row is refused by itself.
        let both = ["25/01/2026|1|1", "01/25/2026|2|1"];
        assert_eq!(judge(&[("date_format", "%m/%d/%Y")], &both), Ok(None));
    }
}
