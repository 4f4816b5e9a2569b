//! The data folder: what is kept from one run to the next, and the lock that allows one server at a time.
//!
//! | file | holds |
//! |---|---|
//! | `lock` | locked while a process runs the cluster of this folder; its text is that process's id |
//! | `port` | locked while a server serves with this folder, also with another database; its text is that server's TCP port |
//! | `jwt-secret`, `superuser-password`, `owner-password` | see [`crate::secrets`] |
//! | `postgres/` | the cluster, unless the server's account cannot reach it here |
//! | `cluster-location` | in that case, the path of the cluster |
//! | `uploads/` | large files that were uploaded and are not imported yet |

use crate::Error;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The folder to use: `chosen` (from `ANNALS_DATA_DIR`); otherwise `.annals` beside the workspace's `Cargo.lock`, so that `cargo run` uses
/// the same folder everywhere in the project; otherwise `.annals` in the current directory.
pub fn resolve(chosen: Option<&Path>) -> Result<PathBuf, Error> {
    let here = std::env::current_dir().map_err(Error::io_doing("find the current directory"))?;
    Ok(match chosen {
        Some(folder) => here.join(folder),
        None => here
            .ancestors()
            .find(|folder| folder.join("Cargo.lock").is_file())
            .unwrap_or(&here)
            .join(".annals"),
    })
}

/// Creates the folder if it is missing.
///
/// Its mode lets other accounts pass through it but not list it, because root's PostgreSQL runs as another account and must reach
/// `postgres/`. The files inside have stricter modes of their own. A folder that exists already keeps its mode.
pub fn create(path: &Path) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    match DirBuilder::new().mode(0o711).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.map_err(Error::io("create", path)),
    }
}

/// The lock of a data folder, held until it is dropped. The operating system releases it when the process ends, even if it is killed.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the folder's lock. If another process holds it, the error names that process.
pub fn lock(data_dir: &Path) -> Result<Lock, Error> {
    let path = data_dir.join("lock");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(Error::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(already_running(data_dir, &mut file)),
        Err(TryLockError::Error(source)) => return Err(Error::io("lock", &path)(source)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()))
        .map_err(Error::io("write", &path))?;
    Ok(Lock { _file: file })
}

fn already_running(data_dir: &Path, file: &mut File) -> Error {
    let mut holder = String::new();
    let read = file.read_to_string(&mut holder);
    Error::AlreadyRunning {
        data_dir: data_dir.to_owned(),
        holder: (read.is_ok() && !holder.is_empty()).then_some(holder),
    }
}

/// Says that a server serves with this folder, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Serving {
    _file: File,
}

/// Writes the server's port into the folder, for `token` and `demo`. The lock is shared, because several servers of DATABASE_URL may use one
/// folder; the port is that of the newest.
pub fn serve_on(data_dir: &Path, port: u16) -> Result<Serving, Error> {
    let path = data_dir.join("port");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(Error::io("open", &path))?;
    // Waits only while `port_of_server` of another process looks.
    file.lock_shared()
        .and_then(|()| file.set_len(0))
        .and_then(|()| write!(file, "{port}"))
        .map_err(Error::io("write", &path))?;
    Ok(Serving { _file: file })
}

/// The port of the server that serves with this folder. `None` if there is no such server: the file of an ended one is not locked.
pub fn port_of_server(data_dir: &Path) -> Result<Option<u16>, Error> {
    let path = data_dir.join("port");
    let mut file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(Error::io("open", &path))?,
    };
    match file.try_lock() {
        Ok(()) => return Ok(None),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(source)) => return Err(Error::io("lock", &path)(source)),
    }
    let mut port = String::new();
    file.read_to_string(&mut port).map_err(Error::io("read", &path))?;
    Ok(port.parse().ok())
}
