//! The function that migrates: CloudFormation always hears how it went, a person gets what was done, and two at once do no harm.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals::store::{Access, Address};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::put;
use local::cluster::{Cluster, FAST_BUT_UNSAFE, Options};
use migrate::{Done, Failure};
use serde_json::{Value, json};
use tests::{SecretsManager, connect};
use tokio::net::TcpListener;

/// Where CloudFormation waits: the answers that came, and how many of the first ones it loses.
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
            "ResourceProperties": {"ServiceToken": "arn:function", "Newest": "V30"}
        })
    }

    /// The one answer that came.
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

/// Work that must not be begun.
async fn none_at_all() -> Result<Done, Failure> {
    panic!("there was nothing to do")
}

#[tokio::test]
async fn a_deployment_migrates_and_two_at_once_and_a_person_beside_apply_each_step_once() {
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
    let all = fs::read_dir(migrations()).unwrap().count() - 1;
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
async fn a_resource_that_is_deleted_leaves_the_database_alone() {
    let deployment = Deployment::losing(0).await;
    migrate::handle(deployment.request("Delete"), A_MINUTE, none_at_all())
        .await
        .unwrap();
    assert_eq!(deployment.answer()["Status"], "SUCCESS");
}

#[tokio::test]
async fn whatever_goes_wrong_becomes_an_answer_that_says_so_and_tells_no_secret() {
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
        let told = answer["Reason"].as_str().unwrap();
        assert!(told.contains(reason) && !told.contains("hunter2"), "{told}");
    }
    // No variable is set here.
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
    // A person hears it, too.
    let late = migrate::handle(json!({}), Duration::ZERO, std::future::pending())
        .await
        .unwrap_err();
    assert!(late.to_string().starts_with("not done in time"), "{late}");
}

#[tokio::test]
async fn an_answer_that_gets_lost_is_sent_again_and_one_that_never_arrives_is_an_error() {
    let patient = Deployment::losing(2).await;
    migrate::handle(patient.request("Delete"), A_MINUTE, none_at_all())
        .await
        .unwrap();
    assert_eq!(patient.answer()["Status"], "SUCCESS");
    let deaf = Deployment::losing(usize::MAX).await;
    let error = migrate::handle(deaf.request("Delete"), A_MINUTE, none_at_all())
        .await
        .unwrap_err();
    assert!(!error.to_string().contains("signature"), "{error}");
}

#[tokio::test]
async fn a_request_that_lacks_what_it_should_have_is_answered_all_the_same() {
    let deployment = Deployment::losing(0).await;
    let bare = json!({"RequestType": "Delete", "ResponseURL": deployment.request("")["ResponseURL"]});
    migrate::handle(bare, A_MINUTE, none_at_all()).await.unwrap();
    assert_eq!(deployment.answers.lock().unwrap()[0].1["Status"], "SUCCESS");
}

/// A deployment is rolled back by its older function, and no migration goes back.
#[tokio::test]
async fn an_older_function_leaves_a_newer_database_as_it_is() {
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
    annals::store::migrate(&cluster.url()).await.unwrap_err();
    // One that was edited is refused as ever.
    owner
        .batch_execute("update annals.schema_history set checksum = '1' where version = 1")
        .await
        .unwrap();
    migrating(&cluster).await.unwrap_err();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn the_functions_login_is_let_in_with_the_password_of_their_secret_and_left_alone_when_it_works() {
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
    assert_eq!((second.applied.len(), second.api_login), (0, Some("as it was")));
    assert_eq!(hash().await, kept);

    // The whole of a rotation: another password in the secret, and one run.
    manager.put(&url("annals_api", "rotated").to_string());
    let rotated = migrate::run(&owner, Some(&access())).await.unwrap();
    assert_eq!(rotated.api_login, Some("set"));
    let login = url("annals_api", "rotated");
    connect(login["DATABASE_URL"].as_str().unwrap()).await;

    // Nobody else's password is touched.
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

/// CloudFormation runs a custom resource when its properties change, so one of them has to change with each migration.
#[test]
fn the_template_names_the_newest_migration() {
    let files: BTreeSet<u32> = fs::read_dir(migrations())
        .unwrap()
        .filter_map(|file| {
            let name = file.unwrap().file_name().into_string().unwrap();
            name.strip_prefix('V')?.split_once("__")?.0.parse().ok()
        })
        .collect();
    let template = fs::read_to_string(migrations().parent().unwrap().join("template.yaml")).unwrap();
    let newest = format!("Newest: V{}", files.last().unwrap());
    assert!(
        template.lines().any(|line| line.trim() == newest),
        "template.yaml should say {newest}"
    );
}

/// What waits for a lock when its time is over must not go on waiting, and block whoever comes after it.
#[tokio::test]
async fn a_run_that_was_too_late_leaves_nothing_waiting() {
    let cluster = cluster().await;
    let holder = connect(&cluster.superuser_url()).await;
    // The migrations' own: it is waited for first.
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
