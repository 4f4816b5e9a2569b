//! Private clusters start, keep their data, and leave nothing behind. With real PostgreSQL, as root and as another user.

use local::Error;
use local::cluster::{Cluster, FAST_BUT_UNSAFE, Options};
use local::database::Database;
use local::environment::Environment;
use std::error::Error as StdError;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

type Outcome = Result<(), Box<dyn StdError>>;

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// A folder that is removed at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(mode: u32) -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("annals-test-{}", Uuid::new_v4().simple()));
        fs::DirBuilder::new().mode(mode).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn the_owner_owns_the_database_and_is_no_superuser() -> Outcome {
    let cluster = Cluster::start(Options::ephemeral().with_settings(FAST_BUT_UNSAFE)).await?;
    let owner = connect(&cluster.url()).await?;
    let row = owner
        .query_one(
            "select rolsuper, rolcreaterole, rolbypassrls, current_setting('fsync'), current_setting('password_encryption'),
                    pg_catalog.pg_get_userbyid(datdba) = rolname
               from pg_roles, pg_database where rolname = current_user and datname = current_database()",
            &[],
        )
        .await?;
    let flags: [bool; 3] = [row.get(0), row.get(1), row.get(2)];
    assert_eq!(flags, [false, true, false]);
    assert_eq!(
        (row.get::<_, &str>(3), row.get::<_, &str>(4), row.get::<_, bool>(5)),
        ("off", "scram-sha-256", true)
    );
    owner
        .batch_execute("create table public.proof (); create role made_by_owner")
        .await?;
    let superuser = connect(&cluster.superuser_url()).await?;
    assert_eq!(
        superuser.query_one("show is_superuser", &[]).await?.get::<_, &str>(0),
        "on"
    );
    let wrong = cluster.url().replacen("annals_owner:", "annals_owner:x", 1);
    assert!(connect(&wrong).await.is_err(), "a wrong password is refused");
    Ok(cluster.stop().await?)
}

#[tokio::test]
async fn temporary_clusters_run_concurrently_and_are_removed() -> Outcome {
    let options = || Options::ephemeral().with_settings(FAST_BUT_UNSAFE);
    let (one, two) = tokio::try_join!(Cluster::start(options()), Cluster::start(options()))?;
    assert_ne!(one.port(), two.port());
    let (stopped, dropped) = (one.location().to_owned(), two.location().to_owned());
    assert!(stopped.is_dir() && dropped.is_dir());
    one.stop().await?;
    drop(two);
    assert!(!stopped.exists() && !dropped.exists());
    Ok(())
}

#[tokio::test]
async fn a_persistent_cluster_keeps_its_rows_its_passwords_and_its_lock() -> Outcome {
    let folder = Folder::new(0o755)?;
    let data_dir = folder.0.join(".annals");
    let first = Cluster::start(Options::persistent(&data_dir)).await?;
    connect(&first.url())
        .await?
        .batch_execute("create table kept as select 7 as number")
        .await?;
    let second = Cluster::start(Options::persistent(&data_dir)).await;
    assert!(
        matches!(second, Err(Error::AlreadyRunning { holder: Some(_), .. })),
        "{second:?}"
    );
    first.stop().await?;

    for secret in ["superuser-password", "owner-password"] {
        assert_eq!(fs::metadata(data_dir.join(secret))?.permissions().mode() & 0o777, 0o600);
    }
    let again = Cluster::start(Options::persistent(&data_dir)).await?;
    assert!(again.location().starts_with(&data_dir));
    let number: i32 = connect(&again.url())
        .await?
        .query_one("select number from kept", &[])
        .await?
        .get(0);
    assert_eq!(number, 7);
    Ok(again.stop().await?)
}

