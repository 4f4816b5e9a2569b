//! `cargo run`: starts the cluster, migrates, serves every function's router on one port and prints tokens.
//!
//! On a signal it stops in this order: accept no new requests, finish the running ones, end the background tasks, stop the cluster. If the
//! cluster stopped before the projector, the projector would log errors that mean nothing.

use crate::cluster::{Cluster, Options};
use crate::engine::{self, DatabaseOrigin, Engine};
use crate::environment::Environment;
use crate::secrets::JwtSecret;
use crate::server::{self, Limits};
use crate::shutdown::Shutdown;
use crate::token::{self, DEFAULT_TTL_HOURS, Holder, Role};
use crate::{Error, data_dir, output};
use annals_storage::Folder;
use chrono::TimeDelta;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpListener;

/// How long the shutdown waits for running requests, and then for background tasks. A client that keeps a response open does not stop it.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until SIGINT or SIGTERM.
pub async fn run(environment: Environment) -> Result<(), Error> {
    let shutdown = Shutdown::listen()?;
    // The port is bound before the slow part, so a taken port is reported immediately. The address is printed only when the database is
    // ready.
    let listener = match bind(environment.port).await {
        Ok(listener) => listener,
        Err(refused) => return Err(already_running(&environment).unwrap_or(refused)),
    };
    let secret = environment.jwt_secret()?;
    if let Some(url) = environment.database_url.as_deref() {
        return serve(
            url,
            DatabaseOrigin::Url,
            listener,
            &secret,
            &environment.data_dir()?,
            shutdown,
        )
        .await;
    }
    let data_dir = environment.data_dir()?;
    let cluster = Cluster::start(Options::persistent(data_dir.clone())).await?;
    let url = cluster.url();
    let served = tokio::select! {
        served = serve(&url, DatabaseOrigin::DataDir(&data_dir), listener, &secret, &data_dir, shutdown) => served,
        never = cluster.keep_running() => match never {},
    };
    let stopped = cluster.stop().await;
    served.and(stopped)
}

async fn serve(
    database_url: &str,
    origin: DatabaseOrigin<'_>,
    listener: TcpListener,
    secret: &JwtSecret,
    data_dir: &Path,
    mut shutdown: Shutdown,
) -> Result<(), Error> {
    engine::migrate(database_url, origin).await?;
    if shutdown.is_requested() {
        return Ok(());
    }
    let folder = upload_folder(data_dir, &listener, secret)?;
    let Engine { router, mut background } = Engine::start(database_url, secret, folder, &shutdown)?;
    announce(&listener, secret)?;
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

async fn bind(port: u16) -> Result<TcpListener, Error> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address)
        .await
        .map_err(Error::io_doing(format!("listen on {address}")))
}

fn own_address(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(Error::io_doing("read our own address"))
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

/// Prints the address, and a token for each role. Scripts and tests read these lines.
fn announce(listener: &TcpListener, secret: &JwtSecret) -> Result<(), Error> {
    output::line(&format!("listening on http://{}", own_address(listener)?))?;
    for (name, role) in [
        ("staff", Role::Staff),
        ("user", Role::User),
        ("agent", Role::Agent),
        ("service", Role::Service),
    ] {
        let token = token::mint(secret, Holder::of(role), TimeDelta::hours(i64::from(DEFAULT_TTL_HOURS)))?;
        output::line(&format!("{name}  {token}"))?;
    }
    Ok(())
}
