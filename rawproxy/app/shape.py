"""Plain data to Structs, with every fault told at once and by its key.

Layer: app. Knows no section of the configuration. Reads the environment and files only where a
value is a `Secret` that points there.

msgspec's own `convert` stops at the first fault and does not name the keys of dicts, so the walk
is done here and msgspec converts the single values.
"""

import difflib
import json
import re
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from rawproxy.gateway.keys import Secret

__all__ = ["Faults", "Path", "Reader"]

S = TypeVar("S", bound=msgspec.Struct)

Path = tuple[str | int, ...]
"""Where a value stands: `("upstreams", "openai", "keys", 0)`."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

_WORDS: dict[object, str] = {
    str: "text", int: "a whole number", float: "a number", bool: "true or false",
    list: "a list", dict: "a table",
}  # fmt: skip
_ONE_OF = "one of "


class Faults:
    """What is wrong with a configuration, in the order it was found.

    A value has one fault: what follows from it, at the same key or below, is not told.
    """

    def __init__(self) -> None:
        self._found: dict[Path, str] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, path: Path, what: str) -> None:
        """Note that the value at `path` is wrong. `what` says how, and what is allowed."""
        if not any(path[:length] in self._found for length in range(len(path) + 1)):
            self._found[path] = what

    def lines(self, name: str) -> list[str]:
        """Return one line for each fault: `NAME: key.path: what is wrong, what is allowed`."""
        return [
            f"{name}: {_dotted(path)}: {what}" if path else f"{name}: {what}"
            for path, what in self._found.items()
        ]


class Reader:
    """Reads values of declared types. A wrong one is noted and read as its default.

    Args:
        faults: where to note them.
        environ: where `env:NAME` looks.
    """

    def __init__(self, faults: Faults, environ: Mapping[str, str]) -> None:
        self._faults = faults
        self._environ = environ

    def struct(self, value: object, kind: type[S], path: Path = ()) -> S:
        """Return `value`, a table, as a `kind`."""
        if not isinstance(value, Mapping):
            self._wrong(path, value, "a table")
            value = {}
        fields = {field.name: field for field in msgspec.structs.fields(kind)}
        for key in value:
            if key not in fields:
                self._faults.add((*path, str(key)), _unknown(str(key), fields))
        members = {}
        for name, field in fields.items():
            if name in value:
                members[name] = self._value(value[name], field.type, (*path, name))
            elif field.required:
                self._faults.add((*path, name), f"is missing, must be {_described(field.type)}")
                members[name] = _empty(field.type)
        return kind(**members)

    def _value(self, value: object, kind: Any, path: Path) -> object:  # noqa: ANN401 (a type form)
        origin = get_origin(kind)
        if kind is Secret:
            return self._secret(value, path)
        if (struct := _struct_of(kind)) is not None:
            return self.struct(value, struct, path)
        if origin is tuple and isinstance(value, list | tuple):
            item = get_args(kind)[0]
            return tuple(self._value(each, item, (*path, at)) for at, each in enumerate(value))
        if origin is dict and isinstance(value, Mapping):
            item = get_args(kind)[1]
            return {
                str(key): self._value(each, item, (*path, str(key))) for key, each in value.items()
            }
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError:
            self._wrong(path, value, _described(kind))
            return _empty(kind)

    def _secret(self, value: object, path: Path) -> Secret:
        if not isinstance(value, str):
            self._wrong(path, value, "text, `env:NAME` or `file:/path`")
            return Secret()
        source, _, name = value.partition(":")
        try:
            match source:
                case "env":
                    return Secret(self._variable(name))
                case "file":
                    return Secret(_content(name))
        except ValueError as error:
            self._faults.add(path, str(error))
            return Secret()
        return Secret(value)

    def _variable(self, name: str) -> str:
        value = self._environ.get(name)
        if not value:
            state = "not set" if value is None else "empty"
            raise ValueError(f"the environment variable {name} is {state}, must hold the value")
        return value

    def _wrong(self, path: Path, value: object, allowed: str) -> None:
        got = _WORDS.get(type(value), "of another type")
        if isinstance(value, str) and allowed.startswith(_ONE_OF):
            got = "not known"
        self._faults.add(path, f"is {got}, must be {allowed}")


def _content(path: str) -> str:
    try:
        content = FilePath(path).read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise ValueError(f"the file {path} is not UTF-8 text") from None
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read: {error.strerror}") from error
    if not content:
        raise ValueError(f"the file {path} is empty, must hold the value")
    return content


def _unknown(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f"is not a key here, did you mean `{near[0]}`?"
    return f"is not a key here, must be one of: {', '.join(known)}"


def _described(kind: Any) -> str:  # noqa: ANN401 (a type form)
    """Return what values of a type are, in words."""
    if _is_union(kind):
        return " or ".join(_described(each) for each in get_args(kind) if each is not type(None))
    origin = get_origin(kind)
    if origin is Literal:
        return _ONE_OF + ", ".join(json.dumps(each) for each in get_args(kind))
    if origin is tuple:
        return "a list"
    return _WORDS.get(origin or kind, "a table")


def _empty(kind: Any) -> object:  # noqa: ANN401 (a type form)
    """Return a value of a type to go on with; the fault that led here is told instead of it."""
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    if _is_union(kind):
        return None
    return (typing.get_origin(kind) or kind)()


def _struct_of(kind: Any) -> type[msgspec.Struct] | None:  # noqa: ANN401 (a type form)
    """Return the Struct that `kind` is, or is one of with None."""
    for each in get_args(kind) if _is_union(kind) else (kind,):
        if isinstance(each, type) and issubclass(each, msgspec.Struct):
            return each
    return None


def _is_union(kind: object) -> bool:
    # `Literal[...] | None` is of the older kind.
    return isinstance(kind, types.UnionType) or get_origin(kind) is typing.Union


def _dotted(path: Path) -> str:
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
            continue
        key = step if _BARE_KEY.fullmatch(step) else json.dumps(step)
        text += f".{key}" if text else key
    return text
