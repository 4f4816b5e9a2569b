//! The database: its migrations, and the login with which the API reaches it, as deployed.
//!
//! The login's password is random and kept in a table that only the owner reads. The login belongs to the server, the table to the database:
//! if another database of the same server was set up later, the password is set again.

use std::sync::Arc;

use annals::auth::Verifier;
use annals_config::AuthConfig;
use annals_queue::Queue;
use annals_storage::{Folder, Storage};
use annals_store::{Access, Store, ensure_api_login};
use axum::Router;
use local::engine::App;
use tests::{SECRET, connect};
use tokio_postgres::Client;
use uuid::Uuid;

/// Connections of the API: one for each of 16 writers.
const CONNECTIONS: usize = 16;
/// Where the password is kept.
const LOGIN: &str = "
create schema if not exists bench;
revoke all on schema bench from public;
create table if not exists bench.login (password text not null)";

/// The database of `DATABASE_URL`.
pub struct Database {
    url: String,
}

impl Database {
    /// The database at this address.
    pub fn of(url: &str) -> Self {
        Self { url: url.to_owned() }
    }

    /// A connection as the owner.
    pub async fn owner(&self) -> Client {
        connect(&self.url).await
    }

    /// Migrates, and chooses the password of the login.
    pub async fn set_up(&self) {
        annals_store::migrate(&self.url).await.expect("migrations");
        let owner = self.owner().await;
        owner.batch_execute(LOGIN).await.expect("a table for the password");
        let password = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let keep = "insert into bench.login (password) select $1 where not exists (select from bench.login)";
        owner.execute(keep, &[&password]).await.expect("a password");
    }

    /// The HTTP functions in front of this database. Their wake-ups go nowhere: nothing projects.
    pub async fn functions(&self) -> Router {
        let kept = self
            .owner()
            .await
            .query_one("select password from bench.login", &[])
            .await;
        let password: String = kept.expect("`bench peer setup` first").get(0);
        let (owner, api) = (Access::to(&self.url), Access::to(as_api(&self.url, &password)));
        ensure_api_login(&owner, &api).await.expect("the login");
        let auth = AuthConfig {
            secret: Some(SECRET.to_owned()),
            audience: "authenticated".to_owned(),
            issuer: Some("tests".to_owned()),
            ..AuthConfig::default()
        };
        let no_files = Folder::new(std::env::temp_dir(), String::new(), Vec::new());
        local::engine::router(App {
            store: Store::open(api, CONNECTIONS).expect("an address"),
            verifier: Arc::new(Verifier::new(&auth).expect("a verifier")),
            queue: Queue::Unconfigured,
            storage: Storage::Folder(no_files),
        })
    }
}

/// The same address for the login `annals_api`.
fn as_api(url: &str, password: &str) -> String {
    let (scheme, rest) = url.split_once("://").expect("DATABASE_URL is a URL");
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let others: Vec<&str> = query
        .split('&')
        .filter(|part| !part.is_empty() && !part.starts_with("user=") && !part.starts_with("password="))
        .collect();
    let query = if others.is_empty() {
        String::new()
    } else {
        format!("?{}", others.join("&"))
    };
    format!("{scheme}://annals_api:{password}@{host}{path}{query}")
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn only_the_login_of_an_address_is_replaced() {
        for (url, expected) in [
            ("postgres://u:p@host:5433/db", "postgres://annals_api:x@host:5433/db"),
            (
                "postgresql://host/db?sslmode=disable",
                "postgresql://annals_api:x@host/db?sslmode=disable",
            ),
            (
                "postgresql:///db?host=/run&user=u",
                "postgresql://annals_api:x@/db?host=/run",
            ),
            ("postgres://u%40v:p@host", "postgres://annals_api:x@host"),
        ] {
            assert_eq!(as_api(url, "x"), expected);
        }
    }
}
