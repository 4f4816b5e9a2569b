"""A local server for checks in Python: with a database of its own, on a free port, ended with the block that uses it."""

import os
import re
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
# Seconds until the server listens. Only a failure takes this long.
PATIENCE = 120


@dataclass
class Server:
    # Such as http://127.0.0.1:3000.
    address: str
    # A folder for files of the check. It is deleted in the end.
    folder: Path

    def token(self, role: str, *options: str) -> str:
        command = [PROGRAMS / "annals-local", "token", "--role", role, *options]
        return subprocess.run(command, env=environment(self.folder), check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "ANNALS_DATA_DIR": str(folder / "data"), "ANNALS_PORT": "0", "RUST_LOG": "warn"}


@contextmanager
def local_server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="annals-check-") as name:
        folder = Path(name)
        # PostgreSQL does not run as root: its files belong to another account, which must be able to reach them.
        folder.chmod(0o755)
        log = folder / "server.log"
        with log.open("wb") as output:
            command = [PROGRAMS / "annals-local"]
            server = subprocess.Popen(command, env=environment(folder), stdout=output, stderr=output, start_new_session=True)
        try:
            yield Server(address_in(log, server), folder)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()


def address_in(log: Path, server: subprocess.Popen) -> str:
    """The address that the server prints when it listens."""
    for _ in range(PATIENCE * 10):
        found = re.search(r"listening on (\S+)", log.read_text())
        if found:
            return found[1]
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit(f"the server did not start\n{log.read_text()}")
