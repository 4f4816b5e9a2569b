//! Whether a caller may import a dataset.

use annals_csv::Dataset;
use annals_domain::{Caller, Catalog};
use annals_store::{Store, StoreError};

/// The first event type of the dataset that the caller may not post; `None` if the caller may post all. Checked before an import, because a
/// file whose rows are all known or rejected appends nothing, so no append would refuse it.
///
/// # Errors
/// The database's.
pub async fn forbidden_event_type(
    store: &Store,
    caller: &Caller,
    dataset: &Dataset,
) -> Result<Option<&'static str>, StoreError> {
    if forbidden(&*store.catalog(caller).await?, caller, dataset).is_none() {
        return Ok(None);
    }
    // The catalog in memory may be older than the permission.
    Ok(forbidden(&*store.fresh_catalog(caller).await?, caller, dataset))
}

fn forbidden(catalog: &Catalog, caller: &Caller, dataset: &Dataset) -> Option<&'static str> {
    let may_post = |event_type: &&str| {
        let kind = catalog.find(caller.tenant_id(), event_type);
        kind.is_some_and(|kind| kind.posters.contains(&caller.role()))
    };
    [dataset.created, dataset.updated]
        .into_iter()
        .find(|event_type| !may_post(event_type))
}
