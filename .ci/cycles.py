#!/usr/bin/env python3
"""Fails if files of a crate import each other in a circle.

A file imports the file that defines what it names: `use crate::…`, `use super::…`, and such paths in its code. A name that a module only
re-exports (`pub use`) leads to the file that defines it, so a crate's root is in no circle because of its re-exports. Unit tests
(`#[cfg(test)]` to the end of the file) are left out: they may use their parent.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEFINITION = r"(?:pub(?:\([^)]*\))? )?(?:(?:async|const|unsafe) )*(?:fn|struct|enum|trait|type|const|static|union|macro_rules!) (\w+)"


class Crate:
    """The modules of a crate: a path like ('fold', 'size') for each file, with its code."""

    def __init__(self, source: Path):
        self.files: dict[tuple[str, ...], Path] = {}
        self.code: dict[tuple[str, ...], str] = {}
        for file in sorted(source.rglob("*.rs")):
            parts = list(file.relative_to(source).with_suffix("").parts)
            if parts[0] in ("main", "bin") or parts[-1].endswith("tests"):
                continue
            if parts[-1] in ("lib", "mod"):
                parts.pop()
            module = tuple(parts)
            text = file.read_text().split("#[cfg(test)]\nmod tests {")[0]
            self.files[module] = file
            self.code[module] = re.sub(r"//.*", "", text)
        self.names = {module: set(re.findall(r"(?m)^(?:\s{0,4})" + DEFINITION, code)) for module, code in self.code.items()}
        self.uses = {module: list(self.imports(module)) for module in self.code}
        self.exports = {module: dict(self.reexports(module)) for module in self.code}

    def imports(self, module: tuple[str, ...]):
        """Absolute paths that a module names, re-exports apart."""
        for statement in re.finditer(r"(?m)^\s*use ([^;]+);", self.code[module]):
            yield from (path for path, _ in self.expand(module, statement.group(1)))
        body = re.sub(r"(?m)^\s*(?:pub(?:\([^)]*\))? )?use [^;]+;", "", self.code[module])
        # A re-exported name that the same file also uses.
        for statement in re.finditer(r"(?m)^\s*pub(?:\([^)]*\))? use ([^;]+);", self.code[module]):
            for path, name in self.expand(module, statement.group(1)):
                if re.search(rf"(?<![\w:]){re.escape(name)}\b", body):
                    yield path
        # A module below that is named without a prefix: `mod inverse; inverse::compute()`.
        for path in re.finditer(r"(?<![\w:])([a-z_]\w*)((?:::\w+)+)", body):
            if module + (path.group(1),) in self.files:
                yield module + tuple((path.group(1) + path.group(2)).split("::"))
        for path in re.finditer(r"(?<![\w:])((?:crate|super|self)(?:::\w+)+)", body):
            yield from (found for found, _ in self.expand(module, path.group(1)))

    def reexports(self, module: tuple[str, ...]):
        for statement in re.finditer(r"(?m)^\s*pub(?:\([^)]*\))? use ([^;]+);", self.code[module]):
            yield from ((name, path) for path, name in self.expand(module, statement.group(1)))

    def expand(self, module: tuple[str, ...], tree: str):
        """The paths of a `use` tree, absolute in the crate, with the name that each gets; those that leave the crate are left out."""
        for path in flatten(re.sub(r"\s+", " ", tree).strip()):
            path, _, alias = path.partition(" as ")
            parts = [part.strip() for part in path.split("::")]
            absolute = self.absolute(module, parts)
            if absolute is not None:
                yield absolute, alias.strip() or parts[-1]

    def absolute(self, module: tuple[str, ...], parts: list[str]):
        if parts[0] == "crate":
            return tuple(parts[1:])
        base = list(module)
        if parts[0] == "self":
            return tuple(base + parts[1:])
        if parts[0] == "super":
            while parts and parts[0] == "super":
                base, parts = base[:-1], parts[1:]
            return tuple(base + parts)
        # A module beside or below that is named without a prefix.
        return tuple(base + parts) if tuple(base + parts[:1]) in self.files else None

    def definition(self, path: tuple[str, ...], depth: int = 0):
        """The module whose file defines what a path names."""
        longest = max((n for n in range(len(path) + 1) if path[:n] in self.files), default=0)
        module, rest = path[:longest], path[longest:]
        if not rest or rest[0] in ("self", "*") or depth > 5:
            return module
        target = self.exports[module].get(rest[0])
        if rest[0] not in self.names[module] and target is not None:
            return self.definition(target + rest[1:], depth + 1)
        return module

    def graph(self):
        edges: dict[tuple[str, ...], set] = {module: set() for module in self.files}
        for module, paths in self.uses.items():
            for path in paths:
                target = self.definition(path)
                # A file that names itself is no circle.
                if target != module:
                    edges[module].add(target)
        return edges


def flatten(tree: str) -> list[str]:
    """`a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`."""
    if "{" not in tree:
        return [tree]
    prefix, rest = tree.split("{", 1)
    inner = rest[: rest.rindex("}")]
    parts, depth, current = [], 0, ""
    for char in inner:
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += char
    parts.append(current)
    return [prefix.strip() + path for part in parts if part.strip() for path in flatten(part.strip())]


def circles(edges: dict) -> list[list]:
    """Tarjan's strongly connected components with more than one member."""
    index, low, stack, on_stack, found = {}, {}, [], set(), []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        on_stack.add(node)
        for target in edges[node]:
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in on_stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            component = []
            while True:
                member = stack.pop()
                on_stack.discard(member)
                component.append(member)
                if member == node:
                    break
            if len(component) > 1:
                found.append(sorted(component))

    for node in edges:
        if node not in index:
            visit(node)
    return found


def main() -> int:
    sys.setrecursionlimit(10_000)
    failed = False
    for manifest in sorted(ROOT.glob("**/Cargo.toml")):
        source = manifest.parent / "src"
        if "target" in manifest.parts or not source.is_dir():
            continue
        crate = Crate(source)
        edges = crate.graph()
        for circle in circles(edges):
            failed = True
            print(f"{source.relative_to(ROOT)}: these files import each other in a circle:")
            for module in circle:
                inside = sorted("::".join(target) or "(root)" for target in edges[module] if target in circle)
                print(f"  {'::'.join(module) or '(root)'} uses {', '.join(inside)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
