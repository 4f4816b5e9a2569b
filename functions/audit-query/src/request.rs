//! What several handlers read from a request, or check of its caller.

use annals_domain::Caller;
use annals_http::{ApiError, Cursor, Params};
use annals_store::Order;

/// Takes `cursor`: the key of the last item that the caller has, for a list whose keys are text.
pub(crate) fn after_key(params: &mut Params, cursor: &Cursor) -> Result<Option<String>, ApiError> {
    params.one("cursor")?.map(|text| cursor.decode(&text)).transpose()
}

/// Takes `cursor`: the key of the last item that the caller has, for a list whose keys are numbers.
pub(crate) fn after_number(params: &mut Params, cursor: &Cursor) -> Result<Option<i64>, ApiError> {
    params
        .one("cursor")?
        .map(|text| cursor.decode_number(&text))
        .transpose()
}

/// Takes `order`: `asc` or `desc`, newest first by default.
pub(crate) fn order(params: &mut Params) -> Result<Order, ApiError> {
    let order = params.read("order", "must be asc or desc", |value| match value {
        "asc" => Some(Order::Asc),
        "desc" => Some(Order::Desc),
        _ => None,
    })?;
    Ok(order.unwrap_or(Order::Desc))
}

/// 403 for callers who may not see their whole tenant.
pub(crate) fn require_tenant_reader(caller: &Caller) -> Result<(), ApiError> {
    match caller.role().sees_tenant() {
        true => Ok(()),
        false => Err(ApiError::forbidden(
            "staff_or_service_only",
            "only staff and services may read this",
        )),
    }
}
