//! A world: one database, the functions in front of it, and access to the database for checks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals::auth::Verifier;
use annals_aws::secrets::Secrets;
use annals_config::{AuthConfig, SNAPSHOT_EVERY};
use annals_queue::Queue;
use annals_storage::{Folder, Storage};
use annals_store::{Access, Address, Store};
use aws_lambda_events::event::sqs::SqsMessage;
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, header};
use local::engine::App;
use projector::{KpiSettings, Projector};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::Client;
use tower::ServiceExt;
use uuid::Uuid;

use crate::answer::Answer;
use crate::cluster::{HOSTILE, PASSWORD, cluster, connect, database, hostile_login};
use crate::contract::Sent;
use crate::people::{Person, SECRET};
use crate::pgbouncer;

/// Pooled connections for a world's requests.
const POOL_SIZE: usize = 40;

/// Counts of what the log holds. Tests compare them to show that a refusal stored nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// Events.
    pub events: i64,
    /// Streams.
    pub heads: i64,
    /// Sum of the versions of all streams.
    pub versions: i64,
    /// Event types and their versions.
    pub catalog: i64,
}

/// The address of a database on this port of the loopback interface, for a login with the tests' password.
pub fn url_at(port: u16, login: &str, database: &str) -> String {
    format!("postgresql://{login}:{PASSWORD}@127.0.0.1:{port}/{database}?sslmode=disable")
}

/// Files of large uploads; they are deleted with this value.
pub struct Files(pub PathBuf);

impl Files {
    fn none_yet() -> Self {
        Self(std::env::temp_dir().join(format!("annals-uploads-{}", Uuid::new_v4())))
    }

    fn storage(&self) -> Storage {
        let secret = SECRET.as_bytes().to_vec();
        Storage::Folder(Folder::new(self.0.clone(), "http://local".to_owned(), secret))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}

/// Everything that a test uses.
pub struct World {
    /// Name of the database.
    pub database: String,
    /// The address that the functions use.
    pub address: String,
    /// The address that tests use for checks.
    pub superuser_url: String,
    /// The state that all routers share.
    pub app: App,
    /// The HTTP functions, merged as `local` merges them.
    pub router: Router,
    /// The projector; it runs only when a test calls it.
    pub projector: Projector,
    wake_ups: Mutex<UnboundedReceiver<String>>,
    /// The files of large uploads.
    pub files: Arc<Files>,
}

/// Allows streams to begin with any event, in the database whose owner has this address.
pub async fn remove_requirements(url: &str) {
    let remove = "update annals.event_types set requires = null where requires is not null";
    connect(url).await.batch_execute(remove).await.expect("a catalog");
}

impl World {
    /// A world with an empty log.
    pub async fn new() -> Self {
        let database = database().await;
        let url = cluster().url_of(&database);
        Self::at(database, &url)
    }

    /// The same, but streams may begin with any event, for tests that need arbitrary events. What the catalog requires is tested in
    /// `streams/requires.rs`.
    pub async fn without_requirements() -> Self {
        let world = Self::new().await;
        remove_requirements(&cluster().url_of(&world.database)).await;
        world
    }

    /// A world whose requests use this address, or a PgBouncer before the server that the address names.
    pub fn at(database: String, url: &str) -> Self {
        match pgbouncer::is_enabled() {
            false => Self::directly_at(database, url),
            true => {
                let server = url.parse::<tokio_postgres::Config>().expect("an address").get_ports()[0];
                let url = url_at(pgbouncer::port_before(server), "annals_api", &database);
                Self::directly_at(database, &url)
            }
        }
    }

    /// A world whose requests use this address even if PgBouncer is enabled, for instance through a proxy.
    pub fn directly_at(database: String, url: &str) -> Self {
        Self::by(database, Access::to(url))
    }

    /// A world whose requests connect in this way.
    pub fn by(database: String, access: Access) -> Self {
        let address = match &access.address {
            Address::Url(url) => url.clone(),
            Address::Secret(_) => "in a secret".to_owned(),
        };
        let store = Store::open(access, POOL_SIZE).expect("an address");
        let auth = AuthConfig {
            secret: Some(SECRET.to_owned()),
            audience: "authenticated".to_owned(),
            issuer: Some("tests".to_owned()),
            ..AuthConfig::default()
        };
        let (sender, receiver) = unbounded_channel();
        let files = Arc::new(Files::none_yet());
        let app = App {
            store: store.clone(),
            verifier: Arc::new(Verifier::new(&auth).expect("a verifier")),
            queue: Queue::Channel(sender),
            storage: files.storage(),
        };
        let router = local::engine::router(app.clone());
        Self {
            superuser_url: cluster().superuser_url_of(&database),
            database,
            address,
            app,
            router,
            projector: Projector::new(store, Some(SNAPSHOT_EVERY)).with_kpi_settings(KpiSettings {
                announce_delay: Duration::ZERO,
                ..KpiSettings::default()
            }),
            wake_ups: Mutex::new(receiver),
            files,
        }
    }

