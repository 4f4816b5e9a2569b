//! The result of a run, for the person or the deployment that invoked the function.

use serde::Serialize;

/// The result of a run.
#[derive(Debug, Serialize)]
pub struct Done {
    /// Names of the migrations that this run applied, in order.
    pub applied: Vec<String>,
    /// Names of migrations that are applied in the database and that this function does not know. This happens when a deployment is rolled
    /// back: a newer version has migrated the database before.
    pub ahead: Vec<String>,
    /// `unchanged` if the login of the functions worked before, `set` if it did not work before and works now. `None` if no login is
    /// configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_login: Option<&'static str>,
}
