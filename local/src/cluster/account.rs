//! The account that PostgreSQL runs as.
//!
//! PostgreSQL refuses to run as root, but processes in containers usually do. If we are root, its programs therefore run as `postgres`, or
//! as `nobody` if there is no `postgres`, and that account gets every file that they need. Accounts are looked up by the program `id`,
//! which knows all directory services of the system and needs no unsafe calls of libc.

use crate::Error;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// The account that the server's programs run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// The account of this process.
    Ours,
    /// Another account, because this process runs as root.
    Other { uid: u32, gid: u32 },
}

impl Account {
    /// Ours; if we are root, `postgres` or `nobody`.
    pub(super) async fn for_server() -> Result<Self, Error> {
        if id(&["-u"]).await? != Some(0) {
            return Ok(Self::Ours);
        }
        for name in ["postgres", "nobody"] {
            if let (Some(uid), Some(gid)) = (id(&["-u", name]).await?, id(&["-g", name]).await?) {
                return Ok(Self::Other { uid, gid });
            }
        }
        Err(Error::Invalid(
            "PostgreSQL does not run as root, and there is no account postgres or nobody".to_owned(),
        ))
    }

    /// If we are root and another account owns `path`, that account; otherwise this one. A cluster that a user's `cargo run` has created
    /// thus runs as that user under sudo, too.
    pub(super) fn or_owner_of(self, path: &Path) -> Self {
        match (self, fs::metadata(path)) {
            (Self::Other { .. }, Ok(found)) if found.uid() != 0 => Self::Other {
                uid: found.uid(),
                gid: found.gid(),
            },
            _ => self,
        }
    }

    /// A command that runs as this account, in its own process group and in the directory `/`. The terminal's Ctrl-C must not reach it,
    /// because we stop the server in our own order. The account may not be able to enter our working directory.
    pub(super) fn command(self, program: &Path) -> Command {
        Command::from(self.blocking_command(program))
    }

    /// The same for use without an async runtime.
    pub(super) fn blocking_command(self, program: &Path) -> std::process::Command {
        use std::os::unix::process::CommandExt;
        let mut command = std::process::Command::new(program);
        command
            .current_dir("/")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .process_group(0);
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Makes this account the owner of a file or folder.
    pub(super) fn own(self, path: &Path) -> Result<(), Error> {
        match self {
            Self::Ours => Ok(()),
            Self::Other { uid, gid } => {
                chown(path, Some(uid), Some(gid)).map_err(Error::io("change the owner of", path))
            }
        }
    }

    /// Whether this account owns `found`. Always true for our own account: the system refuses access to the files of others.
    pub(super) fn owns(self, found: &fs::Metadata) -> bool {
        match self {
            Self::Ours => true,
            Self::Other { uid, .. } => found.uid() == uid,
        }
    }

    /// Whether this account can reach `folder`, according to the mode bits of all folders on the path.
    pub(super) fn reaches(self, folder: &Path) -> bool {
        let Self::Other { uid, gid } = self else { return true };
        let Ok(folder) = folder.canonicalize() else {
            return false;
        };
        folder.ancestors().all(|step| {
            fs::metadata(step).is_ok_and(|found| passes(found.mode(), found.uid() == uid, found.gid() == gid))
        })
    }
}

/// Whether the x bit that applies is set: the owner's bit for the owner, the group's for a member of the group, otherwise the others'.
fn passes(mode: u32, owner: bool, member: bool) -> bool {
    let bit = match (owner, member) {
        (true, _) => 0o100,
        (false, true) => 0o010,
        (false, false) => 0o001,
    };
    mode & bit != 0
}

async fn id(arguments: &[&str]) -> Result<Option<u32>, Error> {
    let answer = Command::new("id")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(Error::io_doing("run id"))?;
    Ok(String::from_utf8_lossy(&answer.stdout).trim().parse().ok())
}

/// Runs a command to its end and returns its standard output. If it fails, its output is in the error.
pub(super) async fn run(mut command: Command) -> Result<String, Error> {
    let program = Path::new(command.as_std().get_program()).to_owned();
    let ended = command.output().await.map_err(Error::io("run", &program))?;
    let stdout = String::from_utf8_lossy(&ended.stdout);
    if ended.status.success() {
        return Ok(stdout.into_owned());
    }
    let output = format!("{} {}", stdout.trim(), String::from_utf8_lossy(&ended.stderr).trim())
        .trim()
        .to_owned();
    Err(Error::Program {
        program,
        output: if output.is_empty() {
            ended.status.to_string()
        } else {
            output
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_most_specific_x_bit_applies() {
        assert!(passes(0o755, false, false));
        assert!(!passes(0o700, false, false));
        assert!(passes(0o700, true, false));
        assert!(
            !passes(0o677, true, true),
            "the others' bit does not replace the owner's"
        );
        assert!(passes(0o710, false, true));
    }
}
