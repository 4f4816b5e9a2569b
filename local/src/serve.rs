//! `cargo run`: cluster, migrations, every function's router on one port, tokens; and all of it backwards on a signal.
//!
//! Order on the way down: no new requests, the running ones to their end, the background tasks, the cluster. A projector
//! that lost its database first would report errors that mean nothing.

use crate::cli::Environment;
use crate::cluster::{Cluster, Options};
use crate::engine::{self, Engine, Place};
use crate::secrets::JwtSecret;
use crate::server::{self, Limits};
use crate::shutdown::Shutdown;
use crate::token::{self, DEFAULT_TTL_HOURS, Holder, Role};
use crate::{Error, data_dir, output};
use annals::storage::Folder;
use chrono::TimeDelta;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpListener;

/// A client that keeps a response open does not keep the server from ending.
const GRACE: Duration = Duration::from_secs(10);

/// Serves until SIGINT or SIGTERM.
pub async fn run(environment: Environment) -> Result<(), Error> {
    let shutdown = Shutdown::listen()?;
    // Before the slow part: a taken port is known at once, and nobody is told of ours until the database is ready.
    let listener = match bind(environment.port).await {
        Ok(listener) => listener,
        Err(refused) => return Err(already_running(&environment).unwrap_or(refused)),
    };
    let secret = environment.jwt_secret()?;
    if let Some(url) = environment.database_url.as_deref() {
        return serve(
            url,
            Place::Address,
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
        served = serve(&url, Place::Folder(&data_dir), listener, &secret, &data_dir, shutdown) => served,
        never = cluster.keep_running() => match never {},
    };
    let stopped = cluster.stop().await;
    served.and(stopped)
}

async fn serve(
    database_url: &str,
    place: Place<'_>,
    listener: TcpListener,
    secret: &JwtSecret,
    data_dir: &Path,
    mut shutdown: Shutdown,
) -> Result<(), Error> {
    engine::migrate(database_url, place).await?;
    if shutdown.is_asked() {
        return Ok(());
    }
    let folder = folder(data_dir, &listener, secret)?;
    let Engine { router, mut background } = Engine::start(database_url, secret, folder, &shutdown)?;
    announce(&listener, secret)?;
    tokio::select! {
        () = server::serve(listener, router, Limits::default(), shutdown.clone()) => {}
        () = async { shutdown.asked().await; tokio::time::sleep(GRACE).await } => {}
    }
    if tokio::time::timeout(GRACE, async { while background.join_next().await.is_some() {} })
        .await
        .is_err()
    {
        background.shutdown().await;
    }
    Ok(())
}

/// The likeliest holder of a taken port is another `cargo run` on the same folder, and then that is what to say.
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
    TcpListener::bind(address).await.map_err(|source| Error::Io {
        doing: format!("listen on {address}"),
        source,
    })
}

fn own_address(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|source| Error::Io {
        doing: "read our own address".to_owned(),
        source,
    })
}

/// Where large files lie, behind our own address.
fn folder(data_dir: &Path, listener: &TcpListener, secret: &JwtSecret) -> Result<Folder, Error> {
    let base = format!("http://{}", own_address(listener)?);
    Ok(Folder::new(
        data_dir.join("uploads"),
        base,
        secret.as_str().as_bytes().to_vec(),
    ))
}

/// The lines that DESIGN §8 promises.
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
