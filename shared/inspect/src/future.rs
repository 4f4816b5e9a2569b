//! Days that are far in the future. Most are typing errors, or years of two digits that were meant otherwise.

use chrono::{Months, NaiveDate, Utc};
use serde_json::Value;

use crate::choice::Proposal;

/// How far in the future a day may be. Some invoices and subscriptions have later days than today.
const MAX_MONTHS: u32 = 12;

/// The days that are too late.
#[derive(Debug)]
pub struct Future {
    /// The latest day that is not asked about.
    latest: NaiveDate,
    rows: u64,
    /// The first day that is too late, with its physical line.
    first: Option<(NaiveDate, u64)>,
}

impl Future {
    /// From today, by the system's clock.
    pub fn from_today() -> Self {
        let today = Utc::now().date_naive();
        Self {
            latest: today
                .checked_add_months(Months::new(MAX_MONTHS))
                .unwrap_or(NaiveDate::MAX),
            rows: 0,
            first: None,
        }
    }

    /// Looks at the day of a row.
    pub fn read(&mut self, day: NaiveDate, line: u64) {
        if day > self.latest {
            self.rows += 1;
            self.first.get_or_insert((day, line));
        }
    }

    /// Notes a doubt if a day is too late.
    pub fn finish(&self, proposal: &mut Proposal) {
        let Some((day, line)) = self.first else { return };
        let message = format!(
            "{} rows have a day that is more than a year in the future, the first on line {line}: {day}",
            self.rows
        );
        proposal.doubt("date_format", message, Vec::<Value>::new());
    }
}
