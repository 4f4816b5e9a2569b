//! What a rebuild or a verification covers, and what it is for.

use annals_domain::{AggregateType, TenantId};

/// Which read models a rebuild or a verification covers. An absent field does not limit it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RebuildScope {
    /// Only this tenant.
    pub tenant_id: Option<TenantId>,
    /// Only this aggregate type.
    pub aggregate_type: Option<AggregateType>,
}

/// What a fold from zero is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Replace the live read models by the result.
    Rebuild,
    /// Compare the live read models with the result.
    Verify,
}

/// A server's default time limits for transactions are meant for requests. Only the newest servers have the last of these settings.
pub(super) const NO_TIME_LIMITS: &str = "-- remove_time_limits
select set_config(s.name, '0', true) from pg_settings s
 where s.name in ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')";
