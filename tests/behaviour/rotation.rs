//! The database's address and the tokens' secret are in Secrets Manager. A process fetches them once, and again when they are refused. A
//! rotation fails no request, and a wrong password does not cause many calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use annals_aws::secrets::RefreshReason;
use annals_config::AuthConfig;
use annals_store::{Access, Address};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Person, SECRET, SecretsManager, World, sign};
use tokio_postgres::Client;

const LONG: Duration = Duration::from_secs(3600);

fn event(id: &str) -> Value {
    json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id, "data": {"phone": "1"}})
}

fn auth() -> AuthConfig {
    AuthConfig {
        audience: "authenticated".to_owned(),
        issuer: Some("tests".to_owned()),
        ..AuthConfig::default()
    }
}

/// A database, a login whose password the test changes, and a function that gets both from a secret.
struct Scene {
    plain: World,
    login: String,
    administrator: Client,
    manager: SecretsManager,
    world: World,
}

impl Scene {
    async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let login = format!("rotated_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let plain = World::without_requirements().await;
        let administrator = plain.superuser().await;
        let made = format!("create role {login} login password 'first'; grant annals_api to {login}");
        administrator.batch_execute(&made).await.unwrap();
        let manager = SecretsManager::with(&json!({})).await;
        let access = Access {
            address: Address::Secret(manager.secrets()),
            ..Access::to("")
        };
        let world = World::by(plain.database.clone(), access);
        let scene = Self {
            plain,
            login,
            administrator,
            manager,
            world,
        };
        scene.keep("first");
        scene
    }

    fn keep(&self, password: &str) {
        let url = self.plain.url_as(&self.login).replace("only-for-tests", password);
        self.manager.put(&json!({"DATABASE_URL": url}).to_string());
    }

    /// Changes the login's password and ends its sessions, as a restart of the database would.
    async fn change_password(&self, password: &str) {
        let Self {
            login, administrator, ..
        } = self;
        let change = format!("alter role {login} password '{password}'");
        administrator.batch_execute(&change).await.unwrap();
        let end = "select pg_terminate_backend(pid, 60000) from pg_stat_activity where usename = $1";
        administrator.query(end, &[login]).await.unwrap();
    }

    async fn post_concurrently(&self, requests: usize, expected: u16) {
        let staff = Person::staff();
        let posting = (0..requests).map(|n| self.world.post(&staff, "/events", event(&format!("C-{n}"))));
        for answer in join_all(posting).await {
            answer.expect(expected);
        }
    }
}

#[tokio::test]
async fn a_secret_is_fetched_once_however_many_requests_wait_for_it() {
    let scene = Scene::new().await;
    scene.post_concurrently(20, 201).await;
    scene.post_concurrently(20, 201).await;
    assert_eq!(scene.manager.asked(), 1);
}

#[tokio::test]
async fn a_rotation_is_noticed_immediately_and_fails_no_request() {
    let scene = Scene::new().await;
    scene.post_concurrently(20, 201).await;
    for (round, password) in ["second", "third"].into_iter().enumerate() {
        scene.keep(password);
        scene.change_password(password).await;
        scene.post_concurrently(20, 201).await;
        assert_eq!(
            scene.manager.asked(),
            2 + round,
            "one call for all requests that were refused"
        );
    }
}

#[tokio::test]
async fn a_password_that_stays_wrong_does_not_cause_many_calls() {
    let scene = Scene::new().await;
    scene.post_concurrently(20, 201).await;
    scene.change_password("second").await;
    for _ in 0..5 {
        scene.post_concurrently(20, 503).await;
    }
    assert_eq!(
        scene.manager.asked(),
        2,
        "once when it was refused, and not again so soon"
    );
}

