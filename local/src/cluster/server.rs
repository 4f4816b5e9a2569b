//! The PostgreSQL server of a cluster: initdb, start or adopt, stop.
//!
//! `pg_ctl` does the work. It starts the postmaster in a session of its own, so the terminal's Ctrl-C reaches only us. It waits until the
//! server accepts connections, and it recognises a stale pid file.

use super::Options;
use super::account::{Account, run};
use super::binaries::Binaries;
use super::location::{self, Location};
use crate::{Error, secrets};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Timeout of a start in seconds. After a crash the start includes recovery.
const START_SECONDS: &str = "300";
/// Timeout of a fast stop in seconds. It includes a checkpoint.
const STOP_SECONDS: &str = "120";
/// How many ports are tried. Another process may take a free port before the server listens on it.
const PORT_ATTEMPTS: u32 = 5;
/// How many times, and with which pause, a server that is starting or stopping is checked: for up to five minutes.
const READY_CHECKS: u32 = 3_000;
const READY_PAUSE: Duration = Duration::from_millis(100);
/// File with our settings, which one line in initdb's postgresql.conf includes.
const CONF: &str = "annals.conf";

/// The server of one cluster.
#[derive(Clone, Debug)]
pub(super) struct Server {
    binaries: Binaries,
    account: Account,
    pub(super) location: Location,
}

/// The port and the socket folder of a running server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listening {
    pub(super) port: u16,
    pub(super) socket_dir: PathBuf,
}

impl Server {
    pub(super) fn new(binaries: Binaries, account: Account, location: Location) -> Self {
        Self {
            binaries,
            account,
            location,
        }
    }

    /// Creates the cluster if there is none. It is created under another name and then renamed, so an interrupted initdb never leaves
    /// anything that looks like a cluster.
    pub(super) async fn initialise(&self, superuser: &str, password: &str, options: &Options) -> Result<(), Error> {
        let (pgdata, draft) = (self.location.pgdata(), self.location.folder.join("pgdata.new"));
        if pgdata.is_dir() {
            return Ok(());
        }
        if draft.is_dir() {
            fs::remove_dir_all(&draft).map_err(Error::io("remove", &draft))?;
        }
        let password_file = self.location.folder.join(format!("password-{}", std::process::id()));
        secrets::write_private(&password_file, password)?;
        let made = match self.account.own(&password_file) {
            Ok(()) => self.initdb(&draft, superuser, &password_file, options).await,
            refused => refused,
        };
        fs::remove_file(&password_file).map_err(Error::io("remove", &password_file))?;
        made?;
        let conf = draft.join("postgresql.conf");
        let text = fs::read_to_string(&conf).map_err(Error::io("read", &conf))?;
        fs::write(&conf, format!("{text}\ninclude '{CONF}'\n")).map_err(Error::io("write", &conf))?;
        fs::rename(&draft, &pgdata).map_err(Error::io("rename", &draft))
    }

    /// Uses locale C: it exists on every system, and cursors and keyset pages rely on its order of text, which is that of the bytes.
    async fn initdb(
        &self,
        pgdata: &Path,
        superuser: &str,
        password_file: &Path,
        options: &Options,
    ) -> Result<(), Error> {
        let mut command = self.account.command(&self.binaries.initdb());
        command.args([
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--username",
            superuser,
            "--no-instructions",
        ]);
        if options.home == super::Home::Temporary {
            command.arg("--no-sync");
        }
        command.arg("--pwfile").arg(password_file).arg("--pgdata").arg(pgdata);
        run(command).await.map(drop)
    }

    /// Starts the server. If the cluster's server is running already, it is adopted with the settings that it was started with.
    pub(super) async fn start_or_adopt(&self, options: &Options) -> Result<Listening, Error> {
        if let Some(listening) = self.running().await? {
            tracing::info!(
                port = listening.port,
                "adopted the cluster that an earlier process left running"
            );
            return Ok(listening);
        }
        let mut attempt = 1;
        loop {
            let listening = Listening {
                port: free_port()?,
                socket_dir: self.location.socket_dir.clone(),
            };
            self.configure(&listening, options)?;
            match self.start().await {
                Ok(()) => return Ok(listening),
                Err(_) if attempt < PORT_ATTEMPTS && self.port_was_taken() => attempt += 1,
                Err(error) => return Err(self.with_log(error)),
            }
        }
    }

    /// Starts the server again if it is not running, with the same port and settings. Returns whether it was started.
    pub(super) async fn start_if_dead(&self) -> Result<bool, Error> {
        if self.running().await?.is_some() {
            return Ok(false);
        }
        self.start().await.map_err(|error| self.with_log(error))?;
        Ok(true)
    }

    /// The running server, if there is one. A server that is still starting or stopping is waited for.
    async fn running(&self) -> Result<Option<Listening>, Error> {
        for _ in 0..READY_CHECKS {
            let mut command = self.account.command(&self.binaries.pg_ctl());
            command.arg("status").arg("-D").arg(self.location.pgdata());
            if run(command).await.is_err() {
                return Ok(None);
            }
            if let Some(listening) = listening_at(&self.location.folder) {
                return Ok(Some(listening));
            }
            tokio::time::sleep(READY_PAUSE).await;
        }
        Err(Error::Invalid(format!(
            "the PostgreSQL server in {} is running but did not become ready or stop within five minutes",
            self.location.folder.display()
        )))
    }

