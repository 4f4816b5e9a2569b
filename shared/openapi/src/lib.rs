//! The OpenAPI 3.1 document of the HTTP API.
//!
//! `document/` has one file per resource, written by hand, and `problems.json` with every problem code. They are put together when the
//! document is first asked for (`assemble`), so a process that is never asked pays nothing. `docs/design/contract.md` says why it is made this
//! way, and which tests hold it against the routers.

mod assemble;
mod problems;
mod tenant;

use std::sync::LazyLock;

use serde_json::Value;

pub use problems::ProblemCode;
pub use tenant::for_caller;

/// The document for every caller.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(assemble::assemble);
    &DOCUMENT
}

/// The same as JSON text.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());
    &TEXT
}

/// Every problem code, by name. The document is not put together for it.
pub fn problem_codes() -> &'static [ProblemCode] {
    static CODES: LazyLock<Vec<ProblemCode>> = LazyLock::new(assemble::problem_codes);
    &CODES
}
