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

/// [`PAGE_BYTES`] as a parameter of statements.
pub(crate) const MAX_BYTES: i64 = page_bytes!();

pub(crate) use page_bytes;

/// Whether a page that is cut at [`PAGE_BYTES`] ends with this row because it is full. A page that is cut by a guess of its size first
/// has a column for that, too.
pub(crate) fn is_full(last: &Row) -> Result<bool, StoreError> {
    let has = |name| last.columns().iter().any(|column| column.name() == name);
    Ok((has("is_last") && last.try_get("is_last")?)
        || (has("running_bytes") && last.try_get::<_, i64>("running_bytes")? >= page_bytes!()))
}
