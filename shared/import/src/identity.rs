//! Identities of rows. A row with an id column is known by its id. Any other row is known by its content and by its number among the equal
//! rows of the file.
//!
//! The same file sent again gives the same identities, even with its columns in another order or its amounts in another notation, so it
//! appends nothing. Two equal sales of one file are two sales.

use std::collections::{HashMap, HashSet};

use annals_csv::RowFault;
use annals_domain::{AggregateId, hex};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The hash of a row's data. If two contents had the same first 64 bits, their rows would be counted together. Their ids would still
/// differ, because an id has 128 bits of the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content([u8; 32]);

impl Content {
    /// The content of an event's data.
    pub fn of(data: &Map<String, Value>) -> Self {
        // The members of a map are sorted, so equal data have equal text.
        Self(Sha256::digest(serde_json::to_vec(data).unwrap_or_default()).into())
    }

    /// The content of text.
    pub fn of_text(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// The first 64 bits, by which occurrences are counted.
    pub fn key(&self) -> u64 {
        self.0.iter().take(8).fold(0, |key, byte| (key << 8) | u64::from(*byte))
    }

    /// The id of the row that is the `times`-th with this content in the file: `csv-{hash}-{times}`.
    ///
    /// # Errors
    /// It never fails in practice: the text is always a valid id.
    pub fn id(&self, times: u32) -> Result<AggregateId, RowFault> {
        let id = format!("csv-{}-{times}", hex::encode(&self.0[..16]));
        AggregateId::try_from(id).map_err(|fault| RowFault::of_row("invalid_id", format!("the row's identity {fault}")))
    }
}

/// How many times each content, or id, has occurred in a pass over a file, in ten to twenty bytes per content. It is all that grows with
/// the file. Such passes have a limit of rows, a million at most; partitions of larger imports count in the database instead. If two ids
/// had the same first 64 bits of their hash, a row that changes the second would be rejected as a repeated id, so it would not be lost
/// silently.
#[derive(Default)]
pub struct Occurrences {
    once: HashSet<u64>,
    repeated: HashMap<u64, u32>,
}

impl Occurrences {
    /// Counts an occurrence of a content; returns how many times it has occurred, including this time.
    pub fn count(&mut self, key: u64) -> u32 {
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
            [5, 6, 5, 5].map(|cents| {
                let content = Content::of(&row(cents));
                let id = content.id(seen.count(content.key())).expect("an id");
                id.as_str().to_owned()
            })
        };
        let first = ids();
        assert_eq!(first, ids());
        assert!(first[0].starts_with("csv-") && first[0].ends_with("-1") && first[1].ends_with("-1"));
        assert!(first[2].ends_with("-2") && first[3].ends_with("-3"));
        assert_eq!(first[0].trim_end_matches("-1"), first[2].trim_end_matches("-2"));
        assert_ne!(first[0], first[1]);
    }
}
