//! Checking data against a JSON Schema: draft 2020-12. Formats are asserted, and numbers are compared exactly.
//!
//! Only functions that append events or register types are built with this (the feature `schema-check`): it brings in `jsonschema`.

use std::sync::atomic::{AtomicUsize, Ordering};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::explain::explain;
use super::fault::FieldFault;
use super::validator::compile_smallest;
use super::weight::count_values;

pub use super::explain::MAX_FAULTS;
pub use super::validator::{pattern_bytes, patterns_of, weight_of};

/// Does in advance what the first [`Checker`] of a process would do: it loads the schemas of the drafts, which takes
/// milliseconds.
pub fn warm_up() {
    // The schema has a keyword, an expression and a format, because each of them loads something that `true` would not load.
    let _ready = Checker::compile(&json!({"properties": {"any": {"pattern": "^.$", "format": "date"}}}));
}

/// Maximum number of steps that a check may take: the weight of the schema times the number of values in the data. A step takes some
/// nanoseconds.
pub const MAX_STEPS: usize = 30_000_000;

/// A compiled schema that checks data.
#[derive(Debug)]
pub struct Checker {
    validator: Validator,
    schema: Box<str>,
    weight: usize,
    /// Estimated bytes of memory.
    pub(super) footprint: usize,
}

impl Checker {
    /// Compiles a schema. References to anything outside of the schema are not followed.
    ///
    /// # Errors
    /// Why it is not a usable JSON Schema.
    pub fn compile(schema: &Value) -> Result<Self, String> {
        let (validator, pattern_bytes) = compile_smallest(schema)?;
        let text = schema.to_string();
        Ok(Self {
            validator,
            weight: weight_of(schema).max(1),
            footprint: COMPILED * text.len() + pattern_bytes,
            schema: text.into(),
        })
    }

    /// Checks data against the schema.
    ///
    /// # Errors
    /// Each place that the schema refuses, at most [`MAX_FAULTS`]. Or `too_much_to_check`, if the check would take more than
    /// [`MAX_STEPS`].
    pub fn check(&self, data: &Map<String, Value>) -> Result<(), Vec<FieldFault>> {
        let data = Value::Object(data.clone());
        if self.weight.saturating_mul(count_values(&data)) > MAX_STEPS {
            let detail = "has too many values for a schema of this size; send less in one event";
            return Err(vec![FieldFault::new("", "too_much_to_check", detail)]);
        }
        if self.validator.is_valid(&data) {
            return Ok(());
        }
        let schema = serde_json::from_str(&self.schema).unwrap_or_default();
        Err(explain(&schema, &self.validator, &data))
    }
}

/// A compiled schema takes this many times the memory of its text, without its expressions.
const COMPILED: usize = 32;
/// Estimated bytes of memory that all cached compiled schemas may take together. A schema that does not fit is compiled for each
/// check.
const MAX_CACHED_BYTES: usize = 64 << 20;
static RESERVED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// A reservation of bytes out of [`MAX_CACHED_BYTES`], released when it is dropped.
#[derive(Debug)]
pub(super) struct Reservation(usize);

impl Reservation {
    pub(super) fn of(bytes: usize) -> Option<Self> {
        let before = RESERVED_BYTES.fetch_add(bytes, Ordering::Relaxed);
        let reservation = Self(bytes);
        // If there is not enough left, the reservation is dropped here and so released.
        (before + bytes <= MAX_CACHED_BYTES).then_some(reservation)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        RESERVED_BYTES.fetch_sub(self.0, Ordering::Relaxed);
    }
}
