//! What a file that people export says: a proposal of upload fields that read it, with the evidence for each, and what cannot be decided.
//!
//! The order of the steps: `beginning` finds delimiter and header in the beginning of the file (`structure`) → `passes` reads all rows: `profile`
//! collects what all cells of each column have in common → `proposal` chooses columns and formats, by the headers of well-known systems
//! (`exports`), by a dictionary of names in eight languages (`names`, `lookup`) and by what the cells are → `trial` reads all rows by the proposal,
//! as an upload would, adds them up, and looks for what only rows can show (`check`, `totals`,
//! `future`).
//!
//! A proposal is certain only if the file leaves one reading. What the caller has declared is taken as certain.
//! What was confirmed for another file with the same header decides only what the file leaves open.
//!
//! Architecture invariants: nothing is stored or appended; memory does not grow with the file, except by bounded samples of each column; every
//! reading of cells is that of `annals-csv`, so a proposal is what an upload does.

mod beginning;
mod check;
mod choice;
mod currency_words;
mod exports;
mod future;
mod header_kinds;
mod inspection;
mod lookup;
mod names;
mod passes;
mod profile;
mod proposal;
mod structure;
mod total_words;
mod totals;
mod trial;

pub use self::beginning::{Beginning, Extent, Report, is_about_reading, report_of};
pub use self::choice::{ColumnChoice, Doubt, Finding};
pub use self::inspection::{Inspection, inspect};
pub use self::trial::{Refusal, ShownRow, Total, Trial};
