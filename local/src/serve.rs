//! `cargo run`: starts the cluster, migrates, serves every function's router on one port and prints its address and tokens.
//!
//! On a signal it stops in this order: accept no new requests, finish the running ones, end the background tasks, stop the cluster. If the
//! cluster stopped before the projector, the projector would log errors that mean nothing.

use crate::cluster::{Cluster, Options};
use crate::engine::{self, DatabaseOrigin, Engine};
use crate::environment::{DEFAULT_PORT, Environment};
use crate::secrets::JwtSecret;
use crate::server::{self, Limits};
use crate::shutdown::Shutdown;
use crate::token::{self, DEFAULT_TTL_HOURS, Holder, Role};
use crate::{Error, data_dir, output};
use annals_storage::Folder;
use chrono::TimeDelta;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpListener;

/// How long the shutdown waits for running requests, and then for background tasks. A client that keeps a response open does not stop it.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// The last port that is tried if none was chosen.
const LAST_PORT: u16 = DEFAULT_PORT + 99;

/// The database of the server.
struct Served<'a> {
    url: &'a str,
    origin: DatabaseOrigin<'a>,
    /// A shell command that opens it in psql.
    psql: String,
}

/// Serves until SIGINT or SIGTERM.
pub async fn run(environment: Environment) -> Result<(), Error> {
    let shutdown = Shutdown::listen()?;
    // The port is bound before the slow part, so a taken port is reported immediately. The address is printed only when the database is
    // ready.
    let listener = listen(&environment).await?;
    let secret = environment.jwt_secret()?;
    let data_dir = environment.data_dir()?;
    if let Some(url) = environment.database_url.as_deref() {
        let database = Served {
            url,
            origin: DatabaseOrigin::Url,
            psql: "psql \"$DATABASE_URL\"".to_owned(),
        };
        return serve(database, listener, &secret, &data_dir, shutdown).await;
    }
    let cluster = Cluster::start(Options::persistent(data_dir.clone())).await?;
    let database = Served {
        url: &cluster.url(),
        origin: DatabaseOrigin::DataDir(&data_dir),
        psql: cluster.psql_command(&data_dir),
    };
    let served = tokio::select! {
        served = serve(database, listener, &secret, &data_dir, shutdown) => served,
        never = cluster.keep_running() => match never {},
    };
    let stopped = cluster.stop().await;
    served.and(stopped)
}

async fn serve(
    database: Served<'_>,
    listener: TcpListener,
    secret: &JwtSecret,
    data_dir: &Path,
    mut shutdown: Shutdown,
) -> Result<(), Error> {
    let applied = engine::migrate(database.url, database.origin).await?;
    if applied > 0 {
        tracing::info!(migrations.applied = applied, "migrated the database");
    }
    if shutdown.is_requested() {
        return Ok(());
    }
    let folder = upload_folder(data_dir, &listener, secret)?;
    let Engine { router, mut background } = Engine::start(database.url, secret, folder, &shutdown)?;
    let address = own_address(&listener)?;
    let _serving = data_dir::create(data_dir)
        .and_then(|()| data_dir::serve_on(data_dir, address.port()))
        // Only `token` and `demo` read it. With DATABASE_URL and JWT_SECRET the server needs no folder that it can write.
        .inspect_err(|error| tracing::warn!(error = annals_telemetry::chain(error), "the port is not kept in the data folder"));
    announce(address, &database.psql, secret)?;
    tokio::select! {
        () = server::serve(listener, router, Limits::default(), shutdown.clone()) => {}
        () = async { shutdown.requested().await; tokio::time::sleep(SHUTDOWN_TIMEOUT).await } => {}
    }
    let ended = async { while background.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, ended).await.is_err() {
        background.shutdown().await;
    }
    Ok(())
}

/// If the port is taken, probably another `cargo run` uses it. If that runs on the same data folder, this error says so.
fn already_running(environment: &Environment) -> Option<Error> {
    let data_dir = environment
        .data_dir()
        .ok()
        .filter(|data_dir| environment.database_url.is_none() && data_dir.is_dir())?;
    data_dir::lock(&data_dir)
        .err()
        .filter(|error| matches!(error, Error::AlreadyRunning { .. }))
}

/// The chosen port, or the first free one from [`DEFAULT_PORT`]. A chosen port that is taken is an error.
async fn listen(environment: &Environment) -> Result<TcpListener, Error> {
    let refused = match bind(environment.bind, environment.port.unwrap_or(DEFAULT_PORT)).await {
        Ok(listener) => return Ok(listener),
        Err(refused) => already_running(environment).unwrap_or(refused),
    };
    if environment.port.is_some() || !is_taken(&refused) {
        return Err(refused);
    }
    for port in DEFAULT_PORT + 1..=LAST_PORT {
        match bind(environment.bind, port).await {
            Ok(listener) => {
                eprintln!(
                    "port {DEFAULT_PORT} is taken by another program, so this server uses port {port}; ANNALS_PORT chooses another one"
                );
                return Ok(listener);
            }
            Err(error) if is_taken(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Err(refused)
}

fn is_taken(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
}

async fn bind(ip: IpAddr, port: u16) -> Result<TcpListener, Error> {
    let address = SocketAddr::new(ip, port);
    TcpListener::bind(address)
        .await
        .map_err(Error::io_doing(format!("listen on {address}")))
}

/// The address at which clients on this machine reach the server. If it listens on all addresses, as in a container, that is the loopback
/// address: a container's port is published there.
fn own_address(listener: &TcpListener) -> Result<SocketAddr, Error> {
    let mut address = listener.local_addr().map_err(Error::io_doing("read our own address"))?;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(address)
}

/// The folder of large files. Their upload addresses are on our own port.
fn upload_folder(data_dir: &Path, listener: &TcpListener, secret: &JwtSecret) -> Result<Folder, Error> {
    let base = format!("http://{}", own_address(listener)?);
    Ok(Folder::new(
        data_dir.join("uploads"),
        base,
        secret.as_str().as_bytes().to_vec(),
    ))
}

/// Prints the address, what else is there, and a token for each role. Scripts and tests read the first line.
///
/// The tokens are assignments, so that all of them can be pasted into a shell at once.
fn announce(address: SocketAddr, psql: &str, secret: &JwtSecret) -> Result<(), Error> {
    let api = format!("http://{address}/api/v1");
    output::line(&format!(
        "listening on http://{address}\n\n\
         API pages     http://{address}/docs\n\
         API document  {api}/openapi.json\n\
         database      {psql}\n\n\
         Tokens for {DEFAULT_TTL_HOURS} hours. Paste them into a shell; then, for example: curl -H \"Authorization: Bearer $staff\" {api}/events\n"
    ))?;
    for (name, role) in [
        ("staff", Role::Staff),
        ("user", Role::User),
        ("agent", Role::Agent),
        ("service", Role::Service),
    ] {
        let token = token::mint(secret, Holder::of(role), TimeDelta::hours(i64::from(DEFAULT_TTL_HOURS)))?;
        output::line(&format!("{name}={token}"))?;
    }
    Ok(())
}
