//! The row of an entity as the projector writes it.

use annals_domain::{Entity, StreamId};
use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;

use crate::connection::statement::Statement;

/// A row of an entity's own table.
#[derive(Debug)]
pub struct StateRow {
    /// The entity's stream.
    pub stream: StreamId,
    /// Actor of the stream's first event.
    pub started_by: String,
    /// The entity after this event.
    pub entity: Entity,
}

/// Columns of many entities, as parameters of a statement.
pub(crate) struct EntityColumns<'a> {
    versions: Vec<i32>,
    started_bys: Vec<&'a str>,
    deleted_ats: Vec<Option<DateTime<Utc>>>,
    created_ats: Vec<DateTime<Utc>>,
    updated_ats: Vec<DateTime<Utc>>,
    states: Vec<String>,
}

impl<'a> EntityColumns<'a> {
    pub(crate) fn of(entities: impl Iterator<Item = (&'a str, &'a Entity)>) -> Self {
        let mut columns = Self {
            versions: Vec::new(),
            started_bys: Vec::new(),
            deleted_ats: Vec::new(),
            created_ats: Vec::new(),
            updated_ats: Vec::new(),
            states: Vec::new(),
        };
        for (started_by, entity) in entities {
            columns.versions.push(entity.version);
            columns.started_bys.push(started_by);
            columns.deleted_ats.push(entity.deleted_at.map(|t| t.as_datetime()));
            columns.created_ats.push(entity.created_at.as_datetime());
            columns.updated_ats.push(entity.updated_at.as_datetime());
            columns.states.push(super::json_text::json_text(&entity.state));
        }
        columns
    }
    /// Adds the columns to a statement as its next six parameters.
    pub(crate) fn bind(self, to: Statement<'a>) -> Statement<'a> {
        to.with(self.versions, Type::INT4_ARRAY)
            .with(self.started_bys, Type::TEXT_ARRAY)
            .with(self.deleted_ats, Type::TIMESTAMPTZ_ARRAY)
            .with(self.created_ats, Type::TIMESTAMPTZ_ARRAY)
            .with(self.updated_ats, Type::TIMESTAMPTZ_ARRAY)
            .with(self.states, Type::TEXT_ARRAY)
    }
}
