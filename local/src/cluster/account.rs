//! The account that PostgreSQL runs as.
//!
//! PostgreSQL refuses to run as root, and containers are mostly root. Then its programs run as `postgres`, or as `nobody` where
//! there is none, and every file that they need is given to that account. Accounts are looked up through `id`, which knows
//! every directory service of the system and spares the unsafe calls of libc.

use crate::Error;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// Whom the server's programs run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// Whoever runs us.
    Ours,
    /// We are root; they are not.
    Other { uid: u32, gid: u32 },
}

impl Account {
    /// Ours, unless we are root.
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
            "PostgreSQL does not run as root, and there is neither a postgres nor a nobody account".to_owned(),
        ))
    }

    /// The owner of `path` where we are root and it is not root's: a cluster made by someone's own `cargo run` keeps
    /// running as that someone under sudo.
    pub(super) fn or_owner_of(self, path: &Path) -> Self {
        match (self, fs::metadata(path)) {
            (Self::Other { .. }, Ok(found)) if found.uid() != 0 => Self::Other {
                uid: found.uid(),
                gid: found.gid(),
            },
            _ => self,
        }
    }

    /// A command that runs as this account, away from the terminal's Ctrl-C, which we answer in our own order, and from our
    /// working directory, which the account may not be able to enter.
    pub(super) fn command(self, program: &Path) -> Command {
        Command::from(self.blocking_command(program))
    }

    /// The same outside of a runtime.
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

    /// Gives a file or folder to this account.
    pub(super) fn own(self, path: &Path) -> Result<(), Error> {
        match self {
            Self::Ours => Ok(()),
            Self::Other { uid, gid } => {
                chown(path, Some(uid), Some(gid)).map_err(Error::io("change the owner of", path))
            }
        }
    }

    /// Whether this account owns `found`; for ours, whether we do is left to the system to say.
    pub(super) fn owns(self, found: &fs::Metadata) -> bool {
        match self {
            Self::Ours => true,
            Self::Other { uid, .. } => found.uid() == uid,
        }
    }

    /// Whether this account can walk down to `folder`, judged by the mode bits of every folder on the way.
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

/// The x bit that counts: the owner's for the owner, else the group's for its members, else the others'.
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
        .map_err(|source| Error::Io {
            doing: "run id".to_owned(),
            source,
        })?;
    Ok(String::from_utf8_lossy(&answer.stdout).trim().parse().ok())
}

/// Runs a command to its end and returns its standard output; what it said on failure becomes the error.
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
    fn only_the_most_specific_x_bit_counts() {
        assert!(passes(0o755, false, false));
        assert!(!passes(0o700, false, false));
        assert!(passes(0o700, true, false));
        assert!(
            !passes(0o677, true, true),
            "the owner's missing bit is not made good by the others'"
        );
        assert!(passes(0o710, false, true));
    }
}
