//! Faults of a registration.

use annals_domain::event::FieldFault;

/// Adds a fault of a field of the body.
pub(super) fn fault(faults: &mut Vec<FieldFault>, field: &str, detail: String) {
    faults.push(FieldFault::new(format!("/{field}"), "invalid_value", detail));
}
