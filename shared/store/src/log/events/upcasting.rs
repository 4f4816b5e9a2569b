//! Events of older schema versions become events of the current version when they are read.

use crate::Usage;
use annals_domain::{Catalog, Event};

/// Upcasts events of older versions and counts them.
pub(crate) fn upcast<'a>(catalog: &Catalog, events: impl Iterator<Item = &'a mut Event>) -> Usage {
    let mut usage = Usage::default();
    events.for_each(|event| upcast_event(catalog, event, &mut usage));
    usage
}

/// Upcasts an event of an older version and counts it. An event without a path to the current version stays as stored: even if the catalog
/// was damaged, the event must be visible.
pub(super) fn upcast_event(catalog: &Catalog, event: &mut Event, usage: &mut Usage) {
    let Some(kind) = catalog.find(event.tenant_id, &event.event_type) else {
        return;
    };
    match event.upcast(kind) {
        Ok(was_upcast) => usage.upcasts += i64::from(was_upcast),
        Err(error) => {
            tracing::warn!(event.id = %event.id, %error, "event not upcast");
            usage.upcasts_failed += 1;
        }
    }
}
