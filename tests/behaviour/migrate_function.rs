//! The function that migrates: CloudFormation always gets an answer, a person who invokes it gets the applied steps, and concurrent runs are safe.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_store::{Access, Address};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::put;
use local::cluster::{Cluster, FAST_BUT_UNSAFE, Options};
use migrate::{Done, Failure};
use serde_json::{Value, json};
use tests::{SecretsManager, connect};
use tokio::net::TcpListener;

use crate::deployed::resource;

/// CloudFormation's side: the answers that arrived, and a number of first answers that it loses.
struct Deployment {
    port: u16,
    answers: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
}

impl Deployment {
    async fn losing(lost: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = Arc::<Mutex<Vec<(HeaderMap, Value)>>>::default();
        let (left, kept) = (Arc::new(Mutex::new(lost)), Arc::clone(&answers));
        let answer = move |headers: HeaderMap, body: Bytes| async move {
            let mut left = left.lock().unwrap();
            if *left > 0 {
                *left -= 1;
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            kept.lock()
                .unwrap()
                .push((headers, serde_json::from_slice(&body).unwrap()));
            StatusCode::OK
        };
        let router = Router::new().route("/answer", put(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, answers }
    }

    fn request(&self, kind: &str) -> Value {
        json!({
            "RequestType": kind,
            "ResponseURL": format!("http://127.0.0.1:{}/answer?signature=secret", self.port),
            "StackId": "arn:stack", "RequestId": "1", "ResourceType": "Custom::AnnalsSchema", "LogicalResourceId": "Schema",
            "ResourceProperties": {"ServiceToken": "arn:function", "Newest": "V1"}
        })
    }

    /// The only answer that arrived.
    #[track_caller]
    fn answer(&self) -> Value {
        let answers = self.answers.lock().unwrap();
        let [(headers, answer)] = &answers[..] else {
            panic!("{} answers", answers.len())
        };
        assert!(
            !headers.contains_key("content-type"),
            "the address was signed without one"
        );
        for (name, value) in [
            ("StackId", "arn:stack"),
            ("RequestId", "1"),
            ("LogicalResourceId", "Schema"),
        ] {
            assert_eq!(answer[name], value);
        }
        assert_eq!(answer["PhysicalResourceId"], "annals-schema");
        answer.clone()
    }
}

const A_MINUTE: Duration = Duration::from_secs(60);

async fn cluster() -> Cluster {
    Cluster::start(Options::ephemeral().with_settings(FAST_BUT_UNSAFE))
        .await
        .unwrap()
}

fn migrating(cluster: &Cluster) -> impl Future<Output = Result<Done, Failure>> + Send + use<> {
    let owner = Access::to(cluster.url());
    async move { migrate::run(&owner, None).await }
}

/// Work that must not be started.
async fn no_work() -> Result<Done, Failure> {
    panic!("this work must not start")
}

#[tokio::test]
async fn concurrent_deployments_and_a_manual_invocation_apply_each_step_once() {
    let (cluster, deployment) = (cluster().await, Deployment::losing(0).await);
    let second = Deployment::losing(0).await;
    let by_hand = migrate::handle(json!({"anything": 1}), A_MINUTE, migrating(&cluster));
    let create = migrate::handle(deployment.request("Create"), A_MINUTE, migrating(&cluster));
    let update = migrate::handle(second.request("Update"), A_MINUTE, migrating(&cluster));
    let (by_hand, create, update) = tokio::try_join!(by_hand, create, update).unwrap();
    assert_eq!((&create, &update), (&deployment.answer(), &second.answer()));
    assert_eq!(
        (&create["Status"], &update["Status"]),
        (&json!("SUCCESS"), &json!("SUCCESS"))
    );
    let applied = |answer: &Value| answer["Data"]["Applied"].as_str().unwrap().parse::<usize>().unwrap();
    let all = numbers().len();
    let person = by_hand["applied"].as_array().unwrap().len();
    assert_eq!(
        applied(&create) + applied(&update) + person,
        all,
        "{by_hand} {create} {update}"
    );

    let again = migrate::handle(Value::Null, A_MINUTE, migrating(&cluster))
        .await
        .unwrap();
    assert_eq!(again, json!({"applied": [], "ahead": []}));
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn deleting_the_resource_leaves_the_database_unchanged() {
    let deployment = Deployment::losing(0).await;
    migrate::handle(deployment.request("Delete"), A_MINUTE, no_work())
        .await
        .unwrap();
    assert_eq!(deployment.answer()["Status"], "SUCCESS");
}

#[tokio::test]
async fn every_failure_is_answered_with_its_reason_and_without_secrets() {
    let unreachable = "postgresql://owner:hunter2@127.0.0.1:1/annals";
    let unreadable = "postgresql://owner:hunter2@host/annals?hunter2=hunter2";
    for (url, reason) in [
        (unreachable, "the database cannot be reached"),
        (unreadable, "is not a PostgreSQL connection address"),
    ] {
        let deployment = Deployment::losing(0).await;
        let work = async move { migrate::run(&Access::to(url), None).await };
        migrate::handle(deployment.request("Create"), A_MINUTE, work)
            .await
            .unwrap();
        let answer = deployment.answer();
        assert_eq!(answer["Status"], "FAILED");
        let answered = answer["Reason"].as_str().unwrap();
        assert!(answered.contains(reason) && !answered.contains("hunter2"), "{answered}");
    }
    // No environment variable is set here.
    let unconfigured = Deployment::losing(0).await;
    migrate::handle(unconfigured.request("Update"), A_MINUTE, migrate::as_configured())
        .await
        .unwrap();
    assert_eq!(
        unconfigured.answer()["Reason"],
        "the function is not configured: DATABASE_URL or SECRET_ARN is not set"
    );

    let hanging = Deployment::losing(0).await;
    migrate::handle(
        hanging.request("Update"),
        Duration::from_secs(1),
        std::future::pending(),
    )
    .await
    .unwrap();
    assert!(
        hanging.answer()["Reason"]
            .as_str()
            .unwrap()
            .starts_with("not done in time")
    );
    // A person who invokes it gets the reason, too.
    let late = migrate::handle(json!({}), Duration::ZERO, std::future::pending())
        .await
        .unwrap_err();
    assert!(late.to_string().starts_with("not done in time"), "{late}");
}

#[tokio::test]
async fn an_answer_that_gets_lost_is_sent_again_and_one_that_never_arrives_is_an_error() {
    let patient = Deployment::losing(2).await;
    migrate::handle(patient.request("Delete"), A_MINUTE, no_work())
        .await
        .unwrap();
    assert_eq!(patient.answer()["Status"], "SUCCESS");
    let deaf = Deployment::losing(usize::MAX).await;
    let error = migrate::handle(deaf.request("Delete"), A_MINUTE, no_work())
        .await
        .unwrap_err();
    assert!(!error.to_string().contains("signature"), "{error}");
}

#[tokio::test]
async fn a_request_with_missing_members_is_answered() {
    let deployment = Deployment::losing(0).await;
    let bare = json!({"RequestType": "Delete", "ResponseURL": deployment.request("")["ResponseURL"]});
    migrate::handle(bare, A_MINUTE, no_work()).await.unwrap();
    assert_eq!(deployment.answers.lock().unwrap()[0].1["Status"], "SUCCESS");
}

/// When a deployment is rolled back, its older function runs, and no migration is reverted.
#[tokio::test]
async fn an_older_function_leaves_a_newer_database_unchanged() {
    let cluster = cluster().await;
    migrating(&cluster).await.unwrap();
    let owner = connect(&cluster.url()).await;
    let newer = "insert into annals.schema_history select 9000, 'of_tomorrow', applied_on, '1' from annals.schema_history where version = 1";
    owner.batch_execute(newer).await.unwrap();
    let done = migrating(&cluster).await.unwrap();
    assert_eq!(
        (done.applied.len(), done.ahead),
        (0, vec!["V9000__of_tomorrow".to_owned()])
    );
    annals_store::migrate(&cluster.url()).await.unwrap_err();
    // A migration that was edited is refused, as always.
    owner
        .batch_execute("update annals.schema_history set checksum = '1' where version = 1")
        .await
        .unwrap();
    migrating(&cluster).await.unwrap_err();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn the_functions_login_gets_the_password_of_their_secret_unless_it_already_works() {
    let cluster = cluster().await;
    let owner = Access::to(cluster.url());
    let superuser = connect(&cluster.superuser_url()).await;
    let hash = async || -> Option<String> {
        let sql = "select rolpassword from pg_authid where rolname = 'annals_api'";
        superuser.query_one(sql, &[]).await.unwrap().get(0)
    };
    let url = |login: &str, password: &str| {
        let url = format!("postgresql://{login}:{password}@127.0.0.1:{}/annals", cluster.port());
        json!({"DATABASE_URL": url})
    };
    let manager = SecretsManager::with(&url("annals_api", "it's%20%27quoted%27")).await;
    let access = || Access {
        address: Address::Secret(manager.secrets()),
        ..Access::to("")
    };
    let first = migrate::run(&owner, Some(&access())).await.unwrap();
    assert_eq!((first.applied.is_empty(), first.api_login), (false, Some("set")));
    let kept = hash().await;
    assert!(kept.as_ref().unwrap().starts_with("SCRAM-SHA-256$"));
    let second = migrate::run(&owner, Some(&access())).await.unwrap();
    assert_eq!((second.applied.len(), second.api_login), (0, Some("unchanged")));
    assert_eq!(hash().await, kept);

    // A complete rotation: another password in the secret, and one run.
    manager.put(&url("annals_api", "rotated").to_string());
    let rotated = migrate::run(&owner, Some(&access())).await.unwrap();
    assert_eq!(rotated.api_login, Some("set"));
    let login = url("annals_api", "rotated");
    connect(login["DATABASE_URL"].as_str().unwrap()).await;

    // Passwords of other logins are not changed.
    manager.put(&url("annals_owner", "taken over").to_string());
    let refused = migrate::run(&owner, Some(&access())).await.unwrap_err();
    assert!(matches!(refused, Failure::Migrate(_)), "{refused:?}");
    connect(&cluster.url()).await;
    cluster.stop().await.unwrap();
}

fn migrations() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("migrations")
}

/// The numbers of the migrations.
fn numbers() -> Vec<u32> {
    let files = fs::read_dir(migrations()).unwrap();
    files
        .filter_map(|file| {
            let name = file.unwrap().file_name().into_string().unwrap();
            name.strip_prefix('V')?.split_once("__")?.0.parse().ok()
        })
        .collect()
}

/// CloudFormation runs a custom resource when its properties change. One of them is the version of the function's code, which has the
/// migrations compiled in, so a deployment with new migrations runs them. SAM publishes a version whenever the code changes.
#[test]
fn the_deployment_migrates_whenever_the_functions_code_changes() {
    assert!(resource("Migrate").contains("\n      AutoPublishAlias: live\n"));
    assert!(resource("Schema").contains("\n      Code: !Ref Migrate.Version\n"));
}

/// When its time is over, a waiting run must not keep its place in the lock queue, where it would block others.
#[tokio::test]
async fn a_run_that_times_out_leaves_no_waiting_session() {
    let cluster = cluster().await;
    let holder = connect(&cluster.superuser_url()).await;
    // The migrations' own lock, which a run waits for first.
    holder
        .batch_execute(
            "create schema annals_locks; create table annals_locks.migrations (); begin;
             lock table annals_locks.migrations in exclusive mode",
        )
        .await
        .unwrap();
    let waiting =
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'annals'";
    let count = async || holder.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0);
    let late = migrate::handle(json!({}), Duration::from_secs(3), migrating(&cluster)).await;
    assert!(late.unwrap_err().to_string().starts_with("not done in time"));
    while count().await > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cluster.stop().await.unwrap();
}
