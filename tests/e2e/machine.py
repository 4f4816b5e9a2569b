"""Programs that this run starts, each ended by its own process id, and waiting with a time limit."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]


class Failure(Exception):
    """A check has failed; the message says what."""


def run(*command: str | Path, env: dict[str, str] | None = None, limit: float = 300) -> str:
    """Runs a program to its end and returns what it printed; if it fails, the output is the failure's message."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, cwd=ROOT, env=env, timeout=limit, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except subprocess.TimeoutExpired as slow:
        raise Failure(f"{words[0]} took more than {limit} s\n{slow.stdout}\n{slow.stderr}") from None
    if done.returncode != 0:
        raise Failure(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


class Program:
    """A server. It gets a process group of its own, so that its children end with it."""

    def __init__(self, *command: str | Path, log: Path, env: dict[str, str]):
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                cwd=log.parent,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        """Fails if the program has ended."""
        if self.process.poll() is not None:
            raise Failure(f"ended with exit code {self.process.returncode}\n{self.log.read_text(errors='replace')}")

    def stop(self) -> None:
        """Ends the program and its children: first by SIGTERM, then by SIGKILL."""
        for word, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
            try:
                os.killpg(self.process.pid, word)
            except ProcessLookupError:
                break
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
        self.process.wait(1)


def free_port() -> int:
    """A port that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what: str, look: Callable[[], T | None], limit: float = 60, pause: float = 0.2) -> T:
    """Polls until the function returns something."""
    end = time.monotonic() + limit
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise Failure(f"still not after {limit} s: {what}; last seen: {found!r}")
        time.sleep(pause)
