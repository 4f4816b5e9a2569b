//! Identities of rows: the id that they bring, or else their content, and which of the equal rows of the file this one is.
//!
//! The same file again gives the same identities, whatever its columns' order or the way its amounts are written, so that it
//! appends nothing; two equal sales of one file stay two.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

use annals::domain::AggregateId;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::row::RowFault;

/// What a row says, as a hash. (Two contents that share 64 bits of it would only be numbered as if they were equal.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content([u8; 32]);

impl Content {
    /// The content of an event's data.
    pub(crate) fn of(data: &Map<String, Value>) -> Self {
        // Members are sorted, so equal content is equal text.
        Self(Sha256::digest(serde_json::to_vec(data).unwrap_or_default()).into())
    }

    /// The content of text.
    pub(crate) fn of_text(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Stands for it where occurrences are counted.
    pub(crate) fn key(&self) -> u64 {
        self.0.iter().take(8).fold(0, |key, byte| (key << 8) | u64::from(*byte))
    }

    /// The identity of the row that is this content's so-and-so-many-th of the file.
    ///
    /// # Errors
    /// None in practice; ids are fallible by type.
    pub(crate) fn id(&self, times: u32) -> Result<AggregateId, RowFault> {
        let mut id = String::from("csv-");
        for byte in &self.0[..16] {
            // Writing to a string cannot fail.
            let _ = write!(id, "{byte:02x}");
        }
        let _ = write!(id, "-{times}");
        AggregateId::try_from(id).map_err(|fault| RowFault::of_row("invalid_id", format!("the row's identity {fault}")))
    }
}

/// Which contents a pass over a file has met, in some ten to twenty bytes each: the one thing that grows with the file, and only
/// where rows bring no ids. Passes that hold a file to its end have a bound of rows, a million at most; what lanes import beyond that is
/// counted in the database instead.
#[derive(Default)]
pub(crate) struct Occurrences {
    once: HashSet<u64>,
    repeated: HashMap<u64, u32>,
}

/// Which ids a pass over a file has met: as large as [`Occurrences`], and only where rows bring ids. (An id that shared 64 bits of
/// its hash with another would be taken for it, and its row refused if it changes something: nothing would be lost silently.)
#[derive(Default)]
pub(crate) struct Met(HashSet<u64>);

impl Met {
    /// Whether an earlier row had this id.
    pub(crate) fn meets_again(&mut self, id: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        !self.0.insert(hasher.finish())
    }
}

impl Occurrences {
    /// The identity of the next row with this content.
    ///
    /// # Errors
    /// None in practice; ids are fallible by type.
    pub(crate) fn identify(&mut self, data: &Map<String, Value>) -> Result<AggregateId, RowFault> {
        let content = Content::of(data);
        content.id(self.count(content.key()))
    }

    /// How often this content has been met, now included.
    pub(crate) fn count(&mut self, key: u64) -> u32 {
        if self.once.insert(key) {
            return 1;
        }
        let times = self.repeated.entry(key).or_insert(1);
        *times += 1;
        *times
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_rows_are_numbered_and_files_repeat_themselves() {
        let row = |cents: i64| {
            json!({"amount_cents": cents, "currency": "USD"})
                .as_object()
                .cloned()
                .expect("an object")
        };
        let ids = || {
            let mut seen = Occurrences::default();
            [5, 6, 5, 5].map(|cents| seen.identify(&row(cents)).expect("an id").as_str().to_owned())
        };
        let first = ids();
        assert_eq!(first, ids());
        assert!(first[0].starts_with("csv-") && first[0].ends_with("-1") && first[1].ends_with("-1"));
        assert!(first[2].ends_with("-2") && first[3].ends_with("-3"));
        assert_eq!(first[0].trim_end_matches("-1"), first[2].trim_end_matches("-2"));
        assert_ne!(first[0], first[1]);
    }
}
