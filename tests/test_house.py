"""The rules of the house, checked on the source itself.

Each rule is one test, and its docstring is the reason for it.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "rawproxy"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.stat().st_size)
PURE = ["errors", "wire", "dialects", "gateway"]
BESIDE = {"engines", "net", "services"}  # they stand beside one another; app puts them together
IO_MODULES = {
    "anyio", "asyncio", "http", "logging", "multiprocessing", "os", "pathlib", "random", "secrets",
    "select", "selectors", "signal", "socket", "subprocess", "sys", "threading", "time", "trio",
    "urllib.request",
}  # fmt: skip
NO_WALL_CLOCK = {"now", "today", "utcnow"}
MAX_LINES = 600
DECLARATIONS = {"base", "call", "events", "frame", "http", "engine", "limits", "errors"}


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def dialect_of(path: Path) -> str | None:
    """Return the dialect that a file belongs to: a module, or a package of several files."""
    inside = path.relative_to(PACKAGE)
    face = PACKAGE / "dialects" / inside.parts[1] / "__init__.py" if len(inside.parts) > 2 else path
    if inside.parts[0] != "dialects" or face == PACKAGE / "dialects" / "__init__.py":
        return None
    defined = {getattr(node, "name", "") for node in ast.parse(face.read_text()).body}
    return inside.parts[1].removesuffix(".py") if "stream_reader" in defined else None


def imports(source: str) -> Iterator[str]:
    """Yield every module (and name in it) that `source` imports, in whatever spelling."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            if called in ("import_module", "__import__") and node.args:
                argument = node.args[0]
                yield str(argument.value) if isinstance(argument, ast.Constant) else "?"


def allowed(of: str) -> set[str]:
    """Return the layers that a module of layer `of` may import."""
    if of in PURE:
        return set(PURE[: PURE.index(of) + 1])
    if of in BESIDE:
        return {*PURE, of}
    return {*PURE, *BESIDE, "app", "__init__", "__main__"}


def upward(source: str, of: str) -> list[str]:
    found = [target.split(".")[1] for target in imports(source) if target.startswith("rawproxy.")]
    return [target for target in found if target not in allowed(of) and target != "__version__"]


def does_io(source: str, path: Path) -> list[str]:
    ssl_too = set() if name(path) == "rawproxy/wire/tls.py" else {"ssl"}
    banned = IO_MODULES | ssl_too
    return [
        target
        for target in imports(source)
        if target.split(".")[0] in banned or any(target.startswith(f"{one}.") for one in banned)
    ]


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_go_down_only(path: Path) -> None:
    """A reader of a layer needs to know only that layer and the ones below."""
    assert upward(path.read_text(), layer(path)) == []


@pytest.mark.parametrize("path", [p for p in MODULES if layer(p) in PURE], ids=name)
def test_pure_layers_do_no_io(path: Path) -> None:
    """Pure layers take bytes and the time as arguments, so tests need no clock or socket."""
    assert does_io(path.read_text(), path) == []


@pytest.mark.parametrize("path", [p for p in MODULES if layer(p) in PURE], ids=name)
def test_pure_layers_read_no_clock(path: Path) -> None:
    """`datetime.now()` is a clock too."""
    called = {
        node.func.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not called & NO_WALL_CLOCK


@pytest.mark.parametrize(
    ("source", "of"),
    [
        ("import rawproxy.net.conn", "gateway"),
        ("from rawproxy.net import conn", "wire"),
        ("from rawproxy.gateway.keys import Key", "dialects"),
        ("def f():\n    from rawproxy.app.config import Config", "net"),
        ("import rawproxy.net.conn as conn", "engines"),
        ("import importlib\nimportlib.import_module('rawproxy.app.cli')", "gateway"),
    ],
)
def test_planted_upward_imports_are_found(source: str, of: str) -> None:
    """A check that cannot fail is none."""
    assert upward(source, of)


@pytest.mark.parametrize(
    "source",
    ["import trio", "from trio import sleep", "import socket as s", "def f():\n    import time",
     "from os import path", "__import__('random')", "import ssl"],
)  # fmt: skip
def test_planted_io_is_found(source: str) -> None:
    """A check that cannot fail is none."""
    assert does_io(source, PACKAGE / "gateway" / "keys.py")


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_are_absolute(path: Path) -> None:
    """One spelling of a module's name, so that a search finds all of them."""
    assert not [target for target in imports(path.read_text()) if target.startswith(".")]


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_modules_open_with_a_docstring(path: Path) -> None:
    """The docstring says what the file knows, and what it must not know."""
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_files_stay_short(path: Path) -> None:
    """A file that outgrows one sitting is two ideas."""
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_dialects_do_not_know_each_other() -> None:
    """N dialects cost N modules only while no dialect imports another."""
    dialects = {path: found for path in MODULES if (found := dialect_of(path))}
    names = set(dialects.values())
    assert len(names) >= 2
    for path, own in dialects.items():
        for target in imports(path.read_text()):
            if target.startswith("rawproxy.dialects."):
                assert target.split(".")[2] not in names - {own}, f"{name(path)}: {target}"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_module_has_its_own_tests(path: Path) -> None:
    """The tests of a module are found without searching: same path, `test_` in front."""
    if path.stem in {"__init__", "__main__"} | DECLARATIONS:
        return
    inside = path.relative_to(PACKAGE)
    assert (ROOT / "tests" / inside.parent / f"test_{inside.name}").is_file()


def test_architecture_names_only_modules_that_exist() -> None:
    """A map with rooms that are not there misleads."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    named = {
        word
        for word in re.findall(r"`([\w/]+(?:\.py|/))`", text)
        if "/" in word.rstrip("/") or word.endswith("/")
    }
    assert named
    missing = [one for one in named if not (PACKAGE / one).exists() and not (ROOT / one).exists()]
    assert missing == []
