"""Single HTTP header fields, read strictly, and the list of those that end at each hop.

Layer: wire. Knows the grammar of single values. Knows neither heads nor bodies (`http`, `http1`).
Spec:  https://www.rfc-editor.org/rfc/rfc9110

Fields are a list of pairs, names in lower case: `[(b"host", b"example.com"), ...]`. A value that
does not fit its grammar reads as absent; the caller knows what its absence means.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

__all__ = [
    "HOP_BY_HOP",
    "LONGEST_WAIT",
    "get",
    "get_all",
    "hop_by_hop",
    "host_name",
    "is_field_value",
    "is_loopback",
    "is_token",
    "read_bearer",
    "read_content_length",
    "read_media_type",
    "read_retry_after",
    "read_retry_after_ms",
]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields that are about one connection, so a proxy never passes them on."""

LONGEST_WAIT = 2.0**31
"""Seconds. What a larger count is read as: https://www.rfc-editor.org/rfc/rfc9111#section-1.2.2"""

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_VALUE = re.compile(rb"(?:[!-~\x80-\xff]+(?:[\t ]+[!-~\x80-\xff]+)*+)?")
_MEDIA_TYPE = re.compile(rb"(%b/%b)[ \t]*(?:;.*)?" % (_TOKEN.pattern, _TOKEN.pattern), re.DOTALL)
_CONTENT_LENGTH = re.compile(rb"0|[1-9][0-9]{0,18}")
_MILLISECONDS = re.compile(rb"[0-9]+(?:\.[0-9]+)?")
_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([!-~]+)")

# The three forms of https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7. The standard library
# reads them too, but also much that is no date.
_DATE = re.compile(
    r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
    r"|[A-Z][a-z]{5,8}, \d\d-[A-Z][a-z]{2}-\d\d \d\d:\d\d:\d\d GMT"
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [\d ]\d \d\d:\d\d:\d\d \d{4}",
    re.ASCII,
)

# uri-host of https://www.rfc-editor.org/rfc/rfc3986#section-3.2.2, without IPvFuture, which
# nobody uses. An IPv4 address is a reg-name too.
_HOST = re.compile(
    rb"(?:\[([0-9A-Fa-f:.]+)\]|((?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+))(?::([0-9]{1,5}))?"
)
_LAST_PORT = 65535


def get(fields: list[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the value of the first field called `name` (lower case); None when there is none."""
    for field, value in fields:
        if field == name:
            return value
    return None


def get_all(fields: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """Return the values of all fields called `name` (lower case), in order."""
    return [value for field, value in fields if field == name]


def hop_by_hop(fields: list[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """Return the names that must not be passed on: HOP_BY_HOP, and what `Connection` names.

    Source: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
    """
    values = get_all(fields, b"connection")
    return _with_named(b",".join(values)) if values else HOP_BY_HOP


@lru_cache(64)
def _with_named(value: bytes) -> frozenset[bytes]:
    named = (name.strip(b" \t") for name in value.lower().split(b","))
    return HOP_BY_HOP.union(filter(None, named))


def is_token(name: bytes) -> bool:
    """Whether `name` can be the name of a field, or a method."""
    return _TOKEN.fullmatch(name) is not None


def is_field_value(value: bytes) -> bool:
    """Whether `value` can stand in a head: no control characters, no whitespace at its ends."""
    return _FIELD_VALUE.fullmatch(value) is not None


def read_retry_after(value: bytes, now: datetime) -> float | None:
    """Return how long a `Retry-After` field asks us to wait.

    Both forms of the field are read: a whole count of seconds and an HTTP date.

    Args:
        value: the field value, e.g. `b"30"` or `b"Fri, 31 Dec 1999 23:59:59 GMT"`.
        now: the wall clock, with a time zone. Used for the date form only.

    Returns:
        Seconds from `now`, never negative, at most LONGEST_WAIT; None when the value fits
        neither form.

    Source: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
    """
    if value.isdigit():
        return min(float(value), LONGEST_WAIT)
    text = value.decode("latin-1")
    if not _DATE.fullmatch(text):
        return None
    from email.utils import parsedate_to_datetime  # 5 ms, and few upstreams send a date

    try:
        date = parsedate_to_datetime(text)
    except ValueError:  # such as the 31st of February
        return None
    seconds = (date.replace(tzinfo=UTC) - now).total_seconds()
    return min(max(seconds, 0.0), LONGEST_WAIT)


def read_retry_after_ms(value: bytes) -> float | None:
    """Return how long a `retry-after-ms` field asks us to wait, in seconds.

    OpenAI and Azure send it beside `Retry-After`, because it is finer; its fractions are read.

    Returns:
        Seconds, at most LONGEST_WAIT; None when the value is no plain number.
    """
    if not _MILLISECONDS.fullmatch(value):
        return None
    return min(float(value) / 1000, LONGEST_WAIT)


@lru_cache(64)
def read_media_type(value: bytes) -> bytes:
    """Return the `type/subtype` of a `Content-Type`, in lower case; `b""` when it has none.

    Parameters are not looked at.
    """
    match = _MEDIA_TYPE.fullmatch(value)
    return match[1].lower() if match else b""


def read_content_length(value: bytes) -> int | None:
    """Return the number of bytes; None for anything but 1 to 19 digits.

    Stricter than the grammar: a zero in front, which some readers take for octal, and a list of
    equal numbers read as None, because they are only ever sent to make two readers disagree.
    """
    return int(value) if _CONTENT_LENGTH.fullmatch(value) else None


@lru_cache(64)
def host_name(value: bytes) -> bytes | None:
    """Return the host of a `Host` field in lower case, without port and without brackets.

    Returns:
        None when the value is not `uri-host` or `uri-host:port` with a port of 0 to 65535.

    Source: https://www.rfc-editor.org/rfc/rfc9110#section-7.2
    """
    match = _HOST.fullmatch(value)
    if match is None:
        return None
    address, name, port = match.groups()
    if port and int(port) > _LAST_PORT:
        return None
    if address and not _is_ipv6(address):
        return None
    host: bytes = (address or name).lower()
    return host


@lru_cache(64)
def is_loopback(host: bytes) -> bool:
    """Whether `host`, as `host_name` returns it, is this machine by its name or its address.

    Source: https://www.rfc-editor.org/rfc/rfc6761#section-6.3 (names under `localhost`)
    """
    text = host.decode("latin-1").lower().removesuffix(".")
    if text == "localhost" or text.endswith(".localhost"):
        return True
    try:
        address = IPv6Address(text) if ":" in text else IPv4Address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback


def read_bearer(value: bytes) -> bytes | None:
    """Return the credential of an `Authorization: Bearer` field; None for any other field.

    Any visible ASCII is allowed in it, which is more than RFC 6750 does: operators choose the
    keys of their callers.
    """
    match = _BEARER.fullmatch(value)
    return match[1] if match else None


def _is_ipv6(address: bytes) -> bool:
    try:
        IPv6Address(address.decode("ascii"))
    except ValueError:
        return False
    return True
