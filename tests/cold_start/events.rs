//! The first event of each function. All but that of `console` need the database.

use serde_json::json;
use tests::{Person, Target, recorded};
use uuid::Uuid;

/// Where a function sends messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// To the wake-up queue.
    WakeUps,
    /// It sends none.
    None,
}

/// The role that a function logs in as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// `annals_api`.
    Api,
    /// The migrating role, without a pooler.
    Owner,
}

/// A function and its first event.
pub struct Function {
    /// Its name in the report.
    pub name: &'static str,
    /// Its binary.
    pub binary: &'static str,
    /// Whether the template gives it the wake-up queue.
    pub queue: Queue,
    /// The role that it logs in as.
    pub login: Login,
    /// What it should reach; only functions that someone waits for have a target.
    pub target: Option<Target>,
    event: fn(usize) -> String,
}

impl Function {
    /// The event of one round.
    pub fn event(&self, round: usize) -> String {
        (self.event)(round)
    }
}

/// All functions.
pub const FUNCTIONS: [Function; 9] = [
    Function {
        name: "post-event: an append",
        binary: "post-event",
        queue: Queue::WakeUps,
        login: Login::Api,
        target: Some(Target::COLD_START),
        event: append,
    },
    Function {
        name: "audit-query: a history",
        binary: "audit-query",
        queue: Queue::None,
        login: Login::Api,
        target: Some(Target::COLD_START),
        event: |_| history(),
    },
    Function {
        name: "csv-upload: a file of two rows",
        binary: "csv-upload",
        queue: Queue::WakeUps,
        login: Login::Api,
        target: Some(Target::COLD_START),
        event: upload,
    },
    Function {
        name: "console: a page",
        binary: "console",
        queue: Queue::None,
        login: Login::Api,
        target: Some(Target::COLD_START),
        event: |_| recorded::get_page("/docs").to_string(),
    },
    Function {
        name: "projector: a wake-up",
        binary: "projector",
        queue: Queue::None,
        login: Login::Api,
        target: Some(Target::COLD_START),
        event: |_| wake_up(),
    },
    Function {
        name: "projector: the sweep",
        binary: "projector",
        queue: Queue::None,
        login: Login::Api,
        target: None,
        event: |_| recorded::tick().to_string(),
    },
    Function {
        name: "rebuilder: nothing due",
        binary: "projector",
        queue: Queue::None,
        login: Login::Api,
        target: None,
        event: |_| json!({"rebuilds": {}}).to_string(),
    },
    Function {
        name: "importer: nothing due",
        binary: "importer",
        queue: Queue::WakeUps,
        login: Login::Api,
        target: None,
        event: |_| json!({"imports": {}}).to_string(),
    },
    Function {
        name: "migrate: nothing to do",
        binary: "migrate",
        queue: Queue::None,
        login: Login::Owner,
        target: None,
        event: |_| "{}".to_owned(),
    },
];

/// Appends the events that the other functions are asked for.
const AGGREGATE: &str = "123e4567-e89b-12d3-a456-426614174000";

fn history() -> String {
    recorded::get_history(&Person::staff(), AGGREGATE).to_string()
}

/// A wake-up for a stream that is not projected.
fn wake_up() -> String {
    let streams = json!({"streams": [[Uuid::nil(), "product", AGGREGATE]]});
    recorded::wake_up(&streams.to_string()).to_string()
}

/// A new product each time, because a retry would be answered without an append. The first is the one that is asked for.
fn append(round: usize) -> String {
    let aggregate = match round {
        0 => AGGREGATE.to_owned(),
        later => format!("product-{later}"),
    };
    let event = json!({
        "event_type": "product.created", "aggregate_type": "product", "aggregate_id": aggregate,
        "data": {"sku": "SUBM-05HP", "name": "0.5HP Submersible Pump", "base_price": 5999},
        "idempotency_key": format!("round-{round}"),
    });
    recorded::post(&Person::staff(), "/events", "application/json", &event.to_string()).to_string()
}

fn upload(round: usize) -> String {
    let file = format!("sale_id,sale_date,amount\nA-{round},2026-01-01,10.00\nB-{round},2026-01-02,20.00\n");
    recorded::post(&Person::staff(), "/data/upload-sales-csv", "text/csv", &file).to_string()
}
