//! Entities that are changed by generic CRUD instead of posted events. The API computes the events.
//!
//! The steps of an entity are continued where its stream ends, so a second run, or one after a failed run, does only the steps that are
//! left. (An idempotency key per request is not enough, because the events of a PATCH depend on the state that it finds.)

use super::client::{Api, Stored};
use super::story::{Actor, decimal};
use crate::Error;
use reqwest::Method;
use serde_json::{Value, json};

/// One entity and its changes. Every step appends exactly one event.
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

/// Does the steps that are left, for all entities, and returns all their events.
pub(super) async fn apply_all(api: &Api) -> Result<Vec<Stored>, Error> {
    let editor = Actor::Staff(2);
    let mut stored = Vec::new();
    for record in records() {
        let done = api
            .history(&editor, record.aggregate_type, record.aggregate_id)
            .await?
            .len();
        for step in record.steps.iter().skip(done) {
            apply(api, &editor, &record, step).await?;
        }
        stored.extend(api.history(&editor, record.aggregate_type, record.aggregate_id).await?);
    }
    Ok(stored)
}

async fn apply(api: &Api, editor: &Actor, record: &Record, step: &Step) -> Result<(), Error> {
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
