//! Names of the tables that a rebuild creates.

use std::collections::HashMap;

use tokio_postgres::types::Type;

use crate::connection::statement::As;
use crate::read_models::work::StateTables;
use crate::{Store, StoreError};

/// Names of a rebuild's tables.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Tables {
    pub(super) entities: String,
    /// The entities' own tables, by aggregate type.
    pub(super) states: HashMap<String, String>,
    /// Tables of child collections, and no others.
    pub(super) children: StateTables,
}

const LIST_SHADOW_TABLES: &str = "-- list_shadow_tables
select aggregate_type, collection, shadow from annals.shadow_tables($1) order by aggregate_type, collection";

impl Tables {
    /// The names, whether the tables exist yet or not.
    pub(super) async fn list(store: &Store, id: i32) -> Result<Self, StoreError> {
        let rows = store
            .read(As::Projector, LIST_SHADOW_TABLES, &[(&id, Type::INT4)])
            .await?;
        let mut tables = Self::default();
        for row in &rows {
            let (table, of): (String, Option<String>) = (row.try_get("shadow")?, row.try_get("aggregate_type")?);
            match (of, row.try_get::<_, Option<String>>("collection")?) {
                (None, _) => tables.entities = table,
                (Some(of), None) => drop(tables.states.insert(of, table)),
                (Some(of), Some(collection)) => {
                    let of_type = tables.children.children.entry(of).or_default();
                    of_type.push((collection, table));
                }
            }
        }
        Ok(tables)
    }
}
