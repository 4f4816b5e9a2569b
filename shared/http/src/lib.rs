//! HTTP: requests become domain types, and results become responses or problems.

mod accept;
mod body;
mod caller;
mod compression;
mod cursor;
mod entity;
mod error;
mod etag;
mod framing;
pub mod gateway;
mod idempotency;
mod layers;
mod links;
mod page;
mod params;
mod path;
mod written_json;

pub use accept::{accepts_gzip, preferred};
pub use body::{JsonBody, MAX_BODY_BYTES, NoBody, PatchBody, unreadable_body};
pub use caller::{Authenticated, RequestContext};
pub use cursor::Cursor;
pub use entity::EntityAnswer;
pub use error::{ApiError, MAX_ERRORS, Problem};
pub use etag::{digest_of, required_versions, revalidated, unless_known};
pub use framing::Framing;
pub use gateway::serve;
pub use idempotency::{idempotency_key, marked_if_replayed};
pub use layers::{finish, unreadable_request};
pub use links::NextPage;
pub use page::{Listed, Page};
pub use params::{Limit, Params};
pub use path::{Path, encoded};
pub use written_json::WrittenJson;
