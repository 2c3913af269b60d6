"""Read a JSON object field by field, and know afterwards what nobody asked for.

Layer: dialects. Tolerant of what clients really send (null for absent, 3.0 for 3), strict about
types.

    body = Fields.of(data)
    model = body.text("model", needed=True)
    ...
    unknown = body.rest()          # {"foo": b"1"}: kept in pass, a loss in translation

Errors name the path, never the value.
"""

import re
from collections.abc import Iterable
from json import JSONDecoder
from typing import Any, Self, TypeVar, cast

import msgspec
from msgspec import Raw

from rawproxy.errors import ClientError

__all__ = [
    "MOST_CHOICES",
    "MOST_COUNT",
    "Fields",
    "begins",
    "choice_number",
    "decode",
    "decode_fitting",
    "documents",
    "encode",
    "flat",
    "whole_count",
]

T = TypeVar("T")

MOST_COUNT = 2**53
"""What an upstream says beyond this is no count of anything: floats are exact up to it."""

MOST_CHOICES = 128
"""Answers to one call: as many as any API gives. A number beyond would be room for as many."""

_ENCODER = msgspec.json.Encoder()
_DECODERS: dict[object, msgspec.json.Decoder[Any]] = {}

_DOCUMENT = JSONDecoder()
_BLANK = re.compile(r"\s*")

_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_TEXT = msgspec.json.Decoder(str | None)
_NULL, _NOTHING = Raw(b"null"), Raw()

# A whole number stays one: a seed may have more digits than a float.
_NUMBER = cast("type[float]", int | float)

