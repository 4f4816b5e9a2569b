//! A client: sends random requests, repeats those that are answered 503, and checks the answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::Method;
use serde_json::{Value, json};
use tests::{Answer, ONCE, Person};

use crate::dice::Dice;
use crate::journal::Journal;
use crate::site::Site;

/// How long a client waits after a 503.
const PAUSE: Duration = Duration::from_millis(20);
/// How long it repeats a request.
const PATIENCE: Duration = Duration::from_secs(120);
/// Streams that all clients share.
const SHARED: usize = 12;
/// Rows in an upload.
const ROWS: usize = 40;
/// Events that a client remembers to send again.
const REMEMBERED: usize = 200;

/// A client.
pub struct Client {
    site: Arc<Site>,
    number: usize,
    staff: Person,
    dice: Dice,
    journal: Journal,
    counter: usize,
    sent: Vec<(Value, Value)>,
}

impl Client {
    pub fn new(site: Arc<Site>, number: usize, seed: u64) -> Self {
        Self {
            site,
            number,
            staff: Person::staff(),
            dice: Dice::new(seed, &format!("client {number}")),
            journal: Journal::default(),
            counter: 0,
            sent: Vec::new(),
        }
    }

    /// Sends requests until the end.
    pub async fn work(mut self, end: Instant) -> Journal {
        while Instant::now() < end {
            match self.dice.below(100) {
                0..40 => self.append().await,
                40..50 => self.append_batch().await,
                50..55 => self.read_gauge().await,
                55..70 => self.change().await,
                70..75 => self.create_and_delete().await,
                75..80 => self.upload().await,
                80..85 => self.send_once_more().await,
                85..90 => self.travel().await,
                _ => self.read().await,
            }
        }
        self.journal
    }

