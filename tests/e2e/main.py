"""Deploys the template into an emulator of AWS and drives it. Started by `run`, which finds the tools."""

import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import deploy_checks
import http_checks
import queue_checks
import upload_checks
from aws import Aws
from machine import Failure
from postgres import Postgres
from site_under_test import Site
from stack import Stack

# The limit for the whole run, most of which is the first build. The gate must not hang on an emulator.
LIMIT_SECONDS = 3600
CHECKS = [*http_checks.CHECKS, *deploy_checks.CHECKS, *upload_checks.CHECKS, *queue_checks.CHECKS]


def step(name: str, work, *arguments) -> None:
    """Does one part of the preparation and prints how long it took."""
    began = time.monotonic()
    work(*arguments)
    print(f"   {name}: {time.monotonic() - began:.0f} s")


def prepare(site: Site, jwt_secret: str) -> None:
    """Everything from nothing to a deployed stack."""
    step("postgresql", site.postgres.start)
    step("sam build", site.stack.build)
    step("emulator", site.aws.start)
    step("sam deploy, migrations included", site.stack.deploy, site.postgres, jwt_secret)
    site.sign_tokens(jwt_secret)


def drive(site: Site) -> None:
    """Runs the checks in order; the first failure ends the run."""
    for check in CHECKS:
        began = time.monotonic()
        try:
            check(site)
        except Exception:
            print(f"FAILED {check.__name__}", flush=True)
            raise
        print(f"ok {check.__name__} ({time.monotonic() - began:.1f} s)", flush=True)


def give_up(*_: object) -> None:
    """On a signal, sent by us or by the caller: exits in a way that ends what was started."""
    raise Failure(f"stopped by a signal, or not done after {LIMIT_SECONDS} s")


def show_logs(site: Site) -> None:
    """Prints the logs of the functions and of the emulator, which explain most failures."""
    try:
        lines = site.aws.log_lines()
    except Exception as gone:  # The emulator may be what failed.
        lines = [f"no logs of functions: {gone}"]
    print("\n== the functions' logs", *lines[-200:], sep="\n")
    for log in sorted(site.folder.rglob("*.log")):
        print(f"\n== {log.name}", *log.read_text(errors="replace").splitlines()[-40:], sep="\n")


def main() -> int:
    for number in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, give_up)
    signal.alarm(LIMIT_SECONDS)
    folder = Path(tempfile.mkdtemp(prefix="annals-e2e-"))
    # PostgreSQL's account must be able to enter the folder.
    folder.chmod(0o711)
    aws = Aws(folder)
    site = Site(folder, aws, Postgres(folder), Stack(aws, folder))
    try:
        prepare(site, jwt_secret=secrets.token_hex(32))
        drive(site)
    except Exception as failure:
        show_logs(site)
        print(f"\nfailed: {type(failure).__name__}: {failure}", flush=True)
        if not isinstance(failure, Failure):
            raise
        return 1
    finally:
        site.aws.stop()
        site.postgres.stop()
        if os.environ.get("ANNALS_E2E_KEEP"):
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"all {len(CHECKS)} checks passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
