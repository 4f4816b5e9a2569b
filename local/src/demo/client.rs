//! The demo's HTTP client: it appends events, changes entities, and reads histories.

use super::story::Actor;
use crate::Error;
use crate::secrets::JwtSecret;
use crate::token;
use chrono::TimeDelta;
use reqwest::{Client, Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;

/// Timeout of a request: long enough for a batch on a slow machine, and short enough if another program holds the port and does not answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The API of a server on this machine.
pub(super) struct Api {
    client: Client,
    root: String,
    secret: JwtSecret,
}

/// A stored event, as far as the demo needs it.
#[derive(Debug, Deserialize)]
pub(super) struct Stored {
    pub(super) id: String,
    pub(super) event_number: i64,
    pub(super) event_type: String,
}

#[derive(Deserialize)]
struct Items {
    items: Vec<Stored>,
}

impl Api {
    /// A client for plain HTTP to this machine. It uses no proxy of the environment and loads no certificates, which a minimal container
    /// lacks.
    pub(super) fn new(port: u16, secret: JwtSecret) -> Result<Self, Error> {
        let client = Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .timeout(REQUEST_TIMEOUT)
            .build();
        let client = client.map_err(|source| Error::Request {
            doing: "set up the HTTP client".to_owned(),
            source,
        })?;
        Ok(Self {
            client,
            root: format!("http://127.0.0.1:{port}/api/v1"),
            secret,
        })
    }

    /// Appends one event or a batch as `actor`. Returns the stored events in the same order; on a retry, those that were stored the first
    /// time.
    pub(super) async fn append(&self, actor: &Actor, mut events: Vec<Value>) -> Result<Vec<Stored>, Error> {
        if events.len() == 1 {
            return Ok(vec![self.call(actor, Method::POST, "/events", events.pop()).await?]);
        }
        let batch = json!({"events": events});
        let stored: Items = self.call(actor, Method::POST, "/events", Some(batch)).await?;
        if stored.items.len() == events.len() {
            return Ok(stored.items);
        }
        Err(Error::Invalid(format!(
            "{} events were posted, but the answer has {}",
            events.len(),
            stored.items.len()
        )))
    }

    /// Creates, changes or deletes an entity. The entity in the answer is not used.
    pub(super) async fn entity(
        &self,
        actor: &Actor,
        method: Method,
        path: &str,
        fields: Option<&Value>,
    ) -> Result<(), Error> {
        let path = format!("/entities/{path}");
        self.send(actor, method, &path, fields.cloned()).await.map(|_| ())
    }

    /// The events of a stream, oldest first. Empty if the stream does not exist.
    pub(super) async fn history(
        &self,
        actor: &Actor,
        aggregate_type: &str,
        aggregate_id: &str,
    ) -> Result<Vec<Stored>, Error> {
        let path = format!("/events/aggregate/{aggregate_type}/{aggregate_id}/history");
        match self.call::<Items>(actor, Method::GET, &path, None).await {
            Ok(history) => Ok(history.items),
            Err(Error::Refused { status: 404, .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Number of the tenant's newest event; 0 if there is none.
    pub(super) async fn newest_event_number(&self) -> Result<i64, Error> {
        let path = "/events?order=desc&limit=1";
        let newest: Items = self.call(&Actor::Staff(1), Method::GET, path, None).await?;
        Ok(newest.items.first().map_or(0, |stored| stored.event_number))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        actor: &Actor,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<T, Error> {
        let doing = format!("read the answer of {method} {path}");
        let answer = self.send(actor, method, path, body).await?;
        answer.json().await.map_err(|source| Error::Request { doing, source })
    }

    async fn send(
        &self,
        actor: &Actor,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<reqwest::Response, Error> {
        let doing = format!("{method} {path}");
        let token = token::mint(&self.secret, actor.holder(), TimeDelta::hours(1))?;
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.root))
            .bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let unreachable = |source| Error::Request {
            doing: format!("{doing} (is `cargo run` running?)"),
            source,
        };
        let answer = request.send().await.map_err(unreachable)?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::UNAUTHORIZED => Err(Error::Invalid(
                "the server refuses the demo's tokens: it uses another ANNALS_DATA_DIR or JWT_SECRET".to_owned(),
            )),
            status => {
                let body = answer.text().await.unwrap_or_default().chars().take(600).collect();
                Err(Error::Refused {
                    doing,
                    status: status.as_u16(),
                    body,
                })
            }
        }
    }
}
