//! Stops and removes a temporary cluster when its process ends, even if that is killed by SIGKILL and runs no destructor.
//!
//! A child process `sh` reads from a pipe whose other end only we hold. Nothing is ever written to it. The read ends when our end is
//! closed: by [`Watchdog::release`], or by the kernel when we die. Then the shell stops the server and removes its folder. It runs in its
//! own process group, because the Ctrl-C that kills us would otherwise kill it as well. It holds none of our output streams, because `cargo
//! test | tee` would otherwise wait for it.

use super::account::Account;
use super::binaries::Binaries;
use super::location::Location;
use crate::Error;
use std::io;
use std::path::Path;
use std::process::{Child, Stdio};

/// The shutdown is immediate, because the folder is removed anyway. The second `rm` is for files that a backend wrote during the first.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
cat >/dev/null
"$1" stop -D "$2" -m immediate -w
rm -rf -- "$3" "$4" || { sleep 1; rm -rf -- "$3" "$4"; }
"#;

/// The child process. The cluster is kept as long as this is held.
#[derive(Debug)]
pub(super) struct Watchdog {
    child: Child,
}

impl Watchdog {
    /// Starts the child for a cluster, which may not exist yet.
    pub(super) fn over(location: &Location, binaries: &Binaries, account: &Account) -> Result<Self, Error> {
        let shell = Path::new("/bin/sh");
        let mut command = account.blocking_command(shell);
        command.args(["-c", SCRIPT, "annals-watchdog"]);
        command
            .arg(binaries.pg_ctl())
            .arg(location.pgdata())
            .arg(&location.folder)
            .arg(&location.socket_dir);
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Ok(Self {
            child: child.map_err(Error::io("run", shell))?,
        })
    }

    /// Stops and removes the cluster now, and waits until that is done. It takes about half a second.
    pub(super) fn release(mut self) -> Result<(), Error> {
        drop(self.child.stdin.take());
        let ended = self.child.wait().and_then(|status| {
            if status.success() {
                Ok(())
            } else {
                Err(io::Error::other(status.to_string()))
            }
        });
        ended.map_err(Error::io_doing("remove the temporary cluster"))
    }
}
