//! Read models: what the projector writes, and entities as callers read them.

pub(crate) mod entities;
pub(crate) mod facts;
pub(crate) mod json_text;
pub(crate) mod past;
pub(crate) mod progress;
pub(crate) mod projection;
pub(crate) mod snapshots;
pub(crate) mod state_row;
pub(crate) mod stored_entity;
pub(crate) mod tails;
pub(crate) mod work;