#[tokio::test]
async fn requests_are_answered_503_while_the_secret_cannot_be_read() {
    let scene = Scene::new().await;
    scene.manager.deny();
    scene.post_concurrently(20, 503).await;
    assert_eq!(scene.manager.asked(), 1, "concurrent requests share one call");
    for unusable in [
        "no JSON",
        r#"{"DATABASE_URL": 5}"#,
        r#"{"database_url": "postgresql://"}"#,
        r#"{"DATABASE_URL": "mysql//"}"#,
    ] {
        scene.manager.put(unusable);
        scene.post_concurrently(1, 503).await;
    }
    scene.keep("first");
    let staff = Person::staff();
    while scene.world.post(&staff, "/events", event("C-1")).await.status != 201 {
        assert!(scene.manager.asked() < 100, "the next request tries again");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_secret_of_tokens_is_read_again_after_a_bad_signature_but_not_too_often() {
    let manager = SecretsManager::with(&json!({"JWT_SECRET": SECRET})).await;
    let auth = auth();
    let world = World::without_requirements()
        .await
        .with_stored_secret(&auth, manager.secrets(), LONG);
    let staff = Person::staff();
    world.get(&staff, "/events").await.expect(200);
    world.get(&staff, "/events").await.expect(200);
    assert_eq!(manager.asked(), 1);

    let rotated = "another secret, of sufficient length, for the tests";
    manager.put(&json!({"JWT_SECRET": rotated}).to_string());
    let read = async |token: String| {
        let request = axum::http::Request::get("/api/v1/events").header("authorization", format!("Bearer {token}"));
        world.send(request.body(axum::body::Body::empty()).unwrap()).await
    };
    read(sign(&staff.claims(), rotated)).await.expect(200);
    assert_eq!(manager.asked(), 2);
    for _ in 0..20 {
        read(sign(&staff.claims(), "made up by somebody who would like to come in"))
            .await
            .expect(401);
        read(staff.token()).await.expect(401);
    }
    read(sign(&staff.claims(), rotated)).await.expect(200);
    assert_eq!(manager.asked(), 3, "any caller can make a bad token");

    let away = SecretsManager::with(&json!({})).await;
    let world = World::without_requirements()
        .await
        .with_stored_secret(&auth, Arc::clone(&away.secrets()), LONG);
    assert_eq!(world.get(&staff, "/events").await.problem(503), "unavailable");
}

/// A leaked secret is withdrawn, and no valid token of the new secret arrives that would show the change.
#[tokio::test]
async fn a_withdrawn_secret_expires_and_an_outage_expires_nothing() {
    let manager = SecretsManager::with(&json!({"JWT_SECRET": "leaked"})).await;
    let secrets = manager.secrets();
    let said = async |age| {
        let values = secrets.values_within(age).await.unwrap();
        values.get("JWT_SECRET").unwrap().to_owned()
    };
    assert_eq!(said(LONG).await, "leaked");
    manager.put(&json!({"JWT_SECRET": "another"}).to_string());
    assert_eq!((said(LONG).await.as_str(), manager.asked()), ("leaked", 1));
    assert_eq!((said(Duration::ZERO).await.as_str(), manager.asked()), ("another", 2));
    assert_eq!((said(LONG).await.as_str(), manager.asked()), ("another", 2));
    manager.deny();
    assert_eq!(said(Duration::ZERO).await, "another");
    let asked = manager.asked();
    assert_eq!(
        (said(LONG).await.as_str(), manager.asked()),
        ("another", asked),
        "an attempt counts"
    );
}

/// Any caller can send a bad signature. That must not delay the refresh of the database's password.
#[tokio::test]
async fn a_refresh_for_one_reason_does_not_delay_the_other() {
    let manager = SecretsManager::with(&json!({"JWT_SECRET": "one"})).await;
    let secrets = manager.secrets();
    let known = secrets.values().await.unwrap();
    for (doubt, asked) in [
        (RefreshReason::Signature, 2),
        (RefreshReason::Signature, 2),
        (RefreshReason::Login, 3),
        (RefreshReason::Login, 3),
    ] {
        assert!(secrets.refresh_if_stale(&known, doubt).await.unwrap().is_none());
        assert_eq!(manager.asked(), asked, "{doubt:?}");
    }
}

#[tokio::test]
async fn tokens_of_a_withdrawn_secret_are_refused_even_if_no_new_one_was_sent() {
    let manager = SecretsManager::with(&json!({"JWT_SECRET": SECRET})).await;
    let auth = auth();
    let world = World::without_requirements()
        .await
        .with_stored_secret(&auth, manager.secrets(), Duration::ZERO);
    let staff = Person::staff();
    world.get(&staff, "/events").await.expect(200);
    manager.put(&json!({"JWT_SECRET": "another secret, of sufficient length, for the tests"}).to_string());
    world.get(&staff, "/events").await.expect(401);
}

/// A secret in the format of RDS and its rotation: no address but its parts, the port as a number, and unused fields.
#[tokio::test]
async fn a_secret_in_the_format_of_rds_works_like_an_address() {
    let scene = Scene::new().await;
    let address: tokio_postgres::Config = scene.plain.url_as(&scene.login).parse().unwrap();
    let awkward = "p@ss:w/rd%20 ?";
    scene.change_password(awkward).await;
    let mut secret = json!({
        "engine": "postgres", "host": "127.0.0.1", "port": address.get_ports()[0], "username": scene.login, "password": awkward,
        "dbname": address.get_dbname().unwrap(), "masterarn": null, "tags": {"project": "annals"},
    });
    scene.manager.put(&secret.to_string());
    scene.post_concurrently(2, 201).await;

    scene.change_password("second").await;
    secret["password"] = json!("second");
    secret["port"] = json!(address.get_ports()[0].to_string());
    scene.manager.put(&secret.to_string());
    scene.post_concurrently(2, 201).await;

    // An address has priority over its parts, and incomplete parts are not an address.
    secret["host"] = json!("nowhere.invalid");
    secret["DATABASE_URL"] = json!(scene.plain.url_as(&scene.login).replace("only-for-tests", "third"));
    scene.change_password("third").await;
    scene.manager.put(&secret.to_string());
    scene.post_concurrently(2, 201).await;
    scene.change_password("fourth").await;
    scene
        .manager
        .put(&json!({"host": "127.0.0.1", "username": scene.login}).to_string());
    scene.post_concurrently(1, 503).await;
}