    /// Sends a request to a random process, and to others while it is answered 503.
    async fn ask(
        &mut self,
        kind: &'static str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let began = Instant::now();
        loop {
            let (site, place) = (Arc::clone(&self.site), self.dice.below(usize::MAX));
            let asked = Instant::now();
            let answer = site
                .answering(place)
                .world
                .request(method.clone(), &self.staff, path, headers, body.clone())
                .await;
            self.journal.note(kind, answer.status, asked.elapsed());
            if answer.status != 503 || began.elapsed() > PATIENCE {
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether the status is one of the allowed ones; otherwise it is recorded as a complaint.
    fn is_allowed(&mut self, kind: &str, answer: &Answer, statuses: &[u16]) -> bool {
        let fine = statuses.contains(&answer.status);
        if !fine {
            self.journal
                .complain(format!("{kind}: {} {}", answer.status, answer.text));
        }
        fine
    }

    fn once(&mut self) -> String {
        self.counter += 1;
        format!("{ONCE}{}-{}", self.number, self.counter)
    }

    fn event(&mut self) -> Value {
        let once = self.once();
        let id = match self.dice.below(3) {
            0 => format!("shared-{}", self.dice.below(SHARED)),
            1 => format!("own-{}-{}", self.number, self.dice.below(50)),
            _ => format!("new-{once}"),
        };
        json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id, "data": {"phone": once},
               "correlation_id": once, "idempotency_key": once})
    }

    async fn append(&mut self) {
        let event = self.event();
        let answer = self
            .ask("append", Method::POST, "/events", &[], Some(event.clone()))
            .await;
        if self.is_allowed("append", &answer, &[200, 201]) {
            self.site.ledger.acknowledge(&answer);
            if self.sent.len() < REMEMBERED {
                self.sent.push((event, answer.body["id"].clone()));
            }
        }
    }

    async fn append_batch(&mut self) {
        let events: Vec<Value> = (0..2 + self.dice.below(20)).map(|_| self.event()).collect();
        let answer = self
            .ask("batch", Method::POST, "/events", &[], Some(json!({"events": events})))
            .await;
        if self.is_allowed("batch", &answer, &[200, 201]) {
            self.site.ledger.acknowledge(&answer);
        }
    }

    /// Posts the type that evolves, at its first version; the type may not be registered yet.
    async fn read_gauge(&mut self) {
        let (once, id) = (self.once(), format!("G-{}", self.dice.below(SHARED)));
        let event = json!({"event_type": "gauge.read", "aggregate_type": "gauge", "aggregate_id": id, "version": "1.0",
                           "data": {"value1": self.counter}, "correlation_id": once, "idempotency_key": once});
        let answer = self
            .ask("append, evolving", Method::POST, "/events", &[], Some(event))
            .await;
        if self.is_allowed("append, evolving", &answer, &[200, 201, 422]) {
            match answer.status {
                // A retry is answered upcast, which differs from what is stored.
                201 => self.site.ledger.acknowledge(&answer),
                422 => self.site.ledger.refuse(&once),
                _ => {}
            }
        }
    }

    /// Changes an entity that other clients change too, at the version that was read.
    async fn change(&mut self) {
        let id = format!("entity-{}", self.dice.below(SHARED));
        let path = format!("/entities/customer/{id}");
        let found = self.ask("read entity", Method::GET, &path, &[], None).await;
        if found.status == 404 {
            let key = self.once();
            self.create(&id, &key, &[200, 201, 409]).await;
            return;
        }
        if !self.is_allowed("read entity", &found, &[200]) {
            return;
        }
        let (phone, version) = (self.once(), format!("\"{}\"", found.body["version"]));
        let headers = [("If-Match", version.as_str()), ("Idempotency-Key", phone.as_str())];
        let answer = self
            .ask(
                "change entity",
                Method::PATCH,
                &path,
                &headers,
                Some(json!({"phone": phone})),
            )
            .await;
        if self.is_allowed("change entity", &answer, &[200, 412]) && answer.status == 200 {
            self.site
                .other_acknowledgements
                .lock()
                .expect("no panic elsewhere")
                .phones
                .insert(phone);
        }
    }

    /// Creates an entity; returns whether the answer was allowed.
    async fn create(&mut self, id: &str, key: &str, statuses: &[u16]) -> bool {
        let body = json!({"id": id, "name": "Ada", "email": "ada@example.com"});
        let headers = [("Idempotency-Key", key)];
        let answer = self
            .ask(
                "create entity",
                Method::POST,
                "/entities/customer",
                &headers,
                Some(body),
            )
            .await;
        self.is_allowed("create entity", &answer, statuses)
    }

    async fn create_and_delete(&mut self) {
        let id = self.once();
        if self.create(&id, &format!("{id}/create"), &[200, 201]).await {
            let (path, key) = (format!("/entities/customer/{id}"), format!("{id}/delete"));
            let answer = self
                .ask(
                    "delete entity",
                    Method::DELETE,
                    &path,
                    &[("Idempotency-Key", &key)],
                    None,
                )
                .await;
            self.is_allowed("delete entity", &answer, &[200, 204]);
        }
    }

    /// Uploads rows, some of which were uploaded before.
    async fn upload(&mut self) {
        let first = self.dice.below(400);
        let ids: Vec<String> = (first..first + ROWS)
            .map(|row| format!("S-{}-{row}", self.number))
            .collect();
        let rows = ids.iter().map(|id| format!("{id},2026-01-01,{}.50\n", id.len()));
        let file = format!("sale_id,sale_date,amount\n{}", rows.collect::<String>());
        let began = Instant::now();
        let answer = loop {
            let (site, place) = (Arc::clone(&self.site), self.dice.below(usize::MAX));
            let asked = Instant::now();
            let answer = site.answering(place).world.upload_sales(&self.staff, &[], &file).await;
            self.journal.note("upload of 40 rows", answer.status, asked.elapsed());
            if answer.status != 503 || began.elapsed() > PATIENCE {
                break answer;
            }
            tokio::time::sleep(PAUSE).await;
        };
        if self.is_allowed("upload", &answer, &[200]) {
            let done = answer.body["rows_accepted"]
                .as_u64()
                .zip(answer.body["rows_duplicate"].as_u64());
            if done.is_none_or(|(accepted, duplicate)| accepted + duplicate != 40) {
                self.journal.complain(format!("upload: {}", answer.text));
            }
            self.site
                .other_acknowledgements
                .lock()
                .expect("no panic elsewhere")
                .sales
                .extend(ids);
        }
    }

    async fn send_once_more(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let (event, id) = self.dice.one(&self.sent).clone();
        let answer = self
            .ask("append, again", Method::POST, "/events", &[], Some(event))
            .await;
        if self.is_allowed("append, again", &answer, &[200]) && answer.body["id"] != id {
            self.journal
                .complain(format!("append, again: {id} has become {}", answer.body["id"]));
        }
    }

    async fn travel(&mut self) {
        let at = chrono::Utc::now() - chrono::TimeDelta::seconds(1 + i64::try_from(self.dice.below(5)).unwrap_or(0));
        let when = match self.dice.below(3) {
            0 => "version=1".to_owned(),
            1 => format!("at={}", at.format("%Y-%m-%dT%H:%M:%SZ")),
            _ => format!("valid_at={}", at.format("%Y-%m-%dT%H:%M:%SZ")),
        };
        let path = format!("/entities/customer/shared-{}?{when}", self.dice.below(SHARED));
        let answer = self.ask("time travel", Method::GET, &path, &[], None).await;
        self.is_allowed("time travel", &answer, &[200, 404]);
    }

    async fn read(&mut self) {
        let shared = self.dice.below(SHARED);
        let paths = [
            "/events?limit=20".to_owned(),
            format!("/events/aggregate/customer/shared-{shared}/history?limit=20"),
            format!("/entities/customer/shared-{shared}"),
            "/entities/customer?limit=20".to_owned(),
            "/entities/gauge?limit=20".to_owned(),
            format!("/audit/entity/shared-{shared}?limit=20"),
            "/events/stats".to_owned(),
            "/projector/status".to_owned(),
        ];
        let path = self.dice.one(&paths).clone();
        let answer = self.ask("read", Method::GET, &path, &[], None).await;
        self.is_allowed(&path, &answer, &[200, 404]);
    }
}
