//! Counts of the rows of an upload.

use std::iter::Sum;
use std::ops::Add;

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// What became of the rows of an upload, or of one of its partitions. Each row is counted as exactly one of accepted, rejected, duplicate
/// and updated.
///
/// As JSON it has the members that answers and events share: `rows_total`, `rows_accepted`, `rows_rejected`, `rows_duplicate`,
/// `rows_updated`, `rows_rounded`, `events_appended`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Rows that became new entities.
    pub accepted: i64,
    /// Rows that were rejected.
    pub rejected: i64,
    /// Rows that change nothing, because they were imported before or all their values are known.
    pub duplicate: i64,
    /// Rows that changed known entities.
    pub updated: i64,
    /// Rows with an amount that had fractions of a minor unit.
    pub rounded: i64,
    /// Rejected rows that the report holds.
    pub reported: i64,
    /// Errors of rejected rows, in the report or not.
    pub errors: i64,
    /// Events that were appended.
    pub appended: i64,
}

impl RowCounts {
    /// Rows that were processed.
    pub fn total(&self) -> i64 {
        self.accepted + self.rejected + self.duplicate + self.updated
    }

    /// The counts if rejected rows make an upload fail as a whole: rows that would have appended events count as rejected, too.
    #[must_use]
    pub fn refused(self) -> Self {
        Self {
            accepted: 0,
            updated: 0,
            rounded: 0,
            appended: 0,
            rejected: self.rejected + self.accepted + self.updated,
            ..self
        }
    }
}

impl Add for RowCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            accepted: self.accepted + other.accepted,
            rejected: self.rejected + other.rejected,
            duplicate: self.duplicate + other.duplicate,
            updated: self.updated + other.updated,
            rounded: self.rounded + other.rounded,
            reported: self.reported + other.reported,
            errors: self.errors + other.errors,
            appended: self.appended + other.appended,
        }
    }
}

impl Sum for RowCounts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Self::add)
    }
}

impl Serialize for RowCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_struct("RowCounts", 7)?;
        members.serialize_field("rows_total", &self.total())?;
        members.serialize_field("rows_accepted", &self.accepted)?;
        members.serialize_field("rows_rejected", &self.rejected)?;
        members.serialize_field("rows_duplicate", &self.duplicate)?;
        members.serialize_field("rows_updated", &self.updated)?;
        members.serialize_field("rows_rounded", &self.rounded)?;
        members.serialize_field("events_appended", &self.appended)?;
        members.end()
    }
}
