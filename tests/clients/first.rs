//! The Rust recipe of docs/guide/clients.md, which shows everything below the next line. It is compiled here so that it costs no build of its
//! own; `tests/clients/run` runs it.
#![expect(clippy::print_stdout, reason = "it is an example")]

use std::collections::BTreeMap;
use std::error::Error;

use reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Entity {
    version: u32,
    state: Value,
}

#[derive(Deserialize)]
struct Page<Item> {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct AuditedEvent {
    event_type: String,
    created_by: String,
    metadata: BTreeMap<String, Value>,
    changes: Option<BTreeMap<String, Change>>,
}

#[derive(Deserialize)]
struct Change {
    old: Value,
    new: Value,
}

/// A refusal. Programs decide by `code`.
#[derive(Debug, Deserialize, thiserror::Error)]
#[error("{status} {code}: {detail}")]
struct Problem {
    status: u16,
    code: String,
    detail: String,
}

/// Sends the request and reads the answer.
async fn call<Answer: DeserializeOwned>(request: RequestBuilder) -> Result<Answer, Box<dyn Error>> {
    let answer = request.send().await?;
    match answer.status().is_success() {
        true => Ok(answer.json().await?),
        false => Err(answer.json::<Problem>().await?.into()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (url, token) = (std::env::var("ANNALS_URL")?, std::env::var("ANNALS_TOKEN")?);
    let (client, api) = (Client::new(), format!("{url}/api/v1"));
    let post = |event| client.post(format!("{api}/events")).bearer_auth(&token).json(&event);
    let get = |path: &str| client.get(format!("{api}{path}")).bearer_auth(&token);

    let _created: Value = call(post(json!({
        "event_type": "product.created", "aggregate_type": "product", "aggregate_id": "PUMP-05HP",
        "data": {"sku": "SUBM-05HP", "name": "Pump", "base_price": 5999.00},
    })))
    .await?;
    let _changed: Value = call(post(json!({
        "event_type": "product.price_changed", "aggregate_type": "product", "aggregate_id": "PUMP-05HP",
        "data": {"old_price": 5999.00, "new_price": 5499.00, "reason": "competitor_match"},
        "metadata": {"reason": "Acme sells it for 5,499"},
    })))
    .await?;

    let product: Entity = call(get("/entities/product/PUMP-05HP")).await?;
    println!("version {}, price {}", product.version, product.state["base_price"]);
    let audit: Page<AuditedEvent> = call(get("/audit/entity/PUMP-05HP?field=base_price&limit=1")).await?;
    for event in audit.items {
        let price = &event.changes.unwrap_or_default()["base_price"];
        println!(
            "{} by {}: {} was {}",
            event.event_type, event.created_by, price.new, price.old
        );
        println!("because {}", event.metadata["reason"]);
    }
    Ok(())
}
