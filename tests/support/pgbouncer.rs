//! A real PgBouncer in transaction mode. `ANNALS_TEST_POOLER=pgbouncer` puts it between every world and its server, so that the tests that
//! usually run directly also prove that Annals works behind a pooler. The sessions with which tests check the database stay
//! direct.

use std::collections::HashMap;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::cluster::{PASSWORD, cluster};

/// Server connections of each database.
pub const SERVER_CONNECTIONS: usize = 20;
/// How long it may take until it listens.
const PATIENCE: Duration = Duration::from_secs(60);
/// Stops PgBouncer and removes its folder when the script's standard input closes. The kernel closes it when this process dies.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
"$1" -q "$2/pgbouncer.ini" &
cat >/dev/null
kill -9 $!
rm -rf -- "$2"
"#;

/// A running PgBouncer; it ends with this value, or with the process.
pub struct PgBouncer {
    keeper: Child,
    port: u16,
}

impl PgBouncer {
    /// A PgBouncer before the server at this port of the loopback interface: for any database, but only for the login `annals_api`, with the
    /// tests' password on both sides.
    pub fn start(server_port: u16, server_connections: usize) -> Self {
        Self::start_with(PASSWORD, server_port, server_connections)
    }

    /// The same with this secret for the login: its password, or the salted hash that the server stores. Poolers read the hash from the
    /// server, and need not compute one at each login.
    pub fn start_with(secret: &str, server_port: u16, server_connections: usize) -> Self {
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("annals-pgbouncer-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).expect("a folder");
        let configuration = configuration(&folder, port, server_port, server_connections);
        std::fs::write(folder.join("pgbouncer.ini"), configuration).expect("a configuration");
        std::fs::write(folder.join("users"), format!("\"annals_api\" \"{secret}\"\n")).expect("users");
        let mut keeper = Command::new("/bin/sh");
        keeper
            .args(["-c", SCRIPT, "annals-pgbouncer"])
            .arg(program())
            .arg(&folder);
        // PgBouncer refuses to run as root, as PostgreSQL does, so it runs as the account that the tests' cluster runs as.
        let account = std::fs::metadata(cluster().location()).expect("the cluster's folder");
        if std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() != account.uid()) {
            chown(&folder, Some(account.uid()), Some(account.gid())).expect("its folder");
            keeper.uid(account.uid()).gid(account.gid());
        }
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let keeper = keeper.process_group(0).current_dir("/").spawn().expect("a shell");
        let started = Self { keeper, port };
        started.await_listening(&folder);
        started
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn await_listening(&self, folder: &Path) {
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "PgBouncer does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _reaped = self.keeper.wait();
    }
}

/// The port where a world connects for the server at this port: the server's own, or that of its PgBouncer.
pub(crate) fn port_before(server_port: u16) -> u16 {
    static RUNNING: OnceLock<Mutex<HashMap<u16, PgBouncer>>> = OnceLock::new();
    if !is_enabled() {
        return server_port;
    }
    let mut running = RUNNING.get_or_init(Mutex::default).lock().expect("no panic elsewhere");
    let start = || PgBouncer::start(server_port, SERVER_CONNECTIONS);
    running.entry(server_port).or_insert_with(start).port()
}

/// Whether worlds reach their databases through PgBouncer.
pub(crate) fn is_enabled() -> bool {
    match std::env::var("ANNALS_TEST_POOLER").as_deref() {
        Err(_) | Ok("") => false,
        Ok("pgbouncer") => true,
        Ok(other) => panic!("ANNALS_TEST_POOLER can only be pgbouncer, not {other}"),
    }
}

/// The settings of its documentation for a pool before one server; only differences from the defaults. More clients, because worlds have
/// pools of their own. Idle connections are closed early, because every test has a database of its own. A server that was down is tried
/// again each second instead of every fifteen.
fn configuration(folder: &Path, port: u16, server_port: u16, server_connections: usize) -> String {
    let folder = folder.display();
    format!(
        "[databases]
* = host=127.0.0.1 port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
logfile = {folder}/log
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {server_connections}
max_client_conn = 8000
server_idle_timeout = 5
server_login_retry = 1
"
    )
}

/// Debian installs it in a folder that is not in the PATH of accounts other than root.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders
        .map(|folder| folder.join("pgbouncer"))
        .find(|file| file.is_file());
    found.expect("pgbouncer is installed (Debian: apt-get install pgbouncer; Homebrew: brew install pgbouncer)")
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.expect("a port").port()
}