# Half of a surrogate pair, escaped; an even number of backslashes before it is text, not an escape.
# msgspec refuses it even in fields that nobody reads.
_LONE_SURROGATE = re.compile(
    rb"(?<!\\)((?:\\\\)*)(?:(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def decode(data: bytes | Raw, kind: type[T]) -> T:
    """Return `data` decoded as JSON of type `kind`.

    A lone surrogate (`"\\ud83d"`: half of an emoji, as JavaScript cuts them) reads as U+FFFD.

    Raises:
        ValueError: not JSON, not UTF-8 (what is left as `Raw` included), or of another type, or nested deeper than the parser can follow.
    """
    try:
        return _decode(data, kind)
    except ValueError:
        repaired = _LONE_SURROGATE.sub(_whole_pairs, bytes(data))
        if repaired == bytes(data):
            raise
    return _decode(repaired, kind)


def decode_fitting(data: bytes, kind: type[T]) -> T | None:
    """Return `data` decoded as JSON of type `kind`; None where it is not that, for whatever reason."""
    try:
        return _decode(data, kind)
    except ValueError:
        return None


def encode(value: object) -> bytes:
    """Return `value` as JSON bytes; `Raw` inside it is written as it stands."""
    return _ENCODER.encode(value)


def documents(data: bytes) -> list[bytes]:
    """Return the JSON documents that stand in a row: some servers put several into one frame.

    `[DONE]` counts as one, the last: whatever stands behind it has no meaning.

    Raises:
        ValueError: something is no document; so nothing is read of what stands before it, either.
    """
    text = data.decode("utf-8", "replace").strip()
    found: list[bytes] = []
    at = 0
    while at < len(text):
        if text.startswith("[DONE]", at):
            return [*found, b"[DONE]"]
        try:
            _, end = _DOCUMENT.raw_decode(text, at)
        except RecursionError:
            raise ValueError("the JSON is nested too deep") from None
        found.append(text[at:end].encode())
        blank = _BLANK.match(text, end)
        assert blank is not None  # it matches nothing at all, too
        at = blank.end()
    return found


def flat(data: bytes) -> bytes:
    """Return JSON on one line: what an upstream wrote in lines, put into a frame, would be cut there."""
    return msgspec.json.format(data, indent=-1) if b"\n" in data or b"\r" in data else data


def _whole_pairs(match: re.Match[bytes]) -> bytes:
    backslashes, pair = match.groups()
    return bytes(backslashes) + (pair or b"\\ufffd")


def _decode(data: bytes | Raw, kind: type[T]) -> T:
    decoder = _DECODERS.get(kind)
    if decoder is None:
        decoder = _DECODERS[kind] = msgspec.json.Decoder(kind)
    if type(data) is bytes and not data.isascii():
        data.decode()  # msgspec does not look at what stays undecoded, and some of that is sent on
    try:
        value: T = decoder.decode(data)
    except RecursionError:
        raise ValueError("the JSON is nested too deep") from None
    return value


def whole_count(said: float | None) -> int | None:
    """Return what an upstream counted (tokens, seconds); None for what is no count."""
    return int(said) if said is not None and 0 <= said < MOST_COUNT else None


def choice_number(said: float | None, place: int = 0) -> int | None:
    """Return which answer an upstream speaks of, `place` where it does not say; None for none."""
    number = place if said is None else said
    return int(number) if 0 <= number < MOST_CHOICES else None


def _is_utf8(data: bytes | Raw) -> bool:
    """Whether it is UTF-8 in what msgspec leaves undecoded, too."""
    try:
        bytes(data).decode()
    except UnicodeDecodeError:
        return False
    return True


def begins(raw: Raw, byte: bytes) -> bool:
    """Return whether JSON begins with `byte`: of a field that may hold megabytes no copy is made."""
    return memoryview(raw)[:1] == byte


class Fields:
    """One JSON object being read. A field that was asked for is taken out; null reads as absent.

    Args:
        members: the object's fields, undecoded.
        path: where it stands in the client's request; "" for the body itself.
    """

    __slots__ = ("_members", "path")

    def __init__(self, members: dict[str, Raw], path: str = "") -> None:
        self._members = members
        self.path = path

    @classmethod
    def of(cls, data: bytes | Raw, path: str = "") -> Self:
        """Return the JSON object in `data`.

        Raises:
            ClientError: it is not a JSON object, or (the body itself) is not UTF-8 throughout.
        """
        if not path and not _is_utf8(data):
            raise ClientError("the body is not a JSON object")
        try:
            return cls(_OBJECT.decode(data), path)
        except (ValueError, RecursionError):
            pass  # half a surrogate pair can be mended
        try:
            return cls(decode(data, dict[str, Raw]), path)
        except ValueError:
            what = path or "the body"
            raise ClientError(f"{what} is not a JSON object", param=path or None) from None

    def at(self, name: str) -> str:
        """Return the path of the field `name`."""
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        """Return whether the field is there and not null. It is not taken."""
        raw = self._members.get(name)
        return raw is not None and raw != _NULL

    def named(self, table: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Return attribute -> path for the rows (attribute, field) of which the field is there and not null.

        Where an attribute has several, the last row counts.
        """
        there = {name for name, raw in self._members.items() if raw != _NULL}
        return {attribute: self.at(name) for attribute, name in table if name in there}

    def raw(self, name: str) -> Raw:
        """Take a field as it stands; an empty (false) Raw when it is absent or null."""
        raw = self._members.pop(name, None)
        return _NOTHING if raw is None or raw == _NULL else raw

    def take(self, name: str, kind: type[T], what: str) -> T | None:
        """Take a field decoded as `kind` (errors call it `what`); None when absent or null."""
        if name not in self._members or not (raw := self.raw(name)):
            return None
        try:
            return decode(raw, kind)
        except ValueError:
            path = self.at(name)
            raise ClientError(f"{path}: expected {what}", param=path) from None

    def text(self, name: str) -> str | None:
        """Take a string."""
        raw = self._members.get(name)
        if raw is None:
            return None
        try:
            value: str | None = _TEXT.decode(raw)
        except ValueError:  # of another type, or with half a surrogate pair in it
            return self.take(name, str, "a string")
        del self._members[name]
        return value

    def needed(self, name: str) -> str:
        """Take a string that has to be there."""
        value = self.text(name)
        if value is None:
            path = self.at(name)
            raise ClientError(f"{path}: field required", param=path)
        return value

    def flag(self, name: str) -> bool | None:
        """Take true or false."""
        return self.take(name, bool, "true or false")

    def whole(self, name: str) -> int | None:
        """Take a whole number; 3.0 is one."""
        value = self.take(name, _NUMBER, "a whole number")
        if value is None or isinstance(value, int):
            return value
        if not value.is_integer():
            path = self.at(name)
            raise ClientError(f"{path}: expected a whole number", param=path)
        return int(value)

    def number(self, name: str) -> float | None:
        """Take a number; one without a fraction is an int, so that it is written as it was."""
        return self.take(name, _NUMBER, "a number")

    def texts(self, name: str) -> list[str] | None:
        """Take a list of strings."""
        return self.take(name, list[str], "a list of strings")

    def object(self, name: str) -> Self | None:
        """Take an object, to be read further."""
        raw = self._members.pop(name, None)
        if raw is None or raw == _NULL:
            return None
        return type(self).of(raw, self.at(name))

    def raw_object(self, name: str, what: str = "an object") -> Raw:
        """Take an object as it stands; an empty (false) Raw when it is absent or null."""
        raw = self.raw(name)
        if raw and not begins(raw, b"{"):
            path = self.at(name)
            raise ClientError(f"{path}: expected {what}", param=path)
        return raw

    def schema(self, name: str) -> Raw:
        """Take a JSON schema as it stands; an empty (false) Raw when it is absent or null."""
        return self.raw_object(name, "a JSON schema, an object")

    def objects(self, name: str) -> list[Self]:
        """Take a list of objects, to be read further; [] when absent."""
        found = self.take(name, list[dict[str, Raw]], "a list of objects")
        path = self.at(name)
        return [type(self)(item, f"{path}[{at}]") for at, item in enumerate(found or ())]

    def is_text(self, name: str) -> bool:
        """Return whether the field is a string. It is not taken."""
        raw = self._members.get(name)
        return raw is not None and begins(raw, b'"')

    def rest(self) -> dict[str, bytes]:
        """Return what was not asked for: path -> raw JSON. Nulls say nothing and are left out."""
        if not self._members:
            return {}
        return {self.at(name): bytes(raw) for name, raw in self._members.items() if raw != _NULL}
