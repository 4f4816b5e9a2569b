//! Statements, and the role of the transaction that runs them.

use annals_domain::Caller;
use tokio_postgres::types::{ToSql, Type};

/// A parameter with its type. The type must be given because no statement is prepared, so the server is not asked for it.
pub(crate) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// A statement with its own parameters, for transactions whose number of statements is known only at run time.
pub(crate) struct Statement<'a> {
    pub(crate) sql: &'static str,
    params: Vec<(Box<dyn ToSql + Send + Sync + 'a>, Type)>,
}

impl<'a> Statement<'a> {
    pub(crate) fn new(sql: &'static str) -> Self {
        let params = Vec::new();
        Self { sql, params }
    }

    /// Adds the next parameter.
    pub(crate) fn with(mut self, value: impl ToSql + Send + Sync + 'a, kind: Type) -> Self {
        self.params.push((Box::new(value), kind));
        self
    }

    pub(crate) fn params(&self) -> Vec<Param<'_>> {
        self.params
            .iter()
            .map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone()))
            .collect()
    }
}

/// The role of a transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) enum As<'a> {
    /// The caller of a request: role `authenticated` with the caller's claims.
    Caller(&'a Caller),
    /// The projector: role `annals_projector`.
    Projector,
}

/// Gives a transaction the projector's role and removes the login's statement timeout. Without statistics the planner overestimates rows,
/// and compiling a statement just in time then takes longer than the statement.
pub(crate) const AS_PROJECTOR: &str =
    "set local role annals_projector; set local statement_timeout = 0; set local jit = off";

pub(crate) const SET_CLAIMS: &str = "-- set_claims\nselect set_config('request.jwt.claims', $1, true)";

impl As<'_> {
    /// The words that begin a transaction. Statements of requests have the login's time limit (migration `time_limits`). Statements of
    /// the projector have none: it folds whole batches and waits for rebuilds, and the timeout of its function is the limit. A
    /// transaction that only reads sees one snapshot.
    pub(crate) fn begin(self, writes: Writes) -> &'static str {
        match (self, writes) {
            (Self::Caller(_), Writes::No) => {
                "begin isolation level repeatable read read only; set local role authenticated"
            }
            (Self::Caller(_), Writes::Yes) => "begin; set local role authenticated",
            (Self::Projector, Writes::No) => {
                "begin isolation level repeatable read read only; set local role annals_projector; set local statement_timeout = 0; set local jit = off"
            }
            (Self::Projector, Writes::Yes) => {
                "begin; set local role annals_projector; set local statement_timeout = 0; set local jit = off"
            }
        }
    }

    /// The claims of the caller, as [`SET_CLAIMS`] sets them.
    pub(crate) fn claims(self) -> Option<String> {
        match self {
            Self::Caller(caller) => Some(caller.database_claims().to_string()),
            Self::Projector => None,
        }
    }
}

/// Whether a transaction may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// It only reads.
    No,
    /// It writes.
    Yes,
}
