"""Starts a local server and runs the checks. Started by `run`, which finds the tools."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
SERVER = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "annals-local"
# Seconds until the server listens. Only a failure takes this long.
PATIENCE = 120
MIN_CASES = 2000
# Who sends the requests, how many examples of each operation are generated, and the seed of the generator.
CALLERS = [("staff", 3, 1), ("user", 2, 2), (None, 1, 3)]


def start(folder: Path) -> tuple[subprocess.Popen, str]:
    """The server on a free port, and the address of its API."""
    log = folder / "server.log"
    environment = {**os.environ, "ANNALS_DATA_DIR": str(folder / "data"), "ANNALS_PORT": "0", "RUST_LOG": "warn"}
    with log.open("wb") as output:
        server = subprocess.Popen([SERVER], env=environment, stdout=output, stderr=output, start_new_session=True)
    for _ in range(PATIENCE * 10):
        found = re.search(r"listening on (\S+)", log.read_text())
        if found:
            return server, found[1] + "/api/v1"
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit(f"the server did not start\n{log.read_text()}")


def token(folder: Path, role: str) -> str:
    environment = {**os.environ, "ANNALS_DATA_DIR": str(folder / "data")}
    return subprocess.run(
        [SERVER, "token", "--role", role], env=environment, check=True, text=True, stdout=subprocess.PIPE
    ).stdout.strip()


def post_examples(address: str, document: dict, staff: str) -> None:
    """Posts the document's examples of events, so that there is something to read."""
    media = document["paths"]["/api/v1/events"]["post"]["requestBody"]["content"]["application/json"]
    for name in ["created", "changed", "batch"]:
        request = urllib.request.Request(
            f"{address}/events",
            json.dumps(media["examples"][name]["value"]).encode(),
            {"Authorization": f"Bearer {staff}", "Content-Type": "application/json"},
        )
        urllib.request.urlopen(request).close()


def check(folder: Path, address: str, caller: str | None, examples: int, seed: int, bearer: str | None) -> int:
    """Runs schemathesis as one caller; returns the number of its cases."""
    header = ["-H", f"Authorization: Bearer {bearer}"] if bearer else []
    command = [
        "schemathesis", "--config-file", str(HERE / "schemathesis.toml"), "run", f"{address}/openapi.json", *header,
        "--seed", str(seed), "--max-examples", str(examples), "--no-color",
    ]
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    done = subprocess.run(command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    cases = re.search(r"(\d+) generated", done.stdout)
    print(f"   {caller or 'no token'}: {cases and cases[1]} cases, {time.monotonic() - began:.0f} s", flush=True)
    if done.returncode != 0 or not cases:
        print(done.stdout)
        raise SystemExit(f"schemathesis failed for {caller or 'no token'}")
    return int(cases[1])


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="annals-contract-") as name:
        folder = Path(name)
        # PostgreSQL does not run as root: its files belong to another account, which must be able to reach them.
        folder.chmod(0o755)
        server, address = start(folder)
        try:
            with urllib.request.urlopen(f"{address}/openapi.json") as answer:
                document = json.load(answer)
            (folder / "openapi.json").write_text(json.dumps(document))
            subprocess.run([sys.executable, "-m", "openapi_spec_validator", folder / "openapi.json"], check=True)
            staff = token(folder, "staff")
            post_examples(address, document, staff)
            bearers = {"staff": staff, "user": token(folder, "user"), None: None}
            cases = sum(check(folder, address, caller, *numbers, bearers[caller]) for caller, *numbers in CALLERS)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
    if cases < MIN_CASES:
        raise SystemExit(f"only {cases} cases")
    print(f"{cases} cases")


main()
