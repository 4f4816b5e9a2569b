//! One PostgreSQL server: initdb, start or adopt, stop.
//!
//! `pg_ctl` does it all: it puts the postmaster into a session of its own (the terminal's Ctrl-C is ours to answer), waits until
//! it accepts connections, and knows a stale pid file from a live one.

use super::Options;
use super::account::{Account, run};
use super::binaries::Binaries;
use super::site::{self, Site};
use crate::{Error, secrets};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest that a start may take: recovery after a crash replays what was not checkpointed.
const START_SECONDS: &str = "300";
/// Longest that a fast stop may take: one checkpoint.
const STOP_SECONDS: &str = "120";
/// Between choosing a free port and listening on it another process may take it.
const PORT_ATTEMPTS: u32 = 5;
/// Our part of the configuration, beside postgresql.conf, which stays as initdb wrote it but for one line.
const CONF: &str = "annals.conf";

/// The server of one site.
#[derive(Clone, Debug)]
pub(super) struct Server {
    binaries: Binaries,
    account: Account,
    pub(super) site: Site,
}

/// Where a running server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listening {
    pub(super) port: u16,
    pub(super) socket_dir: PathBuf,
}

impl Server {
    pub(super) fn new(binaries: Binaries, account: Account, site: Site) -> Self {
        Self {
            binaries,
            account,
            site,
        }
    }

    /// Creates the cluster where there is none. It is made under another name and then renamed: one that was interrupted
    /// half-way is never taken for a cluster.
    pub(super) async fn initialise(&self, superuser: &str, password: &str, options: &Options) -> Result<(), Error> {
        let (pgdata, draft) = (self.site.pgdata(), self.site.place.join("pgdata.new"));
        if pgdata.is_dir() {
            return Ok(());
        }
        if draft.is_dir() {
            fs::remove_dir_all(&draft).map_err(Error::io("remove", &draft))?;
        }
        let password_file = self.site.place.join(format!("password-{}", std::process::id()));
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

    /// Locale C: it exists on every system, and text sorts by bytes, as cursors and keyset pages rely on.
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

    /// Starts the server, unless one runs on this site already: then that is the one, with the settings it was started with.
    pub(super) async fn start_or_adopt(&self, options: &Options) -> Result<Listening, Error> {
        if let Some(listening) = self.running().await? {
            tracing::info!(
                port = listening.port,
                "adopted the cluster that a killed predecessor left running"
            );
            return Ok(listening);
        }
        let mut attempt = 1;
        loop {
            let listening = Listening {
                port: free_port()?,
                socket_dir: self.site.socket_dir.clone(),
            };
            self.configure(&listening, options)?;
            match self.start().await {
                Ok(()) => return Ok(listening),
                Err(_) if attempt < PORT_ATTEMPTS && self.port_was_taken() => attempt += 1,
                Err(error) => return Err(self.with_log(error)),
            }
        }
    }

    /// Starts a server that has died where it was, with the settings it had; whether there was anything to start.
    pub(super) async fn start_if_dead(&self) -> Result<bool, Error> {
        if self.running().await?.is_some() {
            return Ok(false);
        }
        self.start().await.map_err(|error| self.with_log(error))?;
        Ok(true)
    }

    /// Waits out a server that is still coming up or going down.
    async fn running(&self) -> Result<Option<Listening>, Error> {
        for _ in 0..3000 {
            let mut command = self.account.command(&self.binaries.pg_ctl());
            command.arg("status").arg("-D").arg(self.site.pgdata());
            if run(command).await.is_err() {
                return Ok(None);
            }
            if let Some(listening) = listening_at(&self.site.place) {
                return Ok(Some(listening));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(Error::Invalid(format!(
            "the server of {} neither gets ready nor ends",
            self.site.place.display()
        )))
    }

    fn configure(&self, listening: &Listening, options: &Options) -> Result<(), Error> {
        let path = self.site.pgdata().join(CONF);
        fs::write(&path, configuration(listening, options)).map_err(Error::io("write", &path))?;
        self.account.own(&path)
    }

    async fn start(&self) -> Result<(), Error> {
        let log = self.site.log();
        if log.exists() {
            fs::rename(&log, log.with_extension("log.1")).map_err(Error::io("rename", &log))?;
        }
        let mut command = self.account.command(&self.binaries.pg_ctl());
        command
            .args(["start", "-w", "-s", "-t", START_SECONDS, "-l"])
            .arg(log)
            .arg("-D")
            .arg(self.site.pgdata());
        run(command).await.map(drop)
    }

    fn port_was_taken(&self) -> bool {
        fs::read_to_string(self.site.log()).is_ok_and(|log| log.contains("Address already in use"))
    }

    /// pg_ctl says "examine the log output"; so we do.
    fn with_log(&self, error: Error) -> Error {
        match (error, fs::read_to_string(self.site.log())) {
            (Error::Program { program, .. }, Ok(log)) => {
                let reasons = log
                    .lines()
                    .filter(|line| line.contains("FATAL") || line.contains("PANIC") || line.contains("HINT"));
                let output = format!(
                    "{} (log: {})",
                    reasons.collect::<Vec<_>>().join(" "),
                    self.site.log().display()
                );
                Error::Program { program, output }
            }
            (error, _) => error,
        }
    }

    pub(super) async fn stop(&self) -> Result<(), Error> {
        run(tokio::process::Command::from(self.stop_command())).await.map(drop)
    }

    /// The same for a destructor, which cannot await.
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
            .arg(self.site.pgdata());
        command
    }
}

/// Where the server of this place is reached, by what it wrote when it got ready; whether it still runs is another question.
pub(super) fn listening_at(place: &Path) -> Option<Listening> {
    let pid_file = site::pgdata_of(place).join("postmaster.pid");
    fs::read_to_string(pid_file).ok().as_deref().and_then(ready)
}

/// What the postmaster writes about itself: pid, data directory, start, port, socket folder, address, memory key, state.
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
    // A list of folders, hence the quotes within the quotes: a comma in ours must not make two of it.
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
        "# Written anew at every start by annals-local.\n{}",
        lines.collect::<String>()
    )
}

fn free_port() -> Result<u16, Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    Ok(listener
        .map_err(|source| Error::Io {
            doing: "find a free port".to_owned(),
            source,
        })?
        .port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_counts_only_when_the_server_is_ready() {
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
    fn settings_are_quoted_and_the_callers_come_last() {
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