/// `replay`, `rebuild` and `verify` rely on this: a command stops the cluster only if it has started it.
#[tokio::test]
async fn a_command_uses_a_running_cluster_and_otherwise_starts_and_stops_its_own() -> Outcome {
    let folder = Folder::new(0o755)?;
    let data_dir = folder.0.join(".annals");
    let environment = Environment {
        bind: Ipv4Addr::LOCALHOST.into(),
        port: Some(0),
        data_dir: Some(data_dir.clone()),
        database_url: None,
        jwt_secret: None,
    };
    let ping = async |database: Database| {
        let store = database.store(1)?;
        let work = async { store.ping().await.map_err(|_| Error::Invalid("no answer".to_owned())) };
        database.run(work).await
    };
    let serving = Cluster::start(Options::persistent(&data_dir)).await?;
    ping(Database::open(&environment).await?).await?;
    connect(&serving.url()).await?.query("select", &[]).await?;
    serving.stop().await?;
    let pid_file = data_dir.join("postgres/pgdata/postmaster.pid");
    assert!(!pid_file.exists(), "no server runs before the command");

    let own = Database::open(&environment).await?;
    assert!(pid_file.exists());
    ping(own).await?;
    assert!(!pid_file.exists(), "the server stops with the command");
    Ok(())
}

/// A folder that the server's account cannot enter, with a path that is too long for a socket. As root the whole cluster is elsewhere, as
/// another user only its socket. In both cases the next start finds the cluster again.
#[tokio::test]
async fn a_data_folder_that_is_closed_and_has_a_long_path_works() -> Outcome {
    let folder = Folder::new(0o700)?;
    let data_dir = folder.0.join("x".repeat(90)).join(".annals");
    let first = Cluster::start(Options::persistent(&data_dir)).await?;
    let (place, socket_dir) = (first.location().to_owned(), first.socket_dir().to_owned());
    assert!(socket_dir.join(format!(".s.PGSQL.{}", first.port())).exists());
    connect(&first.url())
        .await?
        .batch_execute("create table kept ()")
        .await?;
    first.stop().await?;
    let again = Cluster::start(Options::persistent(&data_dir)).await?;
    assert_eq!(again.location(), place);
    connect(&again.url()).await?.query("select from kept", &[]).await?;
    again.stop().await?;
    for rest in [place, socket_dir].iter().filter(|rest| rest.exists()) {
        fs::remove_dir_all(rest)?;
    }
    Ok(())
}

/// Runs only as the child process of the tests below.
#[tokio::test]
#[ignore = "aborts on purpose: it is the child process of the tests below"]
async fn child_that_aborts_with_a_cluster() -> Outcome {
    let home = std::env::var("ANNALS_TEST_HOME")?;
    let options = match home.as_str() {
        "" => Options::ephemeral().with_settings(FAST_BUT_UNSAFE),
        folder => Options::persistent(folder),
    };
    let cluster = Cluster::start(options).await?;
    connect(&cluster.url())
        .await?
        .batch_execute("create table kept ()")
        .await?;
    fs::write(
        std::env::var("ANNALS_TEST_NOTE")?,
        format!("{}\n{}", cluster.location().display(), cluster.port()),
    )?;
    std::process::abort();
}

async fn abort_a_child_in(home: &str) -> Result<(PathBuf, u16), Box<dyn StdError>> {
    let notes = Folder::new(0o700)?;
    let note = notes.0.join("note");
    let child = tokio::process::Command::new(std::env::current_exe()?)
        .args(["--ignored", "--exact", "child_that_aborts_with_a_cluster"])
        .env("ANNALS_TEST_HOME", home)
        .env("ANNALS_TEST_NOTE", &note)
        .output()
        .await?;
    assert!(!child.status.success());
    let note = fs::read_to_string(&note)?;
    let (place, port) = note.split_once('\n').ok_or("no note")?;
    Ok((place.into(), port.parse()?))
}

#[tokio::test]
async fn a_temporary_cluster_does_not_outlive_an_aborted_process() -> Outcome {
    let (place, _) = abort_a_child_in("").await?;
    for _ in 0..100 {
        if !place.exists() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("{} is still there", place.display()).into())
}

#[tokio::test]
async fn a_cluster_left_by_an_aborted_process_is_adopted() -> Outcome {
    let folder = Folder::new(0o755)?;
    let data_dir = folder.0.join(".annals");
    let (place, port) = abort_a_child_in(data_dir.to_str().ok_or("not UTF-8")?).await?;
    let cluster = Cluster::start(Options::persistent(&data_dir)).await?;
    assert_eq!(
        (cluster.location(), cluster.port()),
        (place.as_path(), port),
        "the same server keeps running"
    );
    connect(&cluster.url()).await?.query("select from kept", &[]).await?;
    cluster.stop().await?;
    assert!(
        !place.join("pgdata/postmaster.pid").exists(),
        "the process that adopted it stops it"
    );
    Ok(())
}
