//! The 404 of an entity that does not exist, or that the caller may not see.

use annals_domain::Caller;
use annals_http::ApiError;

use crate::App;

/// 404. It says whether the aggregate type or the entity is missing.
pub(crate) async fn not_found(app: &App, caller: &Caller, aggregate_type: &str, aggregate_id: &str) -> ApiError {
    match check_type_exists(app, caller, aggregate_type).await {
        Err(unknown) => unknown,
        Ok(()) => ApiError::no_such_entity(aggregate_type, aggregate_id),
    }
}

/// 404 if no event type of the tenant belongs to such entities. Reads the catalog again only if the cached one does not have the type.
pub(crate) async fn check_type_exists(app: &App, caller: &Caller, aggregate_type: &str) -> Result<(), ApiError> {
    let tenant = caller.tenant_id();
    let is_known = app.store.outline(caller).await?.knows_aggregate(tenant, aggregate_type)
        || app
            .store
            .fresh_outline(caller)
            .await?
            .knows_aggregate(tenant, aggregate_type);
    match is_known {
        true => Ok(()),
        false => Err(ApiError::no_such_kind(aggregate_type)),
    }
}
