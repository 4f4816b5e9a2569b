//! The states at the ends of pages of histories.
//!
//! A reader of a long history asks for one page after the other, and usually the same process answers. It would fold the stream up to the
//! page each time, from a snapshot up to a thousand events before. So it remembers the state after each page, as text: parsed, a state may
//! take a hundred times the memory. What is remembered follows from the log, which never changes, and from what is compared here: the
//! catalog's revision, and how many events staff had left out, which is never taken back.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use annals_domain::TenantId;

use crate::read_models::stored_entity::EntityText;

/// Maximum number of states.
const MOST: usize = 32;
/// Maximum bytes of one state. Larger ones are folded again.
const MOST_BYTES: usize = 128 * 1024;

/// The end of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageEnd {
    /// Tenant of the stream.
    pub tenant_id: TenantId,
    /// Aggregate type.
    pub aggregate_type: String,
    /// Id of the aggregate.
    pub aggregate_id: String,
    /// Version of the page's last event.
    pub version: i32,
    /// Revision of the catalog that the page was folded by.
    pub revision: i64,
    /// How many of the events up to the end staff had left out of the state.
    pub skipped: i32,
}

/// The last pages that this process has read.
#[derive(Default)]
pub(crate) struct PageEnds {
    /// Oldest first.
    kept: Mutex<VecDeque<(PageEnd, EntityText)>>,
}

impl PageEnds {
    /// The state at this end, if it is remembered. It stays remembered, because a reader may ask for a page again.
    pub(crate) fn state_at(&self, end: &PageEnd) -> Option<EntityText> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .find(|(known, _)| known == end)
            .map(|(_, state)| state.clone())
    }

    /// Remembers a state. If there are too many, the oldest one is forgotten.
    pub(crate) fn remember(&self, end: PageEnd, state: EntityText) {
        if state.bytes() > MOST_BYTES {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| *known != end);
        kept.push_back((end, state));
        if kept.len() > MOST {
            kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use annals_domain::{Entity, Timestamp};
    use serde_json::json;

    use super::*;

    fn end(version: i32) -> PageEnd {
        PageEnd {
            tenant_id: TenantId::DEFAULT,
            aggregate_type: "sale".to_owned(),
            aggregate_id: "S-1".to_owned(),
            version,
            revision: 1,
            skipped: 0,
        }
    }

    fn state(note: &str) -> EntityText {
        let mut entity = Entity::before(Timestamp::now());
        entity.state.insert("note".to_owned(), json!(note));
        EntityText::from(&entity)
    }

    #[test]
    fn a_state_is_found_only_at_the_same_end() {
        let ends = PageEnds::default();
        ends.remember(end(100), state("a"));
        assert_eq!(ends.state_at(&end(100)).unwrap().entity().unwrap().state["note"], "a");
        let others = [
            end(101),
            PageEnd {
                revision: 2,
                ..end(100)
            },
            PageEnd { skipped: 1, ..end(100) },
            PageEnd {
                aggregate_id: "S-2".to_owned(),
                ..end(100)
            },
            PageEnd {
                tenant_id: TenantId::from(uuid::Uuid::max()),
                ..end(100)
            },
        ];
        for other in others {
            assert!(ends.state_at(&other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn memory_is_limited() {
        let ends = PageEnds::default();
        ends.remember(end(0), state(&"x".repeat(MOST_BYTES)));
        assert!(ends.state_at(&end(0)).is_none());
        for version in 1..=40 {
            ends.remember(end(version), state("a"));
        }
        assert!(ends.state_at(&end(8)).is_none());
        assert!(ends.state_at(&end(9)).is_some());
    }
}
