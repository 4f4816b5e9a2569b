//! Commands beside the server: what they say when something is not as their user believes.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use local::cluster::{Cluster, FAST_BUT_UNSAFE, Options};
use tests::{DataDir, World, annals_local, connect};

async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn token(data_dir: &DataDir) -> Command {
    let mut command = annals_local(&data_dir.0);
    command.args(["token", "--role", "staff"]);
    command
}

#[tokio::test]
async fn a_token_by_a_new_key_comes_with_a_warning_and_alone_on_standard_output() {
    let data_dir = DataDir::fresh();
    let first = run(token(&data_dir)).await;
    let folder = data_dir.0.display().to_string();
    let warning = said(&first);
    assert!(
        warning.starts_with("warning: ") && warning.contains(&folder) && warning.contains("ANNALS_DATA_DIR"),
        "{warning}"
    );
    let printed = String::from_utf8(first.stdout.clone()).unwrap();
    assert_eq!(
        (printed.lines().count(), printed.trim().split('.').count()),
        (1, 3),
        "{printed}"
    );
    // The key is that of whatever server starts there, so the second one is as good as any.
    let second = run(token(&data_dir)).await;
    assert_eq!((said(&second).as_str(), second.status.success()), ("", true));
    // A key that was named needs no folder.
    let elsewhere = DataDir::fresh();
    let mut named = token(&elsewhere);
    named.env("JWT_SECRET", "a secret of more than thirty-two bytes");
    assert_eq!(said(&run(named).await), "");
    assert!(!elsewhere.0.exists());
}

async fn edit_a_migration(owner_url: &str) {
    let owner = connect(owner_url).await;
    let edited = "update annals.schema_history set checksum = '1' where version = 5";
    owner.batch_execute(edited).await.unwrap();
}

#[tokio::test]
async fn a_data_folder_of_another_development_version_is_named_with_what_to_do() {
    let data_dir = DataDir::fresh();
    let cluster = Cluster::start(Options::persistent(&data_dir.0).with_settings(FAST_BUT_UNSAFE))
        .await
        .unwrap();
    annals::store::migrate(&cluster.url()).await.unwrap();
    edit_a_migration(&cluster.url()).await;
    cluster.stop().await.unwrap();
    let folder = data_dir.0.display().to_string();
    for arguments in [&[][..], &["verify"]] {
        let mut command = annals_local(&data_dir.0);
        command.env("ANNALS_PORT", "0").args(arguments);
        let refused = run(command).await;
        assert_eq!(
            (refused.status.code(), refused.stdout.len()),
            (Some(1), 0),
            "{refused:?}"
        );
        let words = said(&refused);
        for part in [
            "V5__append",
            "another development version",
            &format!("mv {folder} {folder}.old"),
            "nothing was changed",
        ] {
            assert!(words.contains(part), "{part} is missing: {words}");
        }
        assert!(!words.contains("filesystem"), "{words}");
    }
    assert!(data_dir.postmaster().is_none(), "its server was stopped again");
}

#[tokio::test]
async fn a_database_of_another_version_is_named_with_what_to_do() {
    let world = World::new().await;
    let address = world.superuser_url.clone();
    let migrate = async || {
        let mut command = annals_local(&DataDir::fresh().0);
        command.env("DATABASE_URL", &address).arg("migrate");
        let refused = run(command).await;
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        said(&refused)
    };
    let owner = world.superuser().await;
    let newer = "insert into annals.schema_history select 9999, 'later', applied_on, checksum from annals.schema_history where version = 5";
    owner.batch_execute(newer).await.unwrap();
    let words = migrate().await;
    assert!(
        words.contains("V9999__later") && words.contains("DATABASE_URL") && words.contains("newer"),
        "{words}"
    );
    owner
        .batch_execute("delete from annals.schema_history where version = 9999")
        .await
        .unwrap();
    edit_a_migration(&world.superuser_url).await;
    let words = migrate().await;
    assert!(
        words.contains("V5__append") && words.contains("use an empty database"),
        "{words}"
    );
}

/// Where there is no terminal, a line every few seconds shows that it goes on. The lock stands in for a large log.
#[tokio::test]
async fn verify_says_how_far_it_is_before_it_is_done() {
    let world = World::new().await;
    let owner = world.owner().await;
    owner
        .batch_execute("begin; lock table annals.events in access exclusive mode")
        .await
        .unwrap();
    let mut command = annals_local(&DataDir::fresh().0);
    command
        .env("DATABASE_URL", &world.address)
        .arg("verify")
        .stdin(Stdio::null());
    let verifying = tokio::spawn(run(command));
    tokio::time::sleep(Duration::from_secs(12)).await;
    owner.batch_execute("rollback").await.unwrap();
    let verified = verifying.await.unwrap();
    let words = said(&verified);
    assert!(verified.status.success() && verified.stdout.is_empty(), "{verified:?}");
    assert!(words.starts_with("verify: counting events\n"), "{words}");
    assert!(words.trim_end().ends_with("0 differences"), "{words}");
}
