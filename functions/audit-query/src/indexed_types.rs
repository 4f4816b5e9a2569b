//! Which event types a list by a field of the data searches in.

use std::collections::BTreeSet;

use annals_domain::event::FieldFault;
use annals_domain::{Caller, Catalog, EventKind};
use annals_http::ApiError;

/// The types that declare the field as indexed, of those that names and patterns (`order.*`) name or, without any, of all.
///
/// # Errors
/// 422 `field_not_indexed` if none does, or if a type that is named does not: its events might have the value, and the list would not show them.
pub(crate) fn types_with_field(
    catalog: &Catalog,
    caller: &Caller,
    names: &[String],
    aggregate_type: Option<&str>,
    field: &str,
) -> Result<Vec<String>, ApiError> {
    let tenant = caller.tenant_id();
    let named: BTreeSet<String> = match names {
        [] => catalog
            .list(tenant)
            .iter()
            .map(|kind| kind.event_type.as_str().to_owned())
            .collect(),
        names => catalog.resolve(Some(tenant), names).types.into_iter().collect(),
    };
    let considered: Vec<&EventKind> = named
        .iter()
        .filter_map(|name| catalog.find(tenant, name))
        .map(AsRef::as_ref)
        .filter(|kind| aggregate_type.is_none_or(|wanted| kind.aggregate_type.as_str() == wanted))
        .collect();
    let declares = |kind: &&EventKind| kind.indexed.contains(field);
    let found: Vec<String> = considered
        .iter()
        .filter(|kind| declares(kind))
        .map(|kind| kind.event_type.as_str().to_owned())
        .collect();
    let refused = considered
        .iter()
        .find(|kind| !declares(kind) && names.iter().any(|name| name == kind.event_type.as_str()));
    match (refused, found.is_empty()) {
        (Some(kind), _) => Err(not_indexed(field, kind.event_type.as_str(), &[*kind])),
        (None, true) => Err(not_indexed(field, "any of these event types", &considered)),
        (None, false) => Ok(found),
    }
}

fn not_indexed(field: &str, of: &str, kinds: &[&EventKind]) -> ApiError {
    let indexed: BTreeSet<&str> = kinds
        .iter()
        .flat_map(|kind| &kind.indexed)
        .map(String::as_str)
        .collect();
    let indexed = match indexed.is_empty() {
        true => "no field is".to_owned(),
        false => format!("indexed are {}", Vec::from_iter(indexed).join(", ")),
    };
    let detail = format!(
        "data.{field} is not indexed for {of}; {indexed}. To index a field, register a new version of the type with it in indexed \
         (POST /api/v1/events/types)"
    );
    let fault = FieldFault::new(format!("?data.{field}"), "field_not_indexed", "is not an indexed field");
    ApiError::unprocessable("field_not_indexed", detail, vec![fault])
}
