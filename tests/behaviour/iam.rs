//! RDS IAM authentication: each connection logs in with a token of its own, which is only ever sent to the database.

use annals_aws::rds::TokenSigner;
use annals_store::{Access, Address, ConnectError, Login, Store};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use futures_util::future::join_all;
use serde_json::json;
use tests::{ACCESS_KEY, Authority, Person, REGION, RdsLogin, SECRET_KEY, SecretsManager, SecuredServer, World};

const HOST: &str = "annals.cluster-1.eu-central-1.rds.example.com";

fn access(url: &str, authority: &Authority, secret_key: &str) -> Access {
    let credentials = Credentials::new(
        ACCESS_KEY,
        secret_key,
        Some("a/session+token==".to_owned()),
        None,
        "tests",
    );
    let credentials = SharedCredentialsProvider::new(credentials);
    Access {
        login: Login::Iam(TokenSigner::new(credentials, REGION.to_owned())),
        authorities: Some(authority.pem()),
        ..Access::to(url)
    }
}

#[tokio::test]
async fn each_connection_logs_in_with_a_token_signed_by_the_functions_role() {
    let (server, authority) = (SecuredServer::start().await, Authority::new());
    server.trust_api().await;
    let rds = RdsLogin::before(server.cluster.port(), &authority.sign(HOST, 2100)).await;
    let url = format!("postgresql://annals_api@{HOST}:{}/annals?hostaddr=127.0.0.1", rds.port);
    let staff = Person::staff();
    let post = async |world: &World, id: &str| {
        let event = json!({"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": id, "data": {"name": "Ada"}});
        world.post(&staff, "/events", event).await
    };

    let world = World::by("annals".to_owned(), access(&url, &authority, SECRET_KEY));
    let ids: Vec<String> = (0..5).map(|n| format!("C-{n}")).collect();
    for answer in join_all(ids.iter().map(|id| post(&world, id))).await {
        answer.expect(201);
    }
    assert!(rds.tokens().len() > 1, "a token for each connection");

    // A role without the right to connect, or one of another account.
    let stranger = World::by("annals".to_owned(), access(&url, &authority, "another key"));
    assert_eq!(post(&stranger, "C-1").await.problem(503), "unavailable");
    // A server that only pretends to be the database gets no token.
    let shown = rds.tokens().len();
    let deceived = World::by("annals".to_owned(), access(&url, &Authority::new(), SECRET_KEY));
    assert_eq!(post(&deceived, "C-1").await.problem(503), "unavailable");
    assert_eq!(rds.tokens().len(), shown);
    server.cluster.stop().await.unwrap();
}

/// A secret in the format of RDS, without a password, which IAM authentication does not need.
#[tokio::test]
async fn a_secret_in_parts_needs_no_password() {
    let (server, authority) = (SecuredServer::start().await, Authority::new());
    server.trust_api().await;
    let rds = RdsLogin::before(server.cluster.port(), &authority.sign("localhost", 2100)).await;
    // The host name in capitals is this machine too, but TLS is only optional for the exact names.
    let secret = json!({"host": "LOCALHOST", "port": rds.port, "username": "annals_api", "dbname": "annals"});
    let manager = SecretsManager::with(&secret).await;
    let by_secret = |login: Login| Access {
        address: Address::Secret(manager.secrets()),
        login,
        ..access("", &authority, SECRET_KEY)
    };
    let iam = access("", &authority, SECRET_KEY).login;
    let world = World::by("annals".to_owned(), by_secret(iam));
    world.get(&Person::staff(), "/events").await.expect(200);
    // A password login fails without a password.
    let world = World::by("annals".to_owned(), by_secret(Login::Password));
    assert_eq!(world.get(&Person::staff(), "/events").await.problem(503), "unavailable");
    server.cluster.stop().await.unwrap();
}

#[test]
fn a_token_is_never_sent_without_tls() {
    for url in [
        "postgresql://annals_api@annals.eu-central-1.rds.amazonaws.com/annals?sslmode=disable",
        "postgresql://annals_api@localhost/annals",
    ] {
        let refused = Store::open(access(url, &Authority::new(), SECRET_KEY), 1).err();
        assert!(matches!(refused, Some(ConnectError::TokenUnencrypted)), "{url}");
    }
}
