"""Small parsers: values inside JSON bytes (`wire.splice`), single header fields (`wire.fields`), and
what may come before HTTP (`wire.proxy_protocol`, `wire.client_hello`).

`splice` is held against the standard library's JSON: what it changes is changed, and nothing else.
"""

import ipaddress
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from fuzz.base import held, pick, pieces, reads, timed
from rawproxy.errors import WireError
from rawproxy.wire import client_hello, fields, splice
from rawproxy.wire.proxy_protocol import V2_BYTES, HeaderReader

__all__ = ["run_client_hello", "run_fields", "run_proxy_protocol", "run_splice"]

NEW = b'{"new":["\\u00e9",1]}'
PREFIXES = [b"", b"r", b"data:", b"rp1."]
_V2_HEAD = 16

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class _Twice(ValueError):
    """A key is there twice."""


def run_splice(data: bytes) -> None:
    """See the module."""
    document = _load(data)
    key = "model"
    with suppress(WireError):
        names = [member.key for member in timed(splice.members, data)]
        if isinstance(document, dict):
            assert names == list(document)
        for member in splice.members(data):
            assert 0 <= member.begin < member.start <= member.end <= len(data)
        key = pick(data, names) if names else key
    _check_change(data, document, key)
    _check_strings(data, document, pick(data, PREFIXES, 1))


def _check_change(data: bytes, document: Any, key: str) -> None:
    is_object = isinstance(document, dict)
    try:
        replaced, removed = timed(splice.replace, data, key, NEW), timed(splice.remove, data, key)
        value = timed(splice.value, data, key)
        span = timed(splice.find, data, f"{key}.new") if "." not in key else None
    except WireError:
        # Inside a member there may be something else than an object.
        assert not is_object or not isinstance(document.get(key), dict)
        return
    if not is_object:
        return
    assert _load(replaced) == {**document, key: _load(NEW)}
    assert _load(removed) == {name: member for name, member in document.items() if name != key}
    assert (value is None) == (key not in document)
    if value is not None:
        assert _load(value) == document[key]
    put = data if span is None else splice.edit(data, [(*span, b"1")])
    member = document.get(key)
    if isinstance(member, dict) and "new" in member and "." not in key:
        assert _load(put) == {**document, key: {**member, "new": 1}}
    else:
        assert put == data


def _check_strings(data: bytes, document: Any, prefix: bytes) -> None:
    wanted = prefix.decode()
    try:
        found = timed(splice.find_strings, data, prefix)
    except WireError:
        assert document is None
        return
    for one in found:
        assert one.text.startswith(wanted)
        assert all(start < one.start and one.end < end for start, end in one.elements)
    if document is not None and not isinstance(document, str):
        assert [(one.text, one.path) for one in found] == [
            (text, path) for text, path in _strings(document, ()) if text.startswith(wanted)
        ]
        objects = [(one.elements[-1] if one.elements else None) for one in found]
        spans = {span for span in objects if span is not None}
        less = splice.edit(data, timed(splice.removals, data, spans))
        assert _load(less) is not None


def _load(data: bytes) -> Any:
    """Return the JSON in `data`; None where it is none, or has a key twice, or surrogates."""
    try:
        found = json.loads(
            data.decode(), object_pairs_hook=_once, strict=False, parse_constant=_refuse
        )
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return found


def _refuse(word: str) -> None:
    raise ValueError(word)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice
    return found


def _strings(
    value: Any, path: tuple[str | int, ...]
) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    if isinstance(value, str):
        yield value, path
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from _strings(member, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _strings(item, (*path, at))


def run_fields(data: bytes) -> None:
    """Every reader of a field, with one value."""
    for seconds in (
        timed(fields.read_retry_after, data, NOW),
        timed(fields.read_retry_after_ms, data),
    ):
        assert seconds is None or 0 <= seconds <= fields.LONGEST_WAIT
    kind = timed(fields.read_media_type, data)
    assert kind == kind.lower()
    assert kind == b"" or kind.count(b"/") == 1
    length = timed(fields.read_content_length, data)
    assert length is None or b"%d" % length == data
    host = timed(fields.host_name, data)
    if host is not None:
        assert host
        assert host == host.lower()
        timed(fields.is_loopback, host)
        assert timed(fields.is_field_value, data)
    bearer = timed(fields.read_bearer, data)
    assert bearer is None or data.endswith(bearer)
    if timed(fields.is_field_value, data):
        assert not set(data) & {0, 10, 13, 127}
        assert data == data.strip(b" \t")
    named = timed(fields.hop_by_hop, [(b"connection", data)])
    assert named >= fields.HOP_BY_HOP
    timed(fields.is_token, data)


def run_proxy_protocol(data: bytes) -> None:
    """However a header is cut, it says the same; what is held is a header and a read."""
    assert _proxied(pieces(data)) == _proxied(reads(data))


def _proxied(parts: list[bytes]) -> tuple[str, bytes] | None:
    reader, rest = HeaderReader(), b""
    for part in parts:
        if reader.done:
            rest += part
            continue
        try:
            timed(reader.feed, part)
        except WireError:
            return None
        assert held(reader) <= V2_BYTES + _V2_HEAD + len(reader.rest)
    if not reader.done:
        return "", b""
    if reader.source not in ("", "unix"):
        assert str(ipaddress.ip_address(reader.source)) == reader.source
    return reader.source, reader.rest + rest


def run_client_hello(data: bytes) -> None:
    """However a ClientHello is cut, it asks for the same name; and the name is one that DNS may have."""
    whole = timed(client_hello.server_name, data)
    assert whole is None or whole == whole.lower()
    assert whole is None or whole.isascii()
    seen, name = b"", None
    for part in pieces(data):
        seen += part
        name = timed(client_hello.server_name, seen)
        if name is not None:
            break
    if len(data) <= client_hello.LONGEST:
        assert name == whole
