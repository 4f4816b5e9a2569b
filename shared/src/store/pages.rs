//! Pages of events that end by bytes: a thousand events may have 250 MB of data.

use tokio_postgres::Row;

use super::StoreError;

/// A page of rows of `annals.events` (with `head_projected`), in their order, as events, cut where it has 4 MiB of text: the row that
/// comes to that is the last. `offset 0` lets each text be made once.
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

/// A page of a stream's facts, in the order of versions, cut likewise.
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

pub(super) use {cut_by_bytes, cut_facts};

/// Whether a page that is cut by bytes ends with this row for their sake.
pub(super) fn is_full(last: &Row) -> Result<bool, StoreError> {
    match last.columns().iter().any(|column| column.name() == "running_bytes") {
        true => Ok(last.try_get::<_, i64>("running_bytes")? >= PAGE_BYTES),
        false => Ok(false),
    }
}

/// As in [`cut_by_bytes`].
const PAGE_BYTES: i64 = 4 << 20;
