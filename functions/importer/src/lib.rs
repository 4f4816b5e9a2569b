//! The function importer: imports large files. Its invocations become calls of the import engine.
//!
//! Architecture invariant: what an invocation says is only a hint. An event of the bucket may come twice, late or never, and may name
//! objects of no upload. A tick of the schedule finds every import that is due, so no event is needed.

mod invocation;

use std::time::Duration;

pub use self::invocation::{Invocation, handle};

/// How long an invocation may take: the `Timeout` in template.yaml. Lambda sends the deadline as well, but as a time of day, and the
/// function's clock may be wrong.
pub const TIME: Duration = Duration::from_secs(900);
