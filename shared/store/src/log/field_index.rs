//! Fills the index by which lists find events with a value of a field (see the migration `field_index`).

use tokio_postgres::types::Type;

use crate::connection::statement::{As, Param};
use crate::{Store, StoreError};

/// Maximum number of event numbers that one transaction covers.
const WINDOW: i32 = 2_000;

const INDEX_NEW_EVENTS: &str = "-- index_new_events
select annals.index_new_events($1, $2) as position";
const FILL_FIELD_INDEX: &str = "-- fill_field_index
select annals.fill_field_index($1) as is_left";

impl Store {
    /// Adds new events up to a high-water mark to the index, in one transaction at most so many that it stays short. Returns the event number
    /// that is reached.
    pub async fn index_new_events(&self, up_to: i64) -> Result<i64, StoreError> {
        let params: [Param<'_>; 2] = [(&up_to, Type::INT8), (&WINDOW, Type::INT4)];
        let row = self.write_row(As::Projector, INDEX_NEW_EVENTS, &params).await?;
        Ok(row.try_get("position")?)
    }

    /// One step of what registrations have left to do: adds events that are older than the declaration of a field, or removes the values of
    /// a field that is not declared any more. Returns false if there is nothing to do.
    pub async fn fill_field_index(&self) -> Result<bool, StoreError> {
        let params: [Param<'_>; 1] = [(&WINDOW, Type::INT4)];
        let row = self.write_row(As::Projector, FILL_FIELD_INDEX, &params).await?;
        Ok(row.try_get("is_left")?)
    }
}
