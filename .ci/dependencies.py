"""Fails if deny.toml does not allow the licence or source of a dependency, or if none of our sources uses a dependency.

cargo-deny checks licences and sources too, but compiling it takes longer than compiling Annals, and its advisories come from GitHub, which a
clean build machine may not reach. So advisories are not checked here. cargo-machete finds unused dependencies in the same way as this script: a
crate that is used occurs as a path (`name::…`), a macro (`name!`), or in a `use`.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


def satisfied(expression: str, allowed: set[str]) -> bool:
    """Whether allowed licences satisfy an SPDX expression. Old crates write `/` for OR."""
    tokens = re.findall(r"[()]|[^\s()]+", re.sub(r"\s*/\s*", " OR ", expression))

    def either() -> bool:
        met = both()
        while tokens[:1] == ["OR"]:
            tokens.pop(0)
            met = both() or met
        return met

    def both() -> bool:
        met = one()
        while tokens[:1] == ["AND"]:
            tokens.pop(0)
            met = one() and met
        return met

    def one() -> bool:
        token = tokens.pop(0)
        if token == "(":
            met = either()
            if tokens.pop(0) != ")":
                raise ValueError(expression)
            return met
        if tokens[:1] == ["WITH"]:
            token = f"{token} {tokens.pop(0)} {tokens.pop(0)}"
        return token in allowed

    met = either()
    if tokens:
        raise ValueError(expression)
    return met


def complaint(package: dict, allowed: set[str]) -> str | None:
    """Why this package may not be linked, or None."""
    if package["source"] != CRATES_IO:
        return f"comes from {package['source'] or package['manifest_path']}, not from crates.io"
    try:
        fine = satisfied(package["license"] or "", allowed)
    except (IndexError, ValueError):
        return f"unreadable licence {package['license']!r}"
    return None if fine else f"licence {package['license']}"


def unused(package: dict) -> list[str]:
    """Dependencies of this member that none of its sources uses."""
    files = Path(package["manifest_path"]).parent.rglob("*.rs")
    # Without comments. A `//` after a colon is not a comment but an address in a string.
    sources = "\n".join(re.sub(r"(?m)(?<!:)//.*$", "", file.read_text()) for file in files)
    names = {d["rename"] or d["name"] for d in package["dependencies"]}
    return sorted(name for name in names if not is_used(name.replace("-", "_"), sources))


def is_used(name: str, sources: str) -> bool:
    """Whether these sources use the crate of this name. The word alone is not enough, because `url` and `csv` also occur as other names."""
    return re.search(rf"\b{name}(::|!)|\b(use|extern crate) {name}\b", sources) is not None


def of_no_member(members: list[dict]) -> list[str]:
    """Dependencies of the workspace that no member uses."""
    declared = tomllib.loads(Path("Cargo.toml").read_text())["workspace"]["dependencies"]
    taken = {d["rename"] or d["name"] for member in members for d in member["dependencies"]}
    return sorted(declared.keys() - taken)


def main() -> int:
    allowed = set(tomllib.loads(Path("deny.toml").read_text())["licenses"]["allow"])
    command = ["cargo", "metadata", "--locked", "--all-features", "--format-version", "1"]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    foreign = [p for p in metadata["packages"] if p["id"] not in metadata["workspace_members"]]
    complaints = [f"{p['name']} {p['version']}: {why}" for p in foreign if (why := complaint(p, allowed))]
    members = [p for p in metadata["packages"] if p["id"] in metadata["workspace_members"]]
    complaints += [f"{p['name']} does not use {name}" for p in members for name in unused(p)]
    complaints += [f"no member has the workspace's dependency {name}" for name in of_no_member(members)]
    print(*complaints, f"{len(foreign)} dependencies, {len(complaints)} refused", sep="\n")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
