"""A PostgreSQL server for this run, on loopback. PostgreSQL refuses to run as root, which containers usually are."""

import os
import pwd
import secrets
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import psycopg2

from machine import Failure, free_port

# Durability is not tested here, and initdb alone would take as long as everything else.
SETTINGS = ("fsync=off", "max_connections=60", "log_min_messages=warning")


def programs() -> Path:
    """The folder with the newest PostgreSQL's programs. Wrappers on the PATH (Debian's) are links or scripts that lead elsewhere."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    if found:
        return found[-1]
    initdb = shutil.which("initdb")
    if initdb is None:
        raise Failure("PostgreSQL's programs are missing: install postgresql")
    return Path(initdb).resolve().parent


class Postgres:
    """The server, with the role that migrates and the one that functions log in as."""

    def __init__(self, folder: Path):
        self.programs = programs()
        self.folder = folder / "postgres"
        self.folder.mkdir(mode=0o700)
        self.port = free_port()
        self.owner_password, self.api_password = secrets.token_hex(16), secrets.token_hex(16)
        self.log = self.folder / "server.log"
        self.account = None
        if os.getuid() == 0:
            names = {entry.pw_name for entry in pwd.getpwall()}
            self.account = "postgres" if "postgres" in names else "nobody"
            shutil.chown(self.folder, self.account)

    def _run(self, program: str, *arguments: str | Path) -> None:
        """Runs one of the programs as the server's account, in a folder that it can enter."""
        become = {}
        if self.account:
            become = {"user": self.account, "group": pwd.getpwnam(self.account).pw_gid, "extra_groups": []}
        command = [str(self.programs / program), *map(str, arguments)]
        # Output goes to a file and not to a pipe: the server inherits it and would keep a pipe open.
        with (self.folder / f"{program}.log").open("w+") as output:
            done = subprocess.run(
                command, cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=120, **become
            )
            output.seek(0)
            if done.returncode != 0:
                raise Failure(f"{program}: {output.read()}")

    def start(self) -> None:
        """Creates the cluster and starts it. The migrating role may create roles and is not a superuser, as in the cloud."""
        data = self.folder / "data"
        self._run("initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", "--username=root", "--no-sync", "--pgdata", data)
        self.restart()
        # From here on passwords are required, except for the administrator of this server.
        (data / "pg_hba.conf").write_text("host all root 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        self._run("pg_ctl", "reload", "--pgdata", data)
        with closing(self.administrator("postgres")) as connection:
            connection.autocommit = True
            connection.cursor().execute(f"create role owner login createrole password '{self.owner_password}'")
            connection.cursor().execute("create database annals owner owner")

    def restart(self) -> None:
        """Starts the stopped server."""
        settings = (*SETTINGS, f"port={self.port}", "listen_addresses=127.0.0.1", "unix_socket_directories=''")
        options = " ".join(f"-c {setting}" for setting in settings)
        data = self.folder / "data"
        self._run("pg_ctl", "start", "--wait", "--log", self.log, "--options", options, "--pgdata", data)

    def stop(self) -> None:
        """Ends the server, as a crash would."""
        data = self.folder / "data"
        if (data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "--wait", "--mode=immediate", "--pgdata", data)

    def administrator(self, database: str = "annals"):
        """A connection that no policy restricts, to check what requests have stored."""
        return psycopg2.connect(host="127.0.0.1", port=self.port, user="root", dbname=database)

    def rows(self, query: str, *parameters: object) -> list[tuple]:
        """The result of a query by the administrator."""
        with closing(self.administrator()) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(query, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def url(self, role: str, password: str) -> str:
        """The address for this role."""
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/annals?sslmode=disable"

    @property
    def api_url(self) -> str:
        """The address for functions, with the login that the deployment has created."""
        return self.url("annals_api", self.api_password)

    @property
    def owner_url(self) -> str:
        """The address for the migrating role."""
        return self.url("owner", self.owner_password)