    /// The same database with the functions of another process: with a pool and caches of their own.
    pub fn elsewhere(&self) -> Self {
        Self::at(self.database.clone(), &cluster().url_of(&self.database))
    }

    /// The same database with the functions of another process, which connect to this port as `annals_api`.
    pub(crate) fn behind(&self, port: u16) -> Self {
        let url = url_at(port, "annals_api", &self.database);
        Self::directly_at(self.database.clone(), &url).seen_from(&self.superuser_url)
    }

    /// The same world on a server of the test's own, whose superuser has this address.
    pub fn seen_from(mut self, superuser_url: &str) -> Self {
        superuser_url.clone_into(&mut self.superuser_url);
        self
    }

    /// The same functions with the files of another world.
    pub fn with_files_of(mut self, other: &Self) -> Self {
        self.files = Arc::clone(&other.files);
        self.app.storage = other.app.storage.clone();
        self.router = local::engine::router(self.app.clone());
        self
    }

    /// The same world with other keys for tokens.
    pub fn with_auth(mut self, auth: &AuthConfig) -> Self {
        self.app.verifier = Arc::new(Verifier::new(auth).expect("a verifier"));
        self.router = local::engine::router(self.app.clone());
        self
    }

    /// The same world whose shared secret of tokens is in Secrets Manager.
    pub fn with_stored_secret(mut self, auth: &AuthConfig, secrets: Arc<Secrets>, lives: Duration) -> Self {
        let verifier = Verifier::new(auth)
            .expect("a verifier")
            .with_stored_secret(secrets, lives);
        self.app.verifier = Arc::new(verifier);
        self.router = local::engine::router(self.app.clone());
        self
    }

    /// Counts of what the log holds, by a direct query.
    pub async fn log(&self) -> Log {
        let sql = "select (select count(*) from annals.events), (select count(*) from annals.heads),
                          (select coalesce(sum(version), 0) from annals.heads),
                          (select count(*) from annals.event_types) + (select count(*) from annals.event_type_versions)";
        let row = self.superuser().await.query_one(sql, &[]).await.expect("figures");
        Log {
            events: row.get(0),
            heads: row.get(1),
            versions: row.get(2),
            catalog: row.get(3),
        }
    }

    /// A connection as the migrating role, which owns everything and is not a superuser.
    pub async fn owner(&self) -> Client {
        connect(&cluster().url_of(&self.database)).await
    }

    /// A connection as the cluster's superuser.
    pub async fn superuser(&self) -> Client {
        connect(&self.superuser_url).await
    }

    /// Makes inserts into a table fail as if the server shut down (SQLSTATE 57P01), until [`World::end_outage`].
    pub async fn begin_outage(&self, table: &str) {
        let trigger = format!(
            "create function public.fail() returns trigger language plpgsql as $$ begin raise 'shutting down' using errcode = '57P01'; end $$;
             create trigger fail before insert on {table} for each row execute function public.fail()"
        );
        self.superuser().await.batch_execute(&trigger).await.expect("a trigger");
    }

    /// Lets inserts into the table succeed again.
    pub async fn end_outage(&self, table: &str) {
        let drop = format!("drop trigger fail on {table}");
        self.superuser().await.batch_execute(&drop).await.expect("no trigger");
    }

    /// Waits until at least this number of statements in the world's database wait for a lock.
    pub async fn until_waiting(&self, wanted: i64) {
        self.until_waiting_or(wanted, || false).await;
    }

    /// The same, or until the other future is done.
    pub async fn until_waiting_or(&self, wanted: i64, is_over: impl Fn() -> bool) {
        // Only a superuser sees what sessions of other roles wait for.
        let (observer, begun) = (self.superuser().await, Instant::now());
        let waiting =
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        while observer
            .query_one(waiting, &[])
            .await
            .expect("a count")
            .get::<_, i64>(0)
            < wanted
            && !is_over()
        {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "no statement waited for the lock"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A connection as the runtime's login, `annals_api`.
    pub async fn api_login(&self) -> Client {
        connect(&self.url_as("annals_api")).await
    }

    /// A connection with the role and claims of a request by this person for the whole session.
    pub async fn session_of(&self, person: &Person) -> Client {
        let client = self.api_login().await;
        client.batch_execute("set role authenticated").await.expect("the role");
        set_claims(&client, person).await;
        client
    }

    /// A connection as the API appends: with the login that may execute the append functions. The claims are a setting of the session, for
    /// statements that pass them on.
    pub async fn appender(&self, person: Option<&Person>) -> Client {
        let client = self.api_login().await;
        if let Some(person) = person {
            set_claims(&client, person).await;
        }
        client
    }

    /// A connection as `hostile`, a login that is only a member of `authenticated`, with the claims of a request by this person, if given.
    /// Any SQL on it is the attacker's.
    pub async fn hostile(&self, person: Option<&Person>) -> Client {
        hostile_login().await;
        let client = connect(&self.url_as(HOSTILE)).await;
        client.batch_execute("set role authenticated").await.expect("the role");
        if let Some(person) = person {
            set_claims(&client, person).await;
        }
        client
    }

    /// The database's address for a login with the tests' password.
    pub fn url_as(&self, login: &str) -> String {
        url_at(cluster().port(), login, &self.database)
    }

    /// Sends any request. Request and answer must be as the OpenAPI document describes them.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (sent, request) = Sent::copy_of(request).await;
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let answer = Answer::read(response).await;
        sent.check(&answer);
        answer
    }

    /// Sends a request by a person, with headers and an optional body.
    pub async fn request(
        &self,
        method: Method,
        person: &Person,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {}", person.token()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            None => Body::empty(),
            Some(json) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(json.to_string())
            }
        };
        self.send(request.body(body).expect("a request")).await
    }

