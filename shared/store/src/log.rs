//! The log: appending events and reading them.

pub(crate) mod append;
pub(crate) mod audited;
pub(crate) mod checkpoints;
pub(crate) mod compensation_status;
pub(crate) mod events;
pub(crate) mod feed;
pub(crate) mod field_index;
pub(crate) mod history;
pub(crate) mod kept_keys;
pub(crate) mod minutes;
pub(crate) mod page_ends;
pub(crate) mod pages;
pub(crate) mod replays;
