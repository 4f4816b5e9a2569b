//! Dockerfile and compose.yaml. No container engine runs the tests, so they run what the two files say: the SQL that creates the database's
//! owner, the environment of the server, and its health check. `.ci/containers` checks the form of the files.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;

use local::cluster::{Cluster, FAST_BUT_UNSAFE, OWNER, Options};
use reqwest::Client as Http;
use serde_json::json;
use tests::{DataDir, Local, annals_local, connect};

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(name)).unwrap()
}

/// What follows a text up to the end of its line.
fn rest_of_line<'a>(text: &'a str, start: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("no {start}"));
    rest.lines().next().unwrap()
}

/// The variables that Dockerfile sets.
fn image_environment(dockerfile: &str) -> Vec<(&str, &str)> {
    let settings = rest_of_line(dockerfile, "\nENV ").split(' ');
    settings.map(|setting| setting.split_once('=').unwrap()).collect()
}

/// Runs the health check of Dockerfile against a port; returns whether the container would be healthy.
fn is_healthy(dockerfile: &str, port: &str) -> bool {
    let words: Vec<String> = serde_json::from_str(rest_of_line(dockerfile, "    CMD ")).unwrap();
    assert!(words[2].contains("/3000 "), "{words:?}");
    let script = words[2].replace("/3000 ", &format!("/{port} "));
    let output = Command::new(&words[0]).args([&words[1], &script]).output().unwrap();
    output.status.success()
}

/// A cluster that the init script of compose.yaml has prepared, as the image `postgres` runs it, and the address that compose.yaml gives to
/// the server. The cluster asks for passwords also on its socket, so the address has one.
async fn database(compose: &str) -> (Cluster, String) {
    let mut options = Options::ephemeral().with_settings(FAST_BUT_UNSAFE);
    options.max_connections = 50;
    let cluster = Cluster::start(options).await.unwrap();
    let admin = connect(&cluster.superuser_url_of("postgres")).await;
    admin.batch_execute("drop database annals").await.unwrap();
    admin.batch_execute(&format!("drop role {OWNER}")).await.unwrap();
    let (_, script) = compose.split_once("    content: |\n").unwrap();
    for statement in script.lines().map_while(|line| line.strip_prefix("      ")) {
        admin.batch_execute(statement).await.unwrap();
    }
    admin
        .batch_execute(&format!("alter role {OWNER} password 'x'"))
        .await
        .unwrap();
    let folder = cluster.socket_dir().display().to_string().replace('/', "%2F");
    let address = rest_of_line(compose, "DATABASE_URL: ")
        .replace(OWNER, &format!("{OWNER}:x"))
        .replace("%2Fvar%2Frun%2Fpostgresql", &format!("{folder}:{}", cluster.port()));
    assert!(address.contains(&folder) && address.contains(":x@"), "{address}");
    (cluster, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_works_as_the_files_set_it_up_and_its_health_check_notices_when_it_ends() {
    let (dockerfile, compose) = (file("Dockerfile"), file("compose.yaml"));
    let (cluster, address) = database(&compose).await;
    let data_dir = DataDir::fresh();
    let mut command = annals_local(&data_dir.0);
    command.envs(image_environment(&dockerfile));
    command
        .env("ANNALS_DATA_DIR", &data_dir.0)
        .env("ANNALS_PORT", "0")
        .env("DATABASE_URL", &address);
    let mut server = Local::start_with(command);

    // It prints the address at which the host reaches it, not that of all interfaces.
    let port = server.address().strip_prefix("http://127.0.0.1:").unwrap().to_owned();
    assert!(is_healthy(&dockerfile, &port));
    let event = json!({"event_type": "product.created", "aggregate_type": "product", "aggregate_id": "P-1",
                       "data": {"sku": "P-1", "name": "Pump", "base_price": 5}});
    server.post(&Http::new(), "/events", &event, 201).await;
    // An upload's address is on the published port, too.
    let upload = json!({"dataset": "sales"});
    let upload = server.post_and_read(&Http::new(), "/data/uploads", &upload, 201).await;
    assert!(
        upload["url"].as_str().unwrap().starts_with(server.address()),
        "{upload}"
    );
    // `docker compose exec annals annals-local token`: the key is in the data folder.
    let token = annals_local(&data_dir.0)
        .args(["token", "--role", "staff"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(token.stderr).unwrap(),
        "",
        "the running server accepts it"
    );

    assert!(server.stop());
    assert!(!is_healthy(&dockerfile, &port));
    cluster.stop().await.unwrap();
}

/// All of 127.0.0.0/8 is this machine, so a second address needs no second network.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn the_server_listens_on_127_0_0_1_only_unless_another_address_is_chosen() {
    for (chosen, reachable) in [(None, false), (Some("0.0.0.0"), true), (Some("127.0.0.2"), true)] {
        let data_dir = DataDir::fresh();
        let mut command = annals_local(&data_dir.0);
        command.env("ANNALS_PORT", "0");
        command.envs(chosen.map(|address| ("ANNALS_BIND", address)));
        let mut server = Local::start_with(command);
        let port: u16 = server.address().rsplit(':').next().unwrap().parse().unwrap();
        let there = TcpStream::connect((Ipv4Addr::new(127, 0, 0, 2), port)).is_ok();
        assert_eq!(there, reachable, "{chosen:?}");
        assert!(server.stop());
    }
}

#[test]
fn the_containers_have_no_secret_are_not_root_and_are_reached_from_this_machine_only() {
    let (dockerfile, compose) = (file("Dockerfile"), file("compose.yaml"));
    let set: Vec<&str> = compose
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .collect();
    // The only published port, and the only container with a network.
    assert_eq!(set.iter().filter(|line| line.ends_with(":3000\"")).count(), 1);
    assert!(set.contains(&"- \"127.0.0.1:3000:3000\"") && set.contains(&"network_mode: none"));
    assert_eq!(set.iter().filter(|line| **line == "ports:").count(), 1);
    for line in [
        "read_only: true",
        "- ALL",
        "- no-new-privileges:true",
        "image: postgres:17-bookworm",
    ] {
        assert!(set.contains(&line), "{line}");
    }
    for word in ["PASSWORD", "SECRET", "password"] {
        assert!(!set.iter().any(|line| line.contains(word)), "{word} in compose.yaml");
        assert!(!dockerfile.contains(word), "{word} in Dockerfile");
    }
    assert_ne!(rest_of_line(&dockerfile, "\nUSER ").split(':').next(), Some("0"));
    // The compiler is the one that Cargo.toml asks for.
    let manifest = file("Cargo.toml");
    let version = rest_of_line(&manifest, "rust-version = ").trim_matches('"');
    assert!(dockerfile.contains(&format!("FROM rust:{version}-")), "{version}");
}
