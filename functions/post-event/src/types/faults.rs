//! Faults of a registration.

use std::fmt::Display;

use annals_domain::event::FieldFault;

/// Adds a fault of a field of the body.
pub(super) fn fault(faults: &mut Vec<FieldFault>, field: &str, detail: impl Into<String>) {
    faults.push(FieldFault::new(format!("/{field}"), "invalid_value", detail));
}

/// The value that was parsed; if there is none, adds a fault that says why.
pub(super) fn parsed<T, E: Display>(result: Result<T, E>, field: &str, faults: &mut Vec<FieldFault>) -> Option<T> {
    result.map_err(|error| fault(faults, field, error.to_string())).ok()
}
