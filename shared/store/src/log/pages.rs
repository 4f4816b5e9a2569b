//! Pages of events that are limited by bytes. A page of a thousand events might have 250 MB of data otherwise.

use tokio_postgres::Row;

use crate::StoreError;

/// A page of rows of `annals.events` (with `head_projected`) as events, in their order, cut at 4 MiB of text: the row that reaches 4
/// MiB is the last. `offset 0` makes PostgreSQL convert each value to text only once.
macro_rules! cut_by_bytes {
    ([$($order:literal),+], [$($more:expr),*]; $($page:tt)*) => {
        concat!(
            "
select * from (
select p.*, octet_length(p.data) + octet_length(p.metadata) + octet_length(p.recorded) as bytes,
       sum(octet_length(p.data) + octet_length(p.metadata) + octet_length(p.recorded)) over (order by ",
            $($order),+,
            " rows unbounded preceding) as running_bytes
  from (select ",
            event_columns!(),
            actor_name!(),
            $($more,)*
            " from (",
            $($page)*,
            ") as e
  cross join lateral (select e.head_projected as projected_version) as h",
            withheld_context!(),
            " offset 0) as p) as cut
 where running_bytes - bytes < 4194304 order by ",
            $($order),+
        )
    };
}

/// A page of a stream's events for a fold, ordered by version, cut at 4 MiB of text in the same way.
macro_rules! cut_facts {
    ($($page:expr),+ $(,)?) => {
        concat!(
            "
select * from (
select p.*, octet_length(p.data) as bytes, sum(octet_length(p.data)) over (order by p.aggregate_version rows unbounded preceding) as running_bytes
  from (",
            $($page),+,
            ") as p) as w
 where running_bytes - bytes < 4194304 order by aggregate_version"
        )
    };
}

pub(crate) use {cut_by_bytes, cut_facts};

/// Whether a page that is cut by bytes ends with this row because it is full.
pub(crate) fn is_full(last: &Row) -> Result<bool, StoreError> {
    match last.columns().iter().any(|column| column.name() == "running_bytes") {
        true => Ok(last.try_get::<_, i64>("running_bytes")? >= PAGE_BYTES),
        false => Ok(false),
    }
}

/// The limit in [`cut_by_bytes`].
const PAGE_BYTES: i64 = 4 << 20;
