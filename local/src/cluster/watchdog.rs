//! Ends a temporary cluster with its process, even when that dies of SIGKILL and runs no destructor.
//!
//! A child `sh` reads a pipe whose only other end is ours. Nothing is ever written: the read ends when our end closes, by
//! [`Watchdog::release`] or because the kernel closed it for us. Then the shell stops the server and removes its folder. It
//! runs in its own process group, or the Ctrl-C that kills us would kill it as well, and holds none of our output streams,
//! or `cargo test | tee` would wait for it.

use super::account::Account;
use super::binaries::Binaries;
use super::site::Site;
use crate::Error;
use std::io;
use std::path::Path;
use std::process::{Child, Stdio};

/// Immediate: the folder goes anyway. The second attempt is for a backend that wrote its last file during the first.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
cat >/dev/null
"$1" stop -D "$2" -m immediate -w
rm -rf -- "$3" "$4" || { sleep 1; rm -rf -- "$3" "$4"; }
"#;

/// The child; holding it keeps the cluster.
#[derive(Debug)]
pub(super) struct Watchdog {
    child: Child,
}

impl Watchdog {
    /// Watches over a cluster that may not exist yet.
    pub(super) fn over(site: &Site, binaries: &Binaries, account: &Account) -> Result<Self, Error> {
        let shell = Path::new("/bin/sh");
        let mut command = account.blocking_command(shell);
        command.args(["-c", SCRIPT, "annals-watchdog"]);
        command
            .arg(binaries.pg_ctl())
            .arg(site.pgdata())
            .arg(&site.place)
            .arg(&site.socket_dir);
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Ok(Self {
            child: child.map_err(Error::io("run", shell))?,
        })
    }

    /// Lets it do its work now, and waits until it is done: half a second.
    pub(super) fn release(mut self) -> Result<(), Error> {
        drop(self.child.stdin.take());
        let ended = self.child.wait().and_then(|status| {
            if status.success() {
                Ok(())
            } else {
                Err(io::Error::other(status.to_string()))
            }
        });
        ended.map_err(|source| Error::Io {
            doing: "remove the temporary cluster".to_owned(),
            source,
        })
    }
}
