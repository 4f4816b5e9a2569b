//! Records kept by generic CRUD instead of posted events: the API computes the events.
//!
//! A record's script is resumed where its stream ends, so a second run, or one after a broken first, does only what is
//! left. (A key per request would not do: what a PATCH emits depends on the state that it finds.)

use super::client::{Api, Stored};
use super::story::{Actor, decimal};
use crate::Error;
use reqwest::Method;
use serde_json::{Value, json};

/// One record and what is done to it; every step emits exactly one event.
struct Record {
    aggregate_type: &'static str,
    aggregate_id: &'static str,
    steps: Vec<Step>,
}

enum Step {
    Create(Value),
    Change(Value),
    Delete,
}

/// Brings every record to the end of its script and returns the events of all.
pub(super) async fn keep(api: &Api) -> Result<Vec<Stored>, Error> {
    let editor = Actor::Staff(2);
    let mut stored = Vec::new();
    for record in records() {
        let done = api
            .history(&editor, record.aggregate_type, record.aggregate_id)
            .await?
            .len();
        for step in record.steps.iter().skip(done) {
            take(api, &editor, &record, step).await?;
        }
        stored.extend(api.history(&editor, record.aggregate_type, record.aggregate_id).await?);
    }
    Ok(stored)
}

async fn take(api: &Api, editor: &Actor, record: &Record, step: &Step) -> Result<(), Error> {
    let one = format!("{}/{}", record.aggregate_type, record.aggregate_id);
    match step {
        Step::Create(fields) => {
            api.entity(editor, Method::POST, record.aggregate_type, Some(fields))
                .await
        }
        Step::Change(fields) => api.entity(editor, Method::PATCH, &one, Some(fields)).await,
        Step::Delete => api.entity(editor, Method::DELETE, &one, None).await,
    }
}

fn records() -> Vec<Record> {
    vec![
        Record {
            aggregate_type: "customer",
            aggregate_id: "CUST-9001",
            steps: vec![
                Step::Create(
                    json!({"id": "CUST-9001", "name": "Sahyadri Farms Collective", "segment": "Agriculture",
                                    "email": "office@sahyadrifarms.example", "country": "India"}),
                ),
                Step::Change(json!({"phone": "+91-20-5550-1142"})),
                Step::Change(json!({"email": "accounts@sahyadrifarms.example", "segment": "Cooperative"})),
            ],
        },
        Record {
            aggregate_type: "product",
            aggregate_id: "PROD-9001",
            steps: vec![
                Step::Create(
                    json!({"id": "PROD-9001", "sku": "ACC-FLOAT-SWITCH-5M", "name": "Float Switch, 5 m cable",
                                    "category": "Accessories", "base_price": decimal(44_900), "currency": "INR"}),
                ),
                Step::Change(json!({"description": "Stops the pump before it runs dry."})),
            ],
        },
        Record {
            aggregate_type: "dealer",
            aggregate_id: "DEAL-9001",
            steps: vec![
                Step::Create(json!({"id": "DEAL-9001", "name": "Konkan Irrigation Stores", "territory": "Ratnagiri"})),
                Step::Change(json!({"territory": "Ratnagiri and Sindhudurg"})),
                Step::Delete,
            ],
        },
    ]
}
