//! Contents and ids that have occurred in a pass over the whole file by one partition. Kept in memory; the number of rows is limited.

use std::collections::{HashMap, HashSet};

use crate::chunk::{Chunk, ReadRow};
use crate::identity::{Content, Occurrences};
use crate::job::Job;

/// What has occurred so far.
#[derive(Default)]
pub(crate) struct Seen {
    contents: Occurrences,
    ids: Occurrences,
}

impl Seen {
    /// Makes a chunk of the next rows, with its repeated ids marked.
    pub(crate) fn open(&mut self, job: &Job, rows: Vec<ReadRow>) -> Chunk {
        let mut earlier = HashMap::new();
        for key in rows.iter().filter_map(ReadRow::content_key) {
            let times = i32::try_from(self.contents.count(key.cast_unsigned())).unwrap_or(i32::MAX);
            earlier.entry(key).or_insert(times - 1);
        }
        let mut chunk = Chunk::new(rows, earlier);
        if job.layout.identity(job.dataset).is_some() {
            let is_seen = |id: &&str| self.ids.count(Content::of_text(id).key()) > 1;
            let ids = chunk.ids().into_iter();
            let seen: HashSet<String> = ids.filter(is_seen).map(str::to_owned).collect();
            chunk.mark_repeats(&seen);
        }
        chunk
    }
}
