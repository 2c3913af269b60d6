"""Plain data becomes Structs; whatever is wrong is told once, by its key, and never by its value."""

from pathlib import Path
from typing import Literal

import msgspec
import pytest

from rawproxy.app.shape import Faults, Reader
from rawproxy.gateway.keys import Secret


class Inner(msgspec.Struct, frozen=True):
    name: str
    size: int = 1


class Outer(msgspec.Struct, frozen=True):
    mode: Literal["slow", "fast"] = "slow"
    seconds: float = 1.5
    on: bool = False
    note: str | None = None
    key: Secret = Secret()
    words: tuple[str, ...] = ()
    keys: tuple[Secret, ...] = ()
    inner: Inner = Inner("none")
    table: dict[str, Inner] = {}
    items: tuple[Inner, ...] = ()


def read(data: object, **environ: str) -> tuple[Outer, list[str]]:
    faults = Faults()
    value = Reader(faults, environ).struct(data, Outer)
    assert bool(faults) == bool(faults.lines("f"))
    return value, faults.lines("f")


def test_a_faultless_table() -> None:
    value, faults = read({
        "mode": "fast", "seconds": 2, "on": True, "note": "n", "key": "k", "words": ["a"],
        "keys": ["env:KEY", "b"], "inner": {"name": "i"}, "table": {"t": {"name": "x", "size": 2}},
        "items": [{"name": "y"}],
    }, KEY="a")  # fmt: skip
    assert faults == []
    assert value == Outer(
        "fast", 2.0, True, "n", Secret("k"), ("a",), (Secret("a"), Secret("b")), Inner("i"),
        {"t": Inner("x", 2)}, (Inner("y"),),
    )  # fmt: skip
    assert type(value.keys[0]) is Secret


def test_nothing_said_is_all_defaults() -> None:
    assert read({}) == (Outer(), [])


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ([], "f: is a list, must be a table"),
        ({"mode": "quick"}, 'f: mode: is not known, must be one of "slow", "fast"'),
        ({"mode": 1}, 'f: mode: is a whole number, must be one of "slow", "fast"'),
        ({"seconds": "1"}, "f: seconds: is text, must be a number"),
        ({"seconds": True}, "f: seconds: is true or false, must be a number"),
        ({"on": 1}, "f: on: is a whole number, must be true or false"),
        ({"note": 1.5}, "f: note: is a number, must be text"),
        ({"key": ["k"]}, "f: key: is a list, must be text, `env:NAME` or `file:/path`"),
        ({"words": "a"}, "f: words: is text, must be a list"),
        ({"words": ["a", 1]}, "f: words[1]: is a whole number, must be text"),
        ({"inner": "x"}, "f: inner: is text, must be a table"),
        ({"inner": {}}, "f: inner.name: is missing, must be text"),
        ({"inner": {"name": None}}, "f: inner.name: is of another type, must be text"),
        ({"table": []}, "f: table: is a list, must be a table"),
        ({"table": {"t": {"name": "n", "size": "2"}}}, "f: table.t.size: is text, must be a whole number"),
        ({"table": {"a.b\n": 1}}, 'f: table."a.b\\n": is a whole number, must be a table'),
        ({"items": [{"name": "n"}, {}]}, "f: items[1].name: is missing, must be text"),
        ({"secnods": 1}, "f: secnods: is not a key here, did you mean `seconds`?"),
        ({"inner": {"name": "n", "zzz": 1}}, "f: inner.zzz: is not a key here, must be one of: name, size"),
        ({5: 1}, "f: 5: is not a key here, must be one of: mode, seconds, on, note, key, words, keys, inner, table, items"),
    ],
)  # fmt: skip
def test_one_fault(data: object, fault: str) -> None:
    assert read(data)[1] == [fault]


def test_all_faults_at_once_and_nothing_that_follows_from_one() -> None:
    value, faults = read({"secnods": 1, "on": "yes", "inner": [], "items": [{"size": "big"}]})
    assert [line.split(": ")[1] for line in faults] == [
        "secnods", "on", "inner", "items[0].name", "items[0].size",
    ]  # fmt: skip
    assert value.on is False


def test_a_fault_hides_what_is_below_it_but_not_beside_it() -> None:
    faults = Faults()
    faults.add(("a",), "first")
    faults.add(("a",), "again")
    faults.add(("a", "b", 0), "below")
    faults.add(("ab",), "beside")
    assert faults.lines("f") == ["f: a: first", "f: ab: beside"]


def test_secrets_from_files(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("  sk-1\n")
    value, faults = read({"key": f"file:{path}"})
    assert ("" + value.key, faults) == ("sk-1", [])


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff"])
def test_files_that_hold_no_secret(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    _, (fault,) = read({"key": f"file:{path}"})
    assert fault.startswith(f"f: key: the file {path} is ")


def test_secrets_that_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "absent"
    _, faults = read({"keys": ["env:ABSENT", "env:EMPTY", f"file:{path}", "file:\0"]}, EMPTY="")
    assert faults == [
        "f: keys[0]: the environment variable ABSENT is not set, must hold the value",
        "f: keys[1]: the environment variable EMPTY is empty, must hold the value",
        f"f: keys[2]: the file {path} cannot be read: No such file or directory",
        "f: keys[3]: embedded null byte",
    ]
