"""Change single values in the bytes of a JSON document, and touch nothing else.

Layer: wire. Knows where JSON values begin and end. Knows no LLM API and builds no objects.
Spec:  https://www.rfc-editor.org/rfc/rfc8259

Decoding and encoding again would lose what a sender cares about: unknown members, the order of
keys, the spelling of numbers. Here the bytes outside the changed span stay as they are.

The caller has decoded the document already, or is about to pass it to someone who will: these
functions check only as much of its form as they walk through. A key that is there twice is refused,
because parsers disagree about which of the two counts.

Every walk is linear in the size of the document, and ends where nesting becomes absurd.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from rawproxy.errors import WireError

__all__ = [
    "Edit",
    "Member",
    "Span",
    "StringAt",
    "edit",
    "find",
    "find_strings",
    "members",
    "removals",
    "remove",
    "replace",
    "value",
]

Span = tuple[int, int]
"""First byte, and the byte after the last."""

Edit = tuple[int, int, bytes]
"""First byte, the byte after the last, and what stands there instead."""

MAX_DEPTH = 256
"""Arrays and objects inside one another. Of each string that is looked for its whole path is told, so a
body of nothing but these, deep down, takes time by it: a quarter of a second for 64 KB at 1,024."""

_SPACE = b" \t\r\n"
_WS = rb"[ \t\r\n]*+"
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'

_OBJECT = re.compile(_WS + rb"\{" + _WS)
_EMPTY_OBJECT = re.compile(_WS + rb"\{" + _WS + rb"\}" + _WS)
_KEY = re.compile(rb"(%b)%b:%b" % (_STRING, _WS, _WS), re.DOTALL)
_AFTER_MEMBER = re.compile(rb"%b(?:(,)%b|\}%b\Z)" % (_WS, _WS, _WS))
_COMMA = re.compile(_WS + rb"," + _WS)

# The next string, with the colon that makes it a key; or the next bracket or comma.
_TOKEN = re.compile(
    rb'[^"{}\[\],]*+(?:(%b)(%b:)?|([{}\[\],]))' % (_STRING, _WS),
    re.DOTALL,
)
_CLOSER = {b"{": b"}", b"[": b"]"}

# Control characters in strings are not ours to refuse (strict), nor are numbers of any length
# (which int would).
_DECODER = json.JSONDecoder(strict=False, parse_int=str)
_SHORT_ESCAPES = {
    '"': rb"\"", "\\": rb"\\", "/": rb"\/", "\b": rb"\b", "\f": rb"\f", "\n": rb"\n", "\r": rb"\r",
    "\t": rb"\t",
}  # fmt: skip


class Member(NamedTuple):
    """One member of an object."""

    key: str
    """Decoded."""

    begin: int
    """Where the key begins."""

    start: int
    """Where the value begins."""

    end: int
    """The byte after the value, and so after the member."""


class StringAt(NamedTuple):
    """A string that is a value, and where it stands."""

    text: str
    """Decoded."""

    start: int
    """Where it begins, with its quotes."""

    end: int
    """The byte after it."""

    path: tuple[str | int, ...]
    """Keys and indexes that lead to it from the outside in."""

    elements: tuple[Span, ...]
    """The objects around it that are elements of an array, from the outside in."""


def members(body: bytes) -> list[Member]:
    """Return the top-level members in order; a key that is there twice is returned twice.

    Raises:
        WireError: `body` is not an object, is not well formed, or is nested too deep.
    """
    return list(_walk(body))


def value(body: bytes, key: str) -> bytes | None:
    """Return the value of a top-level member as it is spelled; None when there is none.

    Raises:
        WireError: `body` is not an object, or has the key twice.
    """
    member = _find(body, key)
    return None if member is None else body[member.start : member.end]


def replace(body: bytes, key: str, value: bytes) -> bytes:
    """Return `body` with another value for a top-level member; it becomes the last if it is new.

    Raises:
        WireError: `body` is not an object, or has the key twice.
    """
    member = _find(body, key)
    if member is not None:
        return edit(body, [(member.start, member.end, value)])
    new = json.dumps(key).encode() + b":" + value
    if _EMPTY_OBJECT.fullmatch(body):
        return body.replace(b"{", b"{" + new)
    if not body.rstrip(_SPACE).endswith(b"}"):
        raise WireError("a JSON object does not end")
    at = len(body.rstrip(_SPACE)[:-1].rstrip(_SPACE))
    return edit(body, [(at, at, b"," + new)])


def find(body: bytes, path: str) -> Span | None:
    """Return where the value of the member at `path` stands; None where there is none.

    Args:
        body: the document.
        path: keys from the outside in, joined by dots: `message.model`.

    Raises:
        WireError: an object on the way is none, or has the key twice.
    """
    start, end = 0, len(body)
    for key in path.split("."):
        member = _find(body[start:end], key)
        if member is None:
            return None
        start, end = start + member.start, start + member.end
    return start, end


def remove(body: bytes, key: str) -> bytes:
    """Return `body` without a top-level member; unchanged when it has none of that name.

    Raises:
        WireError: `body` is not an object, or has the key twice.
    """
    member = _find(body, key)
    return body if member is None else edit(body, removals(body, [(member.begin, member.end)]))


def find_strings(body: bytes, prefix: bytes) -> list[StringAt]:
    """Return each string value, at any depth, whose decoded text begins with `prefix` (ASCII).

    Keys are not values. The empty list costs one search.

    Raises:
        WireError: brackets do not match, a string does not end, or it is nested too deep.
    """
    opening = _spelled(prefix.decode("ascii"))
    return _find_values(body, opening) if opening.search(body) else []


def removals(body: bytes, spans: Iterable[Span]) -> list[Edit]:
    """Return the edits that take elements out of arrays, or members out of objects.

    One comma goes with each, so that what is left is well formed, whichever are taken: neighbours,
    the first, the last, all. A span inside another one, or given twice, goes with it.

    Args:
        body: the document.
        spans: elements, or members from key to value; in any order.
    """
    runs: list[Span] = []
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if runs and end <= runs[-1][1]:
            continue
        comma = _COMMA.match(body, runs[-1][1]) if runs else None
        if comma is not None and comma.end() == start:
            runs[-1] = runs[-1][0], end
        else:
            runs.append((start, end))
    return [(*_with_comma(body, run), b"") for run in runs]


def edit(body: bytes, edits: Iterable[Edit]) -> bytes:
    """Return `body` with each span replaced.

    Args:
        body: the document.
        edits: in any order.

    Raises:
        ValueError: two of them overlap.
    """
    parts: list[bytes] = []
    done = 0
    for start, end, new in sorted(edits):
        if start < done:
            raise ValueError("two edits overlap")
        parts += body[done:start], new
        done = end
    parts.append(body[done:])
    return b"".join(parts)


def _find(body: bytes, key: str) -> Member | None:
    """Return the one top-level member called `key`, walking no further than certainty needs."""
    times = len(_spelled(key, b'"').findall(body))  # as a string of any kind: at least as a key
    if times == 0 and _OBJECT.match(body):
        return None
    found = None
    for member in _walk(body):
        if member.key == key:
            if found is not None:
                raise WireError(f"duplicate key {key!r}")
            found = member
            if times == 1:
                break
    return found


codecs.lookup(
    "utf-16-be"
)  # a codec is a file, and there may be no descriptor left at its first use


@cache
def _spelled(text: str, end: bytes = b"") -> re.Pattern[bytes]:
    """Return what matches each way to spell a JSON string that begins with `text`, up to `end`.

    Kept for ever: the texts are names of ours, never a sender's.
    """
    pattern = [b'"']
    for char in text:
        units = char.encode("utf-16-be").hex().encode()
        forms = [b"".join(rb"\\u(?i:%b)" % units[at : at + 4] for at in range(0, len(units), 4))]
        if char in _SHORT_ESCAPES:
            forms.append(re.escape(_SHORT_ESCAPES[char]))
        if char not in '"\\':
            forms.append(re.escape(char.encode()))
        pattern.append(b"(?:%b)" % b"|".join(forms))
    return re.compile(b"".join([*pattern, end]))


def _walk(body: bytes) -> Iterator[Member]:
    """Yield the top-level members as they are reached."""
    if _EMPTY_OBJECT.fullmatch(body):
        return
    opened = _OBJECT.match(body)
    if opened is None:
        raise WireError("not a JSON object")
    text = body.decode("latin-1")  # one character a byte: where a value ends is all that is asked
    at = opened.end()
    while True:
        key = _KEY.match(body, at)
        if key is None:
            raise WireError("a JSON object has something else where a key should be")
        end = _end_of_value(text, key.end())
        yield Member(_decode(key[1]), key.start(), key.end(), end)
        after = _AFTER_MEMBER.match(body, end)
        if after is None:
            raise WireError("a JSON object does not end, or goes on after its end")
        if after[1] is None:
            return
        at = after.end()


def _end_of_value(text: str, start: int) -> int:
    # The standard library's scanner is written in C: three times as fast as a regular expression
    # that looks for brackets outside strings, although it builds what is thrown away here.
    try:
        return _DECODER.raw_decode(text, start)[1]
    except ValueError:
        raise WireError("a JSON object has something else where a value should be") from None
    except RecursionError:
        raise WireError("JSON nested too deep") from None


class _Level:
    """An array or object around the place that `_find_values` has reached."""

    __slots__ = ("closer", "is_element", "start", "where")

    def __init__(self, opener: bytes, start: int, *, in_array: bool) -> None:
        self.closer = _CLOSER[opener]
        self.start = start
        self.where: int | bytes = 0 if opener == b"[" else b'""'
        """The index, or the last key as it is spelled."""
        self.is_element = in_array and opener == b"{"


def _find_values(body: bytes, opening: re.Pattern[bytes]) -> list[StringAt]:
    levels: list[_Level] = []
    found: list[tuple[str, Span, tuple[str | int, ...], list[int]]] = []
    ends: dict[int, int] = {}  # of the objects that are elements: where each begins and ends
    at = 0
    while match := _TOKEN.match(body, at):
        at = match.end()
        string, colon, mark = match.groups()
        if string is None:
            _move(levels, mark, at, ends)
        elif colon:
            if levels:
                levels[-1].where = string
        elif opening.match(string):
            path = tuple(_name(level.where) for level in levels)
            around = [level.start for level in levels if level.is_element]
            found.append((_decode(string), match.span(1), path, around))
    if levels or b'"' in body[at:]:
        raise WireError("a JSON value does not end")
    return [
        StringAt(text, *span, path, tuple((start, ends[start]) for start in around))
        for text, span, path, around in found
    ]


def _move(levels: list[_Level], mark: bytes, at: int, ends: dict[int, int]) -> None:
    """Follow the bracket or comma `mark`, which ends at `at`."""
    if mark in _CLOSER:
        in_array = bool(levels) and levels[-1].closer == b"]"
        levels.append(_Level(mark, at - 1, in_array=in_array))
        if len(levels) > MAX_DEPTH:
            raise WireError("JSON nested too deep")
    elif mark == b",":
        if levels and isinstance(levels[-1].where, int):
            levels[-1].where += 1
    elif levels and levels[-1].closer == mark:
        level = levels.pop()
        ends[level.start] = at
    else:
        raise WireError("the brackets of a JSON value do not match")


def _name(where: int | bytes) -> str | int:
    return where if isinstance(where, int) else _decode(where)


def _decode(string: bytes) -> str:
    try:
        text = string.decode()
        return text[1:-1] if "\\" not in text else str(_DECODER.decode(text))
    except ValueError:
        raise WireError("a JSON string is not UTF-8, or has a wrong escape") from None


def _with_comma(body: bytes, span: Span) -> Span:
    """Return `span` with the comma after it, or before it when it is the last; or as it is, alone."""
    start, end = span
    if comma := _COMMA.match(body, end):
        return start, comma.end()
    before = body[:start].rstrip(_SPACE)
    return (len(before) - 1, end) if before.endswith(b",") else span
