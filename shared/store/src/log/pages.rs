//! Pages of events that are limited by bytes. A page of a thousand events might have 250 MB of data otherwise.

use tokio_postgres::Row;

use crate::StoreError;

/// [`PAGE_BYTES`] as a literal, for statements.
macro_rules! page_bytes {
    () => {
        4194304
    };
}

/// Maximum bytes of a page's items: the limit of a Lambda response, less what base64 and the rest of the body take.
pub const PAGE_BYTES: usize = page_bytes!();

/// A page of rows of `annals.events` (with `head_projected`) as events, in their order, cut at [`PAGE_BYTES`] of text: the row
/// that reaches them is the last. `offset 0` makes PostgreSQL convert each value to text only once.
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
 where running_bytes - bytes < ",
            page_bytes!(),
            " order by ",
            $($order),+
        )
    };
}

/// A page of a stream's events for a fold, ordered by version, cut at [`PAGE_BYTES`] of text in the same way.
macro_rules! cut_facts {
    ($($page:expr),+ $(,)?) => {
        concat!(
            "
select * from (
select p.*, octet_length(p.data) as bytes, sum(octet_length(p.data)) over (order by p.aggregate_version rows unbounded preceding) as running_bytes
  from (",
            $($page),+,
            ") as p) as w
 where running_bytes - bytes < ",
            page_bytes!(),
            " order by aggregate_version"
        )
    };
}

pub(crate) use {cut_by_bytes, cut_facts, page_bytes};

/// Whether a page that is cut at [`PAGE_BYTES`] ends with this row because it is full. A page that is cut by a guess of its size first
/// has a column for that, too.
pub(crate) fn is_full(last: &Row) -> Result<bool, StoreError> {
    let has = |name| last.columns().iter().any(|column| column.name() == name);
    Ok((has("is_last") && last.try_get("is_last")?)
        || (has("running_bytes") && last.try_get::<_, i64>("running_bytes")? >= page_bytes!()))
}
