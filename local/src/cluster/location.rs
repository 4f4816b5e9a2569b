//! Where on disk a cluster is.
//!
//! Usually it is in `postgres/` of the data folder. There are two exceptions. If the server's account cannot reach that folder (`postgres`
//! may not enter root's project under /root/x), the cluster is elsewhere. If the path of the Unix socket would be too long (more than 107
//! bytes on Linux, 103 on macOS), the socket is in /tmp.

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

/// Name of the file in the data folder that holds the cluster's path, if the cluster is outside the data folder.
const POINTER: &str = "cluster-location";
/// Longest path of a socket: the limit of macOS, which is stricter than that of Linux.
const SOCKET_PATH_BYTES: usize = 103;
/// Folders for clusters whose data folder the server's account cannot reach.
const ELSEWHERE: &[&str] = &["/var/lib/annals", "/var/tmp/annals"];

/// The folders of a cluster. The server's account owns both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// Everything of the cluster except, if its path would be too long, the socket.
    pub(super) folder: PathBuf,
    /// Folder of the Unix socket.
    pub(super) socket_dir: PathBuf,
}

impl Location {
    /// The location of a data folder's cluster, and the account that runs it: the given one, or the owner of the cluster.
    pub(super) fn persistent(data_dir: &Path, account: Account) -> Result<(Self, Account), Error> {
        let folder = match pointed_to(data_dir)? {
            Some(folder) => folder,
            None => find_or_create(data_dir, account)?,
        };
        let account = account.or_owner_of(&folder);
        Ok((Self::at(folder, account)?, account))
    }

    /// A new folder for a temporary cluster.
    pub(super) fn temporary(account: &Account) -> Result<Self, Error> {
        let candidates = [std::env::temp_dir(), PathBuf::from("/tmp"), PathBuf::from("/var/tmp")];
        let parent = candidates
            .iter()
            .find(|folder| account.reaches(folder))
            .unwrap_or(&candidates[0]);
        let folder = parent.join(format!("annals-{}", Uuid::new_v4().simple()));
        private_folder(&folder, *account)?;
        Self::at(folder, *account)
    }

    fn at(folder: PathBuf, account: Account) -> Result<Self, Error> {
        let socket_dir = socket_dir(&folder);
        match private_folder(&socket_dir, account) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                check_ours(&socket_dir, account)?;
            }
            made => made?,
        }
        Ok(Self { folder, socket_dir })
    }

    /// PostgreSQL's own data directory.
    pub(super) fn pgdata(&self) -> PathBuf {
        pgdata_of(&self.folder)
    }

    /// The server's log.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// Major version of the cluster's PostgreSQL. `None` if there is no cluster yet.
    pub(super) fn major_version(&self) -> Result<Option<u32>, Error> {
        let path = self.pgdata().join("PG_VERSION");
        match fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse() {
                Ok(major) => Ok(Some(major)),
                Err(_) => Err(Error::Invalid(format!(
                    "{} holds no version: {:?}",
                    path.display(),
                    text.trim()
                ))),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }
}

/// The folder of the data folder's cluster, which may not exist. This changes nothing, so the caller need not hold the lock.
pub(super) fn folder_of(data_dir: &Path) -> PathBuf {
    match fs::read_to_string(data_dir.join(POINTER)) {
        Ok(text) => PathBuf::from(text.trim()),
        Err(_) => data_dir.join("postgres"),
    }
}

/// PostgreSQL's own data directory in a cluster's folder.
pub(super) fn pgdata_of(folder: &Path) -> PathBuf {
    folder.join("pgdata")
}