    fn configure(&self, listening: &Listening, options: &Options) -> Result<(), Error> {
        let path = self.location.pgdata().join(CONF);
        fs::write(&path, configuration(listening, options)).map_err(Error::io("write", &path))?;
        self.account.own(&path)
    }

    async fn start(&self) -> Result<(), Error> {
        let log = self.location.log();
        if log.exists() {
            fs::rename(&log, log.with_extension("log.1")).map_err(Error::io("rename", &log))?;
        }
        let mut command = self.account.command(&self.binaries.pg_ctl());
        command
            .args(["start", "-w", "-s", "-t", START_SECONDS, "-l"])
            .arg(log)
            .arg("-D")
            .arg(self.location.pgdata());
        run(command).await.map(drop)
    }

    fn port_was_taken(&self) -> bool {
        fs::read_to_string(self.location.log()).is_ok_and(|log| log.contains("Address already in use"))
    }

    /// Replaces the output of pg_ctl, which only says "examine the log output", by the errors in the server's log.
    fn with_log(&self, error: Error) -> Error {
        match (error, fs::read_to_string(self.location.log())) {
            (Error::Program { program, .. }, Ok(log)) => {
                let reasons = log
                    .lines()
                    .filter(|line| line.contains("FATAL") || line.contains("PANIC") || line.contains("HINT"));
                let output = format!(
                    "{} (log: {})",
                    reasons.collect::<Vec<_>>().join(" "),
                    self.location.log().display()
                );
                Error::Program { program, output }
            }
            (error, _) => error,
        }
    }

    pub(super) async fn stop(&self) -> Result<(), Error> {
        run(tokio::process::Command::from(self.stop_command())).await.map(drop)
    }

    /// The same for `drop`, which cannot await.
    pub(super) fn stop_blocking(&self) -> Result<(), Error> {
        let program = self.binaries.pg_ctl();
        let ended = self.stop_command().output().map_err(Error::io("run", &program))?;
        if ended.status.success() {
            return Ok(());
        }
        Err(Error::Program {
            program,
            output: String::from_utf8_lossy(&ended.stderr).trim().to_owned(),
        })
    }

    fn stop_command(&self) -> std::process::Command {
        let mut command = self.account.blocking_command(&self.binaries.pg_ctl());
        command
            .args(["stop", "-m", "fast", "-w", "-s", "-t", STOP_SECONDS, "-D"])
            .arg(self.location.pgdata());
        command
    }
}

/// The port and socket folder that the server in this folder has written to its pid file. `None` if it is not ready. It may have died
/// since.
pub(super) fn listening_at(folder: &Path) -> Option<Listening> {
    let pid_file = location::pgdata_of(folder).join("postmaster.pid");
    fs::read_to_string(pid_file).ok().as_deref().and_then(ready)
}

/// Reads the postmaster's pid file. Its lines are: pid, data directory, start time, port, socket folder, address, memory key, state.
fn ready(pid_file: &str) -> Option<Listening> {
    let lines: Vec<&str> = pid_file.lines().map(str::trim).collect();
    let [_, _, _, port, socket_dir, _, _, "ready", ..] = lines[..] else {
        return None;
    };
    Some(Listening {
        port: port.parse().ok()?,
        socket_dir: PathBuf::from(socket_dir),
    })
}

fn configuration(listening: &Listening, options: &Options) -> String {
    // The setting is a list of folders. The folder is quoted, so that a comma in it does not split it.
    let socket_dir = format!(
        "\"{}\"",
        listening.socket_dir.display().to_string().replace('"', "\"\"")
    );
    let ours = [
        ("listen_addresses", Ipv4Addr::LOCALHOST.to_string()),
        ("port", listening.port.to_string()),
        ("unix_socket_directories", socket_dir),
        ("unix_socket_permissions", "0700".to_owned()),
        ("max_connections", options.max_connections.to_string()),
        ("timezone", "UTC".to_owned()),
        ("log_timezone", "UTC".to_owned()),
    ];
    let ours = ours.iter().map(|(name, value)| (*name, value.as_str()));
    let theirs = options
        .settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let lines = ours
        .chain(theirs)
        .map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''")));
    format!(
        "# annals-local writes this file again at every start.\n{}",
        lines.collect::<String>()
    )
}

fn free_port() -> Result<u16, Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    Ok(listener.map_err(Error::io_doing("find a free port"))?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_counts_only_if_the_server_is_ready() {
        let file = "123\n/data\n1700000000\n40000\n/data/socket\n127.0.0.1\n  9  1\n";
        assert_eq!(ready(&format!("{file}starting\n")), None);
        assert_eq!(ready(file), None);
        let listening = Listening {
            port: 40000,
            socket_dir: "/data/socket".into(),
        };
        assert_eq!(ready(&format!("{file}ready   \n")), Some(listening));
    }

    #[test]
    fn settings_are_quoted_and_those_of_the_caller_come_last() {
        let listening = Listening {
            port: 40000,
            socket_dir: "/it's, mine/socket".into(),
        };
        let text = configuration(&listening, &Options::ephemeral().with_settings(&[("fsync", "off")]));
        assert!(
            text.contains("unix_socket_directories = '\"/it''s, mine/socket\"'\n"),
            "{text}"
        );
        assert!(text.ends_with("fsync = 'off'\n"), "{text}");
    }
}
