//! CSV upload: a file's rows become events.
//!
//! One way through: `form` takes the request apart and `options` reads its fields → `reader` turns a stream of bytes into
//! records (`decode`: bytes to text, `records`: text to records) → `layout` finds the dataset's columns in the header → `row` and
//! `facts` turn a record into facts or into faults that name their place → `upload` gathers chunks of rows, `plan` compares each
//! with what is known of its entity, and the chunk's events are appended in one transaction → `answer`, and the `report` of refused
//! rows, which comes back as a file when they have been put right.
//!
//! What a file can be is a table in `dataset`: columns with their kinds. Nothing else knows one dataset from another.
//!
//! Architecture invariants: nothing after the form depends on the file being in memory; every pass over a file does the same,
//! whatever chunks its bytes come in; each row ends as accepted, updated, duplicate or rejected, and as exactly one of them.

mod amount;
mod answer;
mod chunk;
mod columns;
mod dataset;
mod date;
mod decode;
mod dictionary;
mod errors;
mod facts;
mod fault;
mod form;
mod formula;
mod handler;
mod identity;
pub mod import;
mod large;
mod layout;
mod money;
mod number;
mod options;
mod plan;
mod reader;
mod records;
mod report;
mod row;
mod template;
mod upload;

pub use handler::router;
pub use import::Importer;