    /// `GET` by a person.
    pub async fn get(&self, person: &Person, path: &str) -> Answer {
        self.request(Method::GET, person, path, &[], None).await
    }

    /// `POST` of JSON by a person.
    pub async fn post(&self, person: &Person, path: &str, body: Value) -> Answer {
        self.request(Method::POST, person, path, &[], Some(body)).await
    }

    /// `PATCH` of JSON by a person.
    pub async fn patch(&self, person: &Person, path: &str, body: Value) -> Answer {
        self.request(Method::PATCH, person, path, &[], Some(body)).await
    }

    /// `PUT` of JSON by a person.
    pub async fn put(&self, person: &Person, path: &str, body: Value) -> Answer {
        self.request(Method::PUT, person, path, &[], Some(body)).await
    }

    /// `DELETE` by a person.
    pub async fn delete(&self, person: &Person, path: &str) -> Answer {
        self.request(Method::DELETE, person, path, &[], None).await
    }

    /// `POST` of text with the content type of JSON.
    pub async fn post_text(&self, person: &Person, path: &str, text: impl Into<Body>) -> Answer {
        let request = Request::post(format!("/api/v1{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {}", person.token()))
            .header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(text.into()).expect("a request")).await
    }

    /// `GET` of every page of a list; returns all items.
    pub async fn all_pages(&self, person: &Person, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let separator = if path.contains('?') { '&' } else { '?' };
            let page = match &cursor {
                None => path.to_owned(),
                Some(cursor) => format!("{path}{separator}cursor={cursor}"),
            };
            let answer = self.get(person, &page).await.expect(200);
            items.extend(answer.items().iter().cloned());
            match answer.body["next_cursor"].as_str() {
                None => return items,
                Some(next) => {
                    assert_ne!(cursor.as_deref(), Some(next), "the pages of {path} never end");
                    cursor = Some(next.to_owned());
                }
            }
        }
    }

    /// Appends one event as a person; returns the event as answered.
    pub async fn append(&self, person: &Person, event_type: &str, aggregate_id: &str, data: Value) -> Value {
        let aggregate_type = event_type.split('.').next().unwrap_or_default();
        let event = json!({"event_type": event_type, "aggregate_type": aggregate_type, "aggregate_id": aggregate_id, "data": data});
        self.post(person, "/events", event).await.expect(201).body
    }

    /// The bodies of wake-ups that were sent since the last call.
    pub async fn take_wake_ups(&self) -> Vec<String> {
        let mut wake_ups = self.wake_ups.lock().await;
        let mut taken = Vec::new();
        while let Ok(body) = wake_ups.try_recv() {
            taken.push(body);
        }
        taken
    }

    /// Delivers these bodies to the projector as one SQS batch; returns the ids (`"0"`, `"1"` …) of failed messages.
    pub async fn deliver(&self, bodies: Vec<String>) -> Vec<String> {
        let message = |(place, body): (usize, String)| {
            let mut message = SqsMessage::default();
            message.message_id = Some(place.to_string());
            message.body = Some(body);
            message
        };
        let messages: Vec<SqsMessage> = bodies.into_iter().enumerate().map(message).collect();
        let answer = self.projector.handle_messages(&messages).await;
        answer
            .batch_item_failures
            .into_iter()
            .map(|failure| failure.item_identifier)
            .collect()
    }

    /// Delivers every wake-up that was sent, once.
    pub async fn project(&self) {
        let failed = self.deliver(self.take_wake_ups().await).await;
        assert!(failed.is_empty(), "{failed:?}");
    }
}

/// Gives a session the claims of a request by this person, until it ends.
async fn set_claims(client: &Client, person: &Person) {
    let claims = person.caller().database_claims().to_string();
    client
        .execute("select set_config('request.jwt.claims', $1, false)", &[&claims])
        .await
        .expect("the claims");
}
