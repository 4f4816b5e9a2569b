//! CSV upload: a file's rows become events.
//!
//! One way through: `form` takes the request apart and `options` reads its fields → `reader` turns a stream of bytes into
//! records (`decode`: bytes to text, `records`: text to records) → `columns` finds our columns in the header → `row` and the
//! dataset (`sales`) turn a record into facts or into faults that name their place → `upload` gathers chunks of rows, `plan`
//! compares each with what is known of its entity, and the chunk's events are appended in one transaction → `answer`.
//!
//! Architecture invariants: nothing after the form depends on the file being in memory; every pass over a file does the same,
//! whatever chunks its bytes come in; each row ends as accepted, updated, duplicate or rejected, and as exactly one of them.

mod amount;
mod answer;
mod columns;
mod dataset;
mod date;
mod decode;
mod fault;
mod form;
mod handler;
mod identity;
mod number;
mod options;
mod plan;
mod reader;
mod records;
mod row;
mod sales;
mod template;
mod upload;

pub use handler::router;
