"""Starts a local server and runs the checks. Started by `run`, which finds the tools."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))

from annals_server import local_server  # noqa: E402

MIN_CASES = 2000
# Who sends the requests, how many examples of each operation are generated, and the seed of the generator.
CALLERS = [("staff", 3, 1), ("user", 2, 2), (None, 1, 3)]


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
    with local_server() as server:
        address, folder = server.address + "/api/v1", server.folder
        with urllib.request.urlopen(f"{address}/openapi.json") as answer:
            document = json.load(answer)
        (folder / "openapi.json").write_text(json.dumps(document))
        subprocess.run([sys.executable, "-m", "openapi_spec_validator", folder / "openapi.json"], check=True)
        staff = server.token("staff")
        post_examples(address, document, staff)
        bearers = {"staff": staff, "user": server.token("user"), None: None}
        cases = sum(check(folder, address, caller, *numbers, bearers[caller]) for caller, *numbers in CALLERS)
    if cases < MIN_CASES:
        raise SystemExit(f"only {cases} cases")
    print(f"{cases} cases")


main()
