"""What is done to inputs: to bytes, and to what bytes are made of, so that most of it stays valid.

A JSON document is changed as a tree, a stream frame by frame, a head line by line: a parser that
refuses at the first byte is not tested. Some inputs of every kind are then changed as bytes.
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

from fuzz.base import MAX_INPUT, Mutate
from rawproxy.errors import WireError
from rawproxy.wire.frame import MAX_FRAME, Frame, Framing, PlainFrame

__all__ = ["change_bytes", "change_json", "of_bytes", "of_frames", "of_json", "of_lines"]

_NUMBER = re.compile(rb"[0-9]+")
_NUMBERS = [
    b"0", b"-1", b"00", b"1", b"+1", b"255", b"256", b"65535", b"65536", b"2147483648", b"4294967296",
    b"9223372036854775807", b"9223372036854775808", b"18446744073709551616", b"9" * 40, b"1e9", b"0x10",
]  # fmt: skip
_BYTES = [b"\0", b"\t", b"\n", b"\r", b"\r\n", b" ", b'"', b"\\", b"\x7f", b"\x80", b"\xff", b"\xed\xa0\xbd"]  # fmt: skip

_RAW = "@raw@"
"""A string that stands in a tree for JSON text that no encoder would write."""

_RAWS = [
    b"[" * 3000 + b"]" * 3000, b'{"a":' * 1500 + b"1" + b"}" * 1500, b"9" * 5000, b"1e999", b"-1e-999",
    b"NaN", b"-Infinity", b'{"type":"text","type":"image"}', b'"\\ud83d"', b'"\\ude00\\ud83d"', b'"\xff"',
    b'"\xed\xa0\xbd"', b'"\\u0000"', b'"\x00"', b" \t\r\n 1 \r\n", b"01", b"1.", b"tru", b'"', b"\\", b"",
    b'"' + b"\\n" * 4000 + b'"', b"[" + b"{}," * 2000 + b"{}]", b'"\\/\\u002F"', b"\xef\xbb\xbf1",
]  # fmt: skip
_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 3.0, 1.5, -0.0, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, 1e308, "", " ", "0",
    "\0", "\r\n", "\u2028", "\ud83d", "\U0001f600", "x" * 300, "\n\ndata: x\n\n", "[DONE]", "rp1.", "rp1.e30.AAAA",
    "cnAxLg==", "data:image/png;base64,AAAA", "data:,", "data:text/plain;base64,%", "https://x.example/a", "AAAA",
    "=", "{}", "{", '{"a":1}', "null", [], {}, [[]], [{}], {"": None}, {"type": None}, {"a": {"b": [1]}},
]  # fmt: skip
_MAX_DEPTH = 60  # of a wrapping that an encoder can follow

Slot = tuple[Any, Any]
"""A dict or a list, and the key or index of one value in it."""


def of_bytes(words: Sequence[bytes]) -> Mutate:
    """Return what changes inputs as bytes, with `words` of their language."""
    return partial(_bytes, words)


def of_json(words: Sequence[str]) -> Mutate:
    """Return what changes inputs that are JSON documents; `words` are keys and values of theirs."""
    return partial(_json, words)


def of_frames(framing: Framing, words: Sequence[str]) -> Mutate:
    """Return what changes inputs that are streams of JSON."""
    return partial(_frames, framing, words)


def of_lines(words: Sequence[bytes]) -> Mutate:
    """Return what changes inputs that are HTTP/1.1 messages; `words` are lines and values of theirs."""
    return partial(_lines, words)


def change_bytes(rng: Random, data: bytes, words: Sequence[bytes]) -> bytes:
    """Return `data` with one change."""
    if not data:
        return rng.choice(words) if words else b"\0"
    return rng.choice(_CHANGES)(rng, data, words)[:MAX_INPUT]


def change_json(rng: Random, value: Any, words: Sequence[str], other: Any) -> Any:
    """Return a tree with one change; it may be the same object. `other` lends its parts."""
    box = [value]
    slots = _slots(box)
    at, key = rng.choice(slots)
    match rng.randrange(9):
        case 0 | 1:
            at[key] = rng.choice(_VALUES)
        case 2:
            del at[key]
        case 3:
            lender, part = rng.choice(_slots([other]))
            at[key] = lender[part]
        case 4:
            _rename(rng, at, key, words)
        case 5:
            at[key] = rng.choice(words) if words and rng.random() < 0.7 else _RAW
        case 6:
            _repeat(rng, at, key)
        case 7:
            for _ in range(rng.choice((1, 1, 2, _MAX_DEPTH))):
                at[key] = rng.choice(([at[key]], {rng.choice(words or ["a"]): at[key]}))
        case _:
            other_at, other_key = rng.choice(slots)
            if not _inside(at[key], other_at) and not _inside(other_at[other_key], at):
                at[key], other_at[other_key] = other_at[other_key], at[key]
    return box[0] if box else None


# -- bytes


def _span(rng: Random, data: bytes) -> tuple[int, int]:
    size = min(len(data), rng.choice((1, 2, 4, 8, 32, 128, 1024)))
    start = rng.randrange(len(data) - size + 1)
    return start, start + size


def _flip(rng: Random, data: bytes, words: Sequence[bytes]) -> bytes:  # noqa: ARG001
    at = rng.randrange(len(data))
    return b"%b%c%b" % (data[:at], data[at] ^ 1 << rng.randrange(8), data[at + 1 :])


def _put(rng: Random, data: bytes, words: Sequence[bytes]) -> bytes:
    start, end = _span(rng, data)
    new = rng.choice(words) if words and rng.random() < 0.7 else rng.choice(_BYTES)
    return data[:start] + new + data[rng.choice((start, start, end)) :]


def _drop(rng: Random, data: bytes, words: Sequence[bytes]) -> bytes:  # noqa: ARG001
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def _again(rng: Random, data: bytes, words: Sequence[bytes]) -> bytes:  # noqa: ARG001
    start, end = _span(rng, data)
    times = rng.choice((2, 2, 3, 16, 256, MAX_INPUT))
    many = data[start:end] * min(times, MAX_INPUT // (end - start))
    return data[:start] + many + data[end:]


def _move(rng: Random, data: bytes, words: Sequence[bytes]) -> bytes:  # noqa: ARG001
    start, end = _span(rng, data)
    part, rest = data[start:end], data[:start] + data[end:]
    at = rng.randrange(len(rest) + 1)
    return rest[:at] + part + rest[at:]


def _end(rng: Random, data: bytes, words: Sequence[bytes]) -> bytes:  # noqa: ARG001
    return data[: rng.randrange(len(data))]


def _count(rng: Random, data: bytes, words: Sequence[bytes]) -> bytes:
    numbers = [match.span() for match in _NUMBER.finditer(data[:4096])]
    if not numbers:
        return _put(rng, data, words)
    start, end = rng.choice(numbers)
    return data[:start] + rng.choice(_NUMBERS) + data[end:]


_CHANGES: list[Callable[[Random, bytes, Sequence[bytes]], bytes]] = [
    _flip, _put, _put, _drop, _again, _move, _end, _count,
]  # fmt: skip


def _bytes(words: Sequence[bytes], rng: Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    if rng.random() < 0.1:
        return _splice(rng, data, rng.choice(pool))
    return change_bytes(rng, data, words)


def _splice(rng: Random, data: bytes, other: bytes) -> bytes:
    head = data[: rng.randrange(len(data) + 1)]
    return (head + other[rng.randrange(len(other) + 1) :])[:MAX_INPUT]


# -- lines


def _lines(words: Sequence[bytes], rng: Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    if rng.random() < 0.4:
        return _bytes(words, rng, data, pool)
    lines = data.split(b"\r\n")
    at = rng.randrange(len(lines))
    match rng.randrange(6):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[rng.randrange(len(lines))])
        case 2 | 3:
            lines.insert(at, rng.choice(words))
        case 4:
            lines[at] = rng.choice(rng.choice(pool).split(b"\r\n"))
        case _:
            lines[at] = change_bytes(rng, lines[at], words)
    return b"\r\n".join(lines)[:MAX_INPUT]


# -- JSON


def _json(words: Sequence[str], rng: Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    tree = _load(data)
    if tree is None or rng.random() < 0.1:
        return _bytes([word.encode() for word in words[:200]], rng, data, pool)
    other = _load(rng.choice(pool))
    for _ in range(rng.choice((1, 1, 2, 4))):
        tree = change_json(rng, tree, words, other)
        if _is_huge(tree):
            return data
    return _dump(rng, tree)[:MAX_INPUT]


def _load(data: bytes) -> Any:
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError):
        return None


def _dump(rng: Random, tree: Any) -> bytes:
    ascii_only, gap = rng.random() < 0.7, rng.choice((None, None, (",", ":")))
    try:
        text = json.dumps(tree, ensure_ascii=ascii_only, separators=gap)
    except (ValueError, RecursionError):  # a tree that was put into itself
        return b"{}"
    first, *others = text.encode(errors="surrogatepass").split(f'"{_RAW}"'.encode())
    pieces, size = [first], len(first)
    for other in others:
        if size > MAX_INPUT:  # some are long, and may stand there thousands of times
            break
        pieces += (rng.choice(_RAWS), other)
        size += len(pieces[-2]) + len(other)
    return b"".join(pieces)


def _slots(box: Any) -> list[Slot]:
    """Return every place in a tree where a value stands."""
    slots: list[Slot] = []
    left = [box]
    while left and len(slots) < 5000:
        at = left.pop()
        keys = at.keys() if isinstance(at, dict) else range(len(at))
        for key in keys:
            slots.append((at, key))
            if isinstance(at[key], dict | list):
                left.append(at[key])
    return slots


def _is_huge(tree: Any) -> bool:
    """Whether a tree is far longer than an input: lists that repeat one another grow like powers."""
    size = 0
    left = [tree]
    while left and size <= 4 * MAX_INPUT:
        one = left.pop()
        size += 1
        if isinstance(one, str):
            size += len(one)
        elif isinstance(one, dict | list):
            size += len(one)
            left += one.values() if isinstance(one, dict) else one
    return bool(left)


def _inside(tree: Any, wanted: Any) -> bool:
    return tree is wanted or (
        isinstance(tree, dict | list) and any(at is wanted for at, _ in _slots(tree))
    )


def _rename(rng: Random, at: Any, key: Any, words: Sequence[str]) -> None:
    if isinstance(at, dict) and words:
        at[rng.choice(words)] = at.pop(key)


def _repeat(rng: Random, at: Any, key: Any) -> None:
    value = at[key]
    if isinstance(at, list):
        at[key:key] = [value] * rng.choice((1, 1, 2, 100))
    elif isinstance(value, str):
        at[key] = value * rng.choice((2, 2, 100, 3000))
    elif isinstance(value, list):
        at[key] = value * rng.choice((2, 2, 100))


# -- streams


def _frames(
    framing: Framing, words: Sequence[str], rng: Random, data: bytes, pool: Sequence[bytes]
) -> bytes:
    frames, tail = _cut(framing, data)
    if not frames or rng.random() < 0.1:
        return _bytes([word.encode() for word in words[:200]], rng, data, pool)
    for _ in range(rng.choice((1, 1, 2, 3))):
        frames = _change_frames(framing, words, rng, frames, _cut(framing, rng.choice(pool))[0])
    return b"".join([*(frame.raw for frame in frames), tail])[:MAX_INPUT]


def _cut(framing: Framing, data: bytes) -> tuple[list[Frame], bytes]:
    splitter = framing.splitter(MAX_FRAME)
    try:
        frames = splitter.feed(data)
    except WireError:
        frames = splitter.skip()
    return frames, splitter.close()


def _change_frames(
    framing: Framing, words: Sequence[str], rng: Random, frames: list[Frame], others: list[Frame]
) -> list[Frame]:
    """Return frames with one change; `others` are of another stream."""
    if not frames:
        return others
    at = rng.randrange(len(frames))
    frame = frames[at]
    match rng.randrange(8):
        case 0:
            new: list[Frame] = []
        case 1:
            new = [frame] * rng.choice((2, 2, 3, 100))
        case 2:
            new = [frame, rng.choice(others or frames)]
        case 3:
            return frames[:at] + others[rng.randrange(len(others) + 1) :]
        case 4:
            to = rng.randrange(len(frames))
            rest = frames[:at] + frames[at + 1 :]
            return [*rest[:to], frame, *rest[to:]]
        case _:
            new = [_rewritten(framing, words, rng, frame, rng.choice(others or frames))]
    return frames[:at] + new + frames[at + 1 :]


def _rewritten(
    framing: Framing, words: Sequence[str], rng: Random, frame: Frame, other: Frame
) -> Frame:
    """Return `frame` with another payload or another name, well framed."""
    tree = _load(frame.data)
    name = frame.name if rng.random() < 0.9 else rng.choice([other.name, b"", b"error", b"x"])
    if tree is None:
        data = change_bytes(rng, frame.data, [other.data])
    else:
        tree = change_json(rng, tree, words, _load(other.data))
        data = frame.data if _is_huge(tree) else _dump(rng, tree)
    data = data[:MAX_INPUT]  # eventstream writes no larger frames than it has lengths for
    return PlainFrame(framing.write(data, name=name), name, data, has_data=True)