/// The folder that the data folder's pointer names. It may be gone, for example if a container was created again with an old volume. Then a
/// warning is logged, the pointer is removed, and a new cluster is created.
fn pointed_to(data_dir: &Path) -> Result<Option<PathBuf>, Error> {
    let pointer = data_dir.join(POINTER);
    match fs::read_to_string(&pointer) {
        Ok(text) if Path::new(text.trim()).is_dir() => Ok(Some(PathBuf::from(text.trim()))),
        Ok(text) => {
            tracing::warn!(
                location = text.trim(),
                "the cluster of this data folder is gone, creating a new one"
            );
            fs::remove_file(&pointer).map_err(Error::io("remove", &pointer))?;
            Ok(None)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", &pointer)(error)),
    }
}

/// Finds or creates the cluster's folder in the data folder. If that is impossible, creates it elsewhere and writes a pointer to it.
fn find_or_create(data_dir: &Path, account: Account) -> Result<PathBuf, Error> {
    let inside = data_dir.join("postgres");
    if inside.is_dir() {
        return Ok(inside);
    }
    if account.reaches(data_dir) {
        match private_folder(&inside, account) {
            Ok(()) => return Ok(inside),
            // A file system without owners, such as a shared folder of a virtual machine, refuses chown even to root.
            Err(error) if account != Account::Ours => {
                tracing::debug!(%error, "the data folder cannot hold a cluster")
            }
            Err(error) => return Err(error),
        }
    }
    let folder = create_elsewhere(data_dir, account)?;
    let text = folder
        .to_str()
        .ok_or_else(|| Error::Invalid(format!("{} is not UTF-8", folder.display())))?;
    secrets::write_private(&data_dir.join(POINTER), text)?;
    Ok(folder)
}

/// Creates a folder for this data folder's cluster under the first free name. If a name is taken although no pointer names it, the folder
/// belongs to a data folder that was removed or is not mounted now. It cannot be known which, so the folder is left as it is.
fn create_elsewhere(data_dir: &Path, account: Account) -> Result<PathBuf, Error> {
    let name = digest(data_dir);
    let mut failure = Error::Invalid(format!(
        "the server's account cannot reach any folder for a cluster: {ELSEWHERE:?}"
    ));
    for parent in ELSEWHERE.iter().map(Path::new) {
        if let Err(error) = data_dir::create(parent) {
            failure = error;
            continue;
        }
        for attempt in 1..1000 {
            let folder = parent.join(if attempt == 1 {
                name.clone()
            } else {
                format!("{name}-{attempt}")
            });
            match private_folder(&folder, account) {
                Ok(()) => return Ok(folder),
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                    tracing::warn!(location = %folder.display(), "not used: the cluster of an earlier data folder with the same path");
                }
                Err(error) => {
                    failure = error;
                    break;
                }
            }
        }
    }
    Err(failure)
}

/// Creates a folder that only the account may enter. Fails if the folder exists.
fn private_folder(path: &Path, account: Account) -> Result<(), Error> {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(Error::io("create", path))?;
    account.own(path).inspect_err(|_| {
        let _removed = fs::remove_dir(path);
    })
}

/// Fails unless the account owns the folder. The short name in /tmp can be guessed, so another user may have created the folder.
fn check_ours(folder: &Path, account: Account) -> Result<(), Error> {
    let found = fs::symlink_metadata(folder).map_err(Error::io("read the owner of", folder))?;
    if found.is_dir() && account.owns(&found) {
        return Ok(());
    }
    Err(Error::Invalid(format!("{} belongs to another user", folder.display())))
}

/// The folder of the socket: in the cluster's folder, unless the socket's path would be too long.
fn socket_dir(folder: &Path) -> PathBuf {
    let inside = folder.join("socket");
    let longest = inside.join(".s.PGSQL.65535");
    if longest.as_os_str().as_bytes().len() <= SOCKET_PATH_BYTES {
        return inside;
    }
    Path::new("/tmp").join(format!("annals-{}", digest(folder)))
}

fn digest(path: &Path) -> String {
    let hash = Sha256::digest(path.as_os_str().as_bytes());
    annals_domain::hex::encode(&hash[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_in_the_clusters_folder_if_its_path_is_short_enough() {
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
