//! Records which event numbers the events of a minute have, so that lists of a time range read only that range of the log (see the migrations
//! `event_minutes` and `event_pages`).

use tokio_postgres::types::Type;

use crate::connection::statement::{As, Param};
use crate::{Store, StoreError, SweepWindow};

const NOTED_POSITION: &str = "-- noted_position
select position from annals.noted_events";
const NOTE_MINUTES: &str = "-- note_minutes
select annals.note_minutes($1, $2)";

impl Store {
    /// Event number up to which minutes are recorded.
    pub async fn noted_position(&self) -> Result<i64, StoreError> {
        let row = self.read_row(As::Projector, NOTED_POSITION, &[]).await?;
        Ok(row.try_get("position")?)
    }

    /// Records the minutes of a window that begins at the recorded position and ends at a high-water mark. Does nothing if another
    /// process has recorded it.
    pub async fn note_minutes(&self, window: SweepWindow) -> Result<(), StoreError> {
        let params: [Param<'_>; 2] = [(&window.from, Type::INT8), (&window.to, Type::INT8)];
        self.write(As::Projector, NOTE_MINUTES, &params).await.map(|_| ())
    }
}
