//! Which servers a connection trusts: certificate chain and host name are verified whichever `sslmode` asks for TLS. Only
//! `sslmode=disable` and addresses on the same machine work without TLS.

use annals_store::{Access, Ahead, migrate_by};
use annals_telemetry::chain;
use tests::{Authority, SecuredServer, World, connect};

const HOST: &str = "db.example.com";

fn access(url: &str, authority: &Authority) -> Access {
    Access {
        authorities: Some(authority.pem()),
        ..Access::to(url)
    }
}

/// Why the connection fails.
async fn refusal(access: &Access) -> String {
    match migrate_by(access, Ahead::Refused, &mut |_| ()).await {
        Ok(_) => "none".to_owned(),
        Err(error) => chain(&error),
    }
}

#[tokio::test]
async fn a_certificate_is_accepted_only_for_its_host_while_valid_and_signed_by_a_known_authority() {
    let server = SecuredServer::start().await;
    let (authority, stranger) = (Authority::new(), Authority::new());
    for word in [
        "sslmode=verify-full",
        "sslmode=verify-ca",
        "sslmode=require",
        "sslmode=prefer",
        "",
    ] {
        let right = access(&server.url(HOST, word), &authority);
        server.show(&authority.sign(HOST, 2100)).await;
        assert_eq!(refusal(&right).await, "none", "{word}");

        let wrong_host = access(&server.url("db.example.org", word), &authority);
        assert!(refusal(&wrong_host).await.contains("not valid for name"), "{word}");
        let unknown = access(&server.url(HOST, word), &stranger);
        assert!(refusal(&unknown).await.contains("UnknownIssuer"), "{word}");
        // With the public authorities alone.
        let usual = Access::to(server.url(HOST, word));
        assert!(refusal(&usual).await.contains("UnknownIssuer"), "{word}");

        server.show(&authority.sign(HOST, 2021)).await;
        assert!(refusal(&right).await.contains("expired"), "{word}");
    }
    server.cluster.stop().await.unwrap();
}

#[tokio::test]
async fn the_functions_connections_are_encrypted_unless_the_address_says_otherwise() {
    let server = SecuredServer::start().await;
    let authority = Authority::new();
    server.show(&authority.sign(HOST, 2100)).await;
    let superuser = connect(&server.cluster.superuser_url()).await;
    for (url, encrypted) in [
        (server.url(HOST, ""), true),
        (server.url(HOST, "sslmode=disable"), false),
        // On the same machine.
        (server.url("localhost", ""), false),
        (server.url("localhost", "sslmode=disable"), false),
    ] {
        let world = World::by("annals".to_owned(), access(&url, &authority));
        world.get(&tests::Person::staff(), "/events").await.expect(200);
        let sql = "select bool_and(ssl), bool_or(ssl) from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'annals'";
        let row = superuser.query_one(sql, &[]).await.unwrap();
        assert_eq!((row.get(0), row.get(1)), (encrypted, encrypted), "{url}");
        drop(world);
        let ended = "select pg_terminate_backend(pid, 60000) from pg_stat_activity where application_name = 'annals'";
        superuser.query(ended, &[]).await.unwrap();
    }
    server.cluster.stop().await.unwrap();
}

/// If a server (or an attacker in its place) says that it has no TLS, the client sends nothing more.
#[tokio::test]
async fn no_password_is_given_to_a_server_without_tls() {
    let server = SecuredServer::start().await;
    let authority = Authority::new();
    for word in ["sslmode=verify-full", "sslmode=prefer", ""] {
        let refused = refusal(&access(&server.url(HOST, word), &authority)).await;
        assert!(refused.contains("server does not support TLS"), "{word}: {refused}");
    }
    server.cluster.stop().await.unwrap();
}

#[test]
fn invalid_certificates_of_authorities_are_reported_when_the_process_starts() {
    for given in [
        "",
        "not a certificate",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let access = Access {
            authorities: Some(given.to_owned()),
            ..Access::to("postgresql://annals_api@db.example.com/annals")
        };
        assert!(annals_store::Store::open(access, 1).is_err(), "{given:?}");
    }
}
