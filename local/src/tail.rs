//! `cargo run -- events tail`: prints events as they are recorded.
//!
//! It reads the database and not the HTTP API. A cursor of the API is opaque, so `--after` could not be a number, and a caller of the API
//! sees one tenant. Like `replay`, it works with any database that Annals runs on, deployed or local.

use crate::database::Database;
use crate::environment::Environment;
use crate::{Error, output, replay};
use annals::follow::{begin, follow};
use annals::replay::ReplayError;
use annals_domain::{Event, TenantId};
use annals_store::{Selection, Store};
use clap::Args;
use std::convert::Infallible;
use std::fmt::Write;
use uuid::Uuid;

/// One connection is enough: there is one reader.
const CONNECTIONS: usize = 1;

/// Arguments of `events tail`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Only events of this type, or of all types of a pattern such as order.*; repeatable
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Begin after the event with this number; 0 for the whole log [default: the end of the log]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(0..))]
    after: Option<i64>,
    /// Only events of this tenant [default: all tenants]
    #[arg(long, value_name = "UUID")]
    tenant: Option<Uuid>,
    /// Print whole events as lines of JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command until a signal, an error, or until the reader of the output closes it.
pub async fn run(environment: &Environment, arguments: Arguments) -> Result<(), Error> {
    let database = Database::of_running_server(environment).await?;
    let store = database.store(CONNECTIONS)?;
    database.run(tail(&store, arguments)).await
}

async fn tail(store: &Store, arguments: Arguments) -> Result<(), Error> {
    let json = arguments.json;
    let selection = Selection {
        tenant_id: arguments.tenant.map(TenantId::from),
        event_types: Some(arguments.types).filter(|types| !types.is_empty()),
        ..Selection::default()
    };
    let start = begin(store, &selection, arguments.after).await;
    let start = start.map_err(|source| Error::Follow(Box::new(source)))?;
    eprintln!("following the log after event number {start}; Ctrl-C ends");
    let print = move |events: Vec<Event>| async move {
        match json {
            true => replay::print(events).await,
            false => output::lines(described(&events).into_bytes()).await,
        }
    };
    let ended: Result<Infallible, _> = follow(store, &selection, start, print).await;
    match ended {
        Ok(never) => match never {},
        Err(ReplayError::Handler(error)) => Err(error),
        Err(other) => Err(Error::Follow(Box::new(other))),
    }
}

/// A line for each event: number, recorded time, type, stream and version, actor. No text that a client chose freely, because it could have
/// control characters.
fn described(events: &[Event]) -> String {
    let mut lines = String::new();
    for event in events {
        // Writing to a string cannot fail.
        let _written = writeln!(
            lines,
            "{}  {}  {}  {}/{} v{}  {}",
            event.event_number,
            event.created_at,
            event.event_type,
            event.aggregate_type,
            event.aggregate_id,
            event.aggregate_version,
            event.created_by
        );
    }
    lines
}
