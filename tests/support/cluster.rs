//! The cluster is started once per process and stopped with it. Tests copy a migrated template database, because copying takes milliseconds
//! and migrating takes seconds.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use local::cluster::{Cluster, FAST_BUT_UNSAFE, Options};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

use crate::schema_check::install_schema_check;

/// Password of every login that tests create. The cluster listens only on the loopback interface and lives only as long as the tests.
pub(crate) const PASSWORD: &str = "only-for-tests";
const TEMPLATE: &str = "annals_template";

/// The process's cluster, with the template database migrated in it.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    // On a thread of its own, because the caller may run inside a runtime, where blocking on another runtime is not allowed.
    CLUSTER.get_or_init(|| std::thread::spawn(start).join().expect("the cluster starts"))
}

#[tokio::main(flavor = "current_thread")]
async fn start() -> Cluster {
    let mut options = Options::ephemeral().with_settings(FAST_BUT_UNSAFE);
    options.max_connections = 300;
    let cluster = Cluster::start(options).await.expect("a private cluster");
    let admin = connect(&cluster.superuser_url_of("postgres")).await;
    admin
        .batch_execute(&format!("create database {TEMPLATE} owner {}", local::cluster::OWNER))
        .await
        .expect("a template");
    annals_store::migrate(&cluster.url_of(TEMPLATE))
        .await
        .expect("migrations");
    install_schema_check(&connect(&cluster.superuser_url_of(TEMPLATE)).await).await;
    set_api_password(&cluster).await;
    cluster
}

/// Gives the runtime's login the tests' password, once its role exists. For clusters of a single test, to which PgBouncer may have to log
/// in.
pub async fn set_api_password(cluster: &Cluster) {
    connect(&cluster.superuser_url_of("postgres"))
        .await
        .batch_execute(&format!("alter role annals_api password '{PASSWORD}'"))
        .await
        .expect("a password");
}

/// Creates a database with every migration applied and returns its name.
pub(crate) async fn database() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let admin = connect(&cluster().superuser_url_of("postgres")).await;
    admin
        .batch_execute(&format!(
            "create database {name} template {TEMPLATE} owner {}",
            local::cluster::OWNER
        ))
        .await
        .expect("a copy of the template");
    name
}

/// The login of [`crate::World::hostile`].
pub(crate) const HOSTILE: &str = "hostile";

/// Creates that login if it does not exist. Roles belong to the cluster, which all tests of the process share.
pub(crate) async fn hostile_login() {
    static MADE: OnceCell<()> = OnceCell::const_new();
    MADE.get_or_init(|| async {
        let admin = connect(&cluster().superuser_url_of("postgres")).await;
        admin
            .batch_execute(&format!(
                "create role {HOSTILE} login noinherit password '{PASSWORD}'; grant authenticated to {HOSTILE}"
            ))
            .await
            .expect("a hostile login");
    })
    .await;
}

/// A plain connection.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .unwrap_or_else(|e| panic!("no connection: {e:?}"));
    tokio::spawn(connection);
    client
}
