"""Starts a local server and checks the clients. Started by `run`, which finds the tools."""

import difflib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))

from annals_server import PROGRAMS, ROOT, Server, local_server  # noqa: E402

PAGE = ROOT / "docs/guide/clients.md"
TYPESCRIPT = ROOT / "clients/typescript"
SCHEMA = TYPESCRIPT / "src/schema.ts"


def blocks(language: str) -> list[tuple[str, str]]:
    """The page's blocks of a language, each with the `text` block that follows it: what it prints."""
    found = re.findall(rf"^```{language}\n(.*?)^```\n+```text\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    if not found:
        raise SystemExit(f"{PAGE.name} has no block of {language} with what it prints")
    return found


def environment(server: Server, number: int) -> dict[str, str]:
    """What a recipe needs. Each has a tenant of its own, so all can use the same ids."""
    tenant = f"00000000-0000-4000-8000-{number:012}"
    return {**os.environ, "ANNALS_URL": server.address, "ANNALS_TOKEN": server.token("staff", "--tenant", tenant)}


def prints(name: str, expected: str, command: list, env: dict[str, str], folder: Path = ROOT) -> None:
    """Runs a recipe; fails if it does not print what the page shows. `…` stands for any text."""
    began = time.monotonic()
    done = subprocess.run(command, env=env, cwd=folder, text=True, stdout=subprocess.PIPE)
    pattern = ".*?".join(re.escape(part) for part in expected.strip().split("…"))
    if done.returncode != 0 or not re.fullmatch(pattern, done.stdout.strip(), re.S):
        raise SystemExit(f"{name}: exit code {done.returncode}, expected\n{expected}\nprinted\n{done.stdout}")
    print(f"   {name}: {time.monotonic() - began:.1f} s", flush=True)


def is_on_page(name: str, shown: str, file: Path) -> None:
    """Files may begin with lines that the page leaves out: attributes for our own compiler settings."""
    if not file.read_text().endswith(shown):
        raise SystemExit(f"{name}: the block of {PAGE.name} is not the end of {file.relative_to(ROOT)}")


def npm(script: str, **env: str) -> None:
    """Runs a script of package.json."""
    subprocess.run(["npm", "run", "--silent", script], cwd=TYPESCRIPT, env={**os.environ, **env}, check=True)


def check_generated(server: Server, write: bool) -> None:
    generated = server.folder / "schema.ts"
    npm("generate", ANNALS_URL=server.address, OUTPUT=str(generated))
    if write:
        shutil.copy(generated, SCHEMA)
        return
    old, new = SCHEMA.read_text().splitlines(True), generated.read_text().splitlines(True)
    difference = "".join(list(difflib.unified_diff(old, new, "schema.ts", "generated"))[:40])
    if difference:
        raise SystemExit(f"{difference}\n{SCHEMA.relative_to(ROOT)} is not current: run tests/clients/run --write")


def check_typescript(server: Server, write: bool) -> None:
    check_generated(server, write)
    for folder in ["dist", "build"]:
        shutil.rmtree(TYPESCRIPT / folder, ignore_errors=True)
    npm("check")
    [(code, expected)] = blocks("ts")
    is_on_page("TypeScript", code, TYPESCRIPT / "examples/first.ts")
    prints("TypeScript", expected, ["node", "build/examples/first.js"], environment(server, 1), TYPESCRIPT)
    tests = sorted((TYPESCRIPT / "build/tests").glob("*.test.js"))
    subprocess.run(["node", "--test", "--test-reporter=dot", *tests], env=environment(server, 2), check=True)


def check_python(server: Server) -> None:
    [(code, expected)] = blocks("python")
    [commands] = re.findall(r"^```console\npip install [^\n]*\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    env = environment(server, 3)
    subprocess.run(["bash", "-ec", commands], cwd=server.folder, env=env, check=True)
    (server.folder / "first.py").write_text(code)
    prints("Python", expected, [sys.executable, "first.py"], env, server.folder)


def check_rust(server: Server) -> None:
    [(code, expected)] = blocks("rust")
    is_on_page("Rust", code, HERE / "first.rs")
    prints("Rust", expected, [PROGRAMS / "first-client"], environment(server, 4))


def main() -> None:
    with local_server() as server:
        check_typescript(server, "--write" in sys.argv)
        check_python(server)
        check_rust(server)


main()
