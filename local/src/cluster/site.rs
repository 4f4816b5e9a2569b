//! Where on disk a cluster lives.
//!
//! Mostly in `postgres/` of the data folder. Two limits of other people's making move parts of it: the server's account must
//! be able to walk there (root's project under /root/x is closed to `postgres`), and a Unix socket's path may have 107 bytes
//! on Linux, 103 on macOS.

use super::account::Account;
use crate::data_dir;
use crate::{Error, secrets};
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Name of the file in the data folder that says where the cluster is, if not beside it.
const POINTER: &str = "cluster-location";
/// The stricter of the two systems' limits.
const SOCKET_PATH_BYTES: usize = 103;
/// Folders for clusters of root whose own folder is closed to the server's account.
const ELSEWHERE: &[&str] = &["/var/lib/annals", "/var/tmp/annals"];

/// A cluster's folders; the server's account owns both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    /// Everything of the cluster but, perhaps, the socket.
    pub(super) place: PathBuf,
    /// Folder of the Unix socket.
    pub(super) socket_dir: PathBuf,
}

impl Site {
    /// The site of a data folder, and the account that runs it: the one given, or the owner of the cluster found there.
    pub(super) fn persistent(data_dir: &Path, account: Account) -> Result<(Self, Account), Error> {
        let place = match pointed_to(data_dir)? {
            Some(place) => place,
            None => settle(data_dir, account)?,
        };
        let account = account.or_owner_of(&place);
        Ok((Self::at(place, account)?, account))
    }

    /// A new folder of its own.
    pub(super) fn temporary(account: &Account) -> Result<Self, Error> {
        let candidates = [std::env::temp_dir(), PathBuf::from("/tmp"), PathBuf::from("/var/tmp")];
        let parent = candidates
            .iter()
            .find(|folder| account.reaches(folder))
            .unwrap_or(&candidates[0]);
        let place = parent.join(format!("annals-{}", Uuid::new_v4().simple()));
        private_folder(&place, *account)?;
        Self::at(place, *account)
    }

    fn at(place: PathBuf, account: Account) -> Result<Self, Error> {
        let socket_dir = socket_dir(&place);
        match private_folder(&socket_dir, account) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                check_ours(&socket_dir, account)?;
            }
            made => made?,
        }
        Ok(Self { place, socket_dir })
    }

    /// PostgreSQL's own data directory.
    pub(super) fn pgdata(&self) -> PathBuf {
        pgdata_of(&self.place)
    }

    /// The server's log.
    pub(super) fn log(&self) -> PathBuf {
        self.place.join("server.log")
    }

    /// Major version of the cluster that is here, if one is.
    pub(super) fn major_version(&self) -> Result<Option<u32>, Error> {
        let path = self.pgdata().join("PG_VERSION");
        match fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse() {
                Ok(major) => Ok(Some(major)),
                Err(_) => Err(Error::Invalid(format!(
                    "{} does not name a version: {:?}",
                    path.display(),
                    text.trim()
                ))),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }
}

/// Where the cluster of this data folder is, if it has one; for those who do not hold the folder's lock, and change nothing.
pub(super) fn place_of(data_dir: &Path) -> PathBuf {
    match fs::read_to_string(data_dir.join(POINTER)) {
        Ok(text) => PathBuf::from(text.trim()),
        Err(_) => data_dir.join("postgres"),
    }
}

/// PostgreSQL's own data directory in a cluster's place.
pub(super) fn pgdata_of(place: &Path) -> PathBuf {
    place.join("pgdata")
}

