//! A server for one test, which can be stopped, killed, started and failed over.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use local::cluster::{Cluster, DATABASE, FAST_BUT_UNSAFE, Options};

use crate::cluster::{connect, set_api_password};
use crate::pgbouncer::{free_port, port_before};
use crate::world::{World, remove_requirements};

/// A migrated cluster and its programs. Streams may begin with any event.
pub struct Server {
    /// The cluster; it may be stopped.
    pub cluster: Cluster,
    programs: PathBuf,
}

/// A standby of a [`Server`], in a folder beside its data; it ends with this value.
pub struct Standby<'a> {
    server: &'a Server,
    data: PathBuf,
    port: u16,
}

impl Server {
    /// Starts a server with this `max_connections`.
    pub async fn start(max_connections: u16) -> Self {
        let mut options = Options::ephemeral().with_settings(FAST_BUT_UNSAFE);
        options.max_connections = max_connections;
        let cluster = Cluster::start(options).await.expect("a private cluster");
        annals_store::migrate(&cluster.url()).await.expect("migrations");
        remove_requirements(&cluster.url()).await;
        set_api_password(&cluster).await;
        let superuser = connect(&cluster.superuser_url()).await;
        let folder = "select setting from pg_config where name = 'BINDIR'";
        let folder: String = superuser.query_one(folder, &[]).await.expect("a folder").get(0);
        Self {
            cluster,
            programs: folder.into(),
        }
    }

    /// A world on this server, to check its database and to put a proxy before it ([`crate::Cutter::before`]).
    pub fn world(&self) -> World {
        World::directly_at(DATABASE.to_owned(), &self.cluster.url()).seen_from(&self.cluster.superuser_url())
    }

    /// The port for functions: its own, or that of its PgBouncer.
    pub fn functions_port(&self) -> u16 {
        port_before(self.cluster.port())
    }

    /// Runs `pg_ctl`; panics if it fails.
    pub fn control(&self, arguments: &[&str]) {
        assert!(self.pg_ctl(arguments, &self.data()), "{arguments:?}");
    }

    /// Kills the postmaster with SIGKILL.
    pub fn kill(&self) {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).expect("a running server");
        let pid = file.lines().next().expect("a pid").trim();
        let killed = Command::new("kill").args(["-9", pid]).status();
        assert!(killed.expect("kill").success());
    }

    /// Starts it again after [`Server::kill`], as soon as the last orphaned server process has ended.
    pub fn start_again(&self) {
        for _ in 0..600 {
            if self.pg_ctl(&["start", "-l", "/dev/null"], &self.data()) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("it does not start again");
    }

    /// A synchronous standby: from now on it has every event before the event is acknowledged.
    pub async fn standby(&self) -> Standby<'_> {
        let (data, port) = (self.cluster.location().join("standby"), free_port());
        let mut copy = self.command("pg_basebackup");
        copy.args(["--checkpoint=fast", "--write-recovery-conf", "--dbname"]);
        copy.arg(self.cluster.superuser_url_of("postgres"))
            .arg("--pgdata")
            .arg(&data);
        assert!(copy.status().expect("pg_basebackup").success());
        let standby = Standby {
            server: self,
            data,
            port,
        };
        let listen = format!("-p {port} -c unix_socket_directories=''");
        let started = self.pg_ctl(&["start", "-l", "/dev/null", "-o", &listen], &standby.data);
        assert!(started, "the standby starts");
        let superuser = connect(&self.cluster.superuser_url()).await;
        for sql in [
            "alter system set synchronous_standby_names = '*'",
            "select pg_reload_conf()",
        ] {
            superuser.batch_execute(sql).await.expect("a setting");
        }
        let waited_for = "select count(*) from pg_stat_replication where sync_state = 'sync'";
        while superuser
            .query_one(waited_for, &[])
            .await
            .expect("a count")
            .get::<_, i64>(0)
            == 0
        {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        standby
    }

    fn data(&self) -> PathBuf {
        self.cluster.location().join("pgdata")
    }

    fn pg_ctl(&self, arguments: &[&str], data: &Path) -> bool {
        let mut command = self.command("pg_ctl");
        command.args(arguments).args(["-w", "-s", "-t", "120", "-D"]).arg(data);
        command.status().expect("pg_ctl").success()
    }

    /// A program of its installation, run as the account that owns the cluster.
    fn command(&self, program: &str) -> Command {
        let owner = std::fs::metadata(self.data()).expect("its folder");
        let mut command = Command::new(self.programs.join(program));
        command
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if owner.uid() != std::fs::metadata("/proc/self").map_or(owner.uid(), |me| me.uid()) {
            command.uid(owner.uid()).gid(owner.gid());
        }
        command
    }
}

impl Standby<'_> {
    /// Makes it the primary.
    pub fn promote(&self) {
        assert!(self.server.pg_ctl(&["promote"], &self.data), "the standby is promoted");
    }

    /// The port for functions: its own, or that of its PgBouncer.
    pub fn functions_port(&self) -> u16 {
        port_before(self.port)
    }

    /// The address for its superuser.
    pub fn superuser_url(&self) -> String {
        let url = self.server.cluster.superuser_url();
        url.replace(
            &format!(":{}/", self.server.cluster.port()),
            &format!(":{}/", self.port),
        )
    }
}

impl Drop for Standby<'_> {
    fn drop(&mut self) {
        self.server.pg_ctl(&["stop", "-m", "immediate"], &self.data);
    }
}