/// The place that the data folder's pointer names. Where that is gone (a container made anew around a kept volume), a new
/// cluster begins, and the log says that the old one is lost.
fn pointed_to(data_dir: &Path) -> Result<Option<PathBuf>, Error> {
    let pointer = data_dir.join(POINTER);
    match fs::read_to_string(&pointer) {
        Ok(text) if Path::new(text.trim()).is_dir() => Ok(Some(PathBuf::from(text.trim()))),
        Ok(text) => {
            tracing::warn!(
                location = text.trim(),
                "the cluster of this data folder is gone, beginning a new one"
            );
            fs::remove_file(&pointer).map_err(Error::io("remove", &pointer))?;
            Ok(None)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", &pointer)(error)),
    }
}

/// Finds or makes the place beside the secrets, or else elsewhere with a pointer to it.
fn settle(data_dir: &Path, account: Account) -> Result<PathBuf, Error> {
    let beside = data_dir.join("postgres");
    if beside.is_dir() {
        return Ok(beside);
    }
    if account.reaches(data_dir) {
        match private_folder(&beside, account) {
            Ok(()) => return Ok(beside),
            // A mount that knows no owners (a shared folder of a virtual machine) refuses chown, even root's.
            Err(error) if account != Account::Ours => {
                tracing::debug!(%error, "no place for a cluster in the data folder")
            }
            Err(error) => return Err(error),
        }
    }
    let place = settle_elsewhere(data_dir, account)?;
    let text = place
        .to_str()
        .ok_or_else(|| Error::Invalid(format!("{} is not UTF-8", place.display())))?;
    secrets::write_private(&data_dir.join(POINTER), text)?;
    Ok(place)
}

/// The first free name for this data folder. One that is taken without a pointer to it belonged to a data folder that has
/// been removed, or is not mounted now: it is left alone, because nobody can tell which.
fn settle_elsewhere(data_dir: &Path, account: Account) -> Result<PathBuf, Error> {
    let name = digest(data_dir);
    let mut refusal = Error::Invalid(format!(
        "no folder for a cluster that the server's account can reach: {ELSEWHERE:?}"
    ));
    for parent in ELSEWHERE.iter().map(Path::new) {
        if let Err(error) = data_dir::create(parent) {
            refusal = error;
            continue;
        }
        for attempt in 1..1000 {
            let place = parent.join(if attempt == 1 {
                name.clone()
            } else {
                format!("{name}-{attempt}")
            });
            match private_folder(&place, account) {
                Ok(()) => return Ok(place),
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                    tracing::warn!(location = %place.display(), "left alone: the cluster of an earlier data folder of this name");
                }
                Err(error) => {
                    refusal = error;
                    break;
                }
            }
        }
    }
    Err(refusal)
}

/// Makes a folder for the account alone. Fails where there is one.
fn private_folder(path: &Path, account: Account) -> Result<(), Error> {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(Error::io("create", path))?;
    account.own(path).inspect_err(|_| {
        let _removed = fs::remove_dir(path);
    })
}

/// A short name in /tmp can be guessed, so a folder found there is used only if nobody else can have made it.
fn check_ours(folder: &Path, account: Account) -> Result<(), Error> {
    let found = fs::symlink_metadata(folder).map_err(Error::io("look at", folder))?;
    if found.is_dir() && account.owns(&found) {
        return Ok(());
    }
    Err(Error::Invalid(format!("{} belongs to someone else", folder.display())))
}

/// In the place itself, unless the socket's whole path would be too long for the system.
fn socket_dir(place: &Path) -> PathBuf {
    let beside = place.join("socket");
    let longest = beside.join(".s.PGSQL.65535");
    if longest.as_os_str().as_bytes().len() <= SOCKET_PATH_BYTES {
        return beside;
    }
    Path::new("/tmp").join(format!("annals-{}", digest(place)))
}

fn digest(path: &Path) -> String {
    let hash = Sha256::digest(path.as_os_str().as_bytes());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_lies_in_the_place_while_its_path_is_short_enough() {
        assert_eq!(
            socket_dir(Path::new("/home/me/annals/.annals/postgres")),
            Path::new("/home/me/annals/.annals/postgres/socket")
        );
        let limit = SOCKET_PATH_BYTES - "/socket/.s.PGSQL.65535".len();
        let fitting = format!("/{}", "x".repeat(limit - 1));
        assert_eq!(socket_dir(Path::new(&fitting)), Path::new(&fitting).join("socket"));
        let long = format!("{fitting}x");
        assert!(socket_dir(Path::new(&long)).starts_with("/tmp"));
        assert_ne!(socket_dir(Path::new(&long)), socket_dir(Path::new(&format!("{long}y"))));
    }
}
