"""PROXY headers of both versions: what each says, where each limit is, and that no cut matters."""

import ipaddress
import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.errors import WireError
from rawproxy.wire.proxy_protocol import V1_BYTES, V2_BYTES, HeaderReader

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
SIX = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"


def v2(body: bytes, *, command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(body)) + body


FOUR_BYTES = ipaddress.ip_address("203.0.113.7").packed + bytes([10, 0, 0, 1]) + b"\x30\x39\x01\xbb"
SIX_BYTES = (
    ipaddress.ip_address("2001:db8::1").packed + ipaddress.ip_address("::1").packed + bytes(4)
)
PATHS = b"/run/a.sock".ljust(108, b"\0") + b"/run/b.sock".ljust(108, b"\0")
TLV = b"\x03\x00\x04abcd" + b"\x20\x00\x05\x01\0\0\0\0"

GOOD: dict[str, tuple[bytes, str]] = {
    "v1 TCP4": (b"PROXY TCP4 203.0.113.7 10.0.0.1 12345 443\r\n", "203.0.113.7"),
    "v1 TCP6": (b"PROXY TCP6 2001:DB8::1 ::1 0 65535\r\n", "2001:db8::1"),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", ""),
    "v1 unknown, more": (b"PROXY UNKNOWN ffff:f...f:ffff 1 whatever\r\n", ""),
    "v1 the longest": (f"PROXY UNKNOWN {SIX} {SIX} 65535 65535\r\n".encode(), ""),
    "v1 the longest TCP6": (f"PROXY TCP6 {SIX} {SIX} 65535 65535\r\n".encode(), SIX),
    "v2 TCP4": (v2(FOUR_BYTES), "203.0.113.7"),
    "v2 TCP6": (v2(SIX_BYTES, family=0x21), "2001:db8::1"),
    "v2 unix": (v2(PATHS, family=0x31), "unix"),
    "v2 TLVs": (v2(FOUR_BYTES + TLV), "203.0.113.7"),
    "v2 unspecified": (v2(b"", family=0), ""),
    "v2 unspecified, more": (v2(TLV, family=0), ""),
    "v2 local": (v2(b"", command=0x20, family=0), ""),
    "v2 local, addresses": (v2(FOUR_BYTES, command=0x20), ""),
    "v2 local, any family": (v2(b"ab", command=0x20, family=0x99), ""),
    "v2 at the limit": (v2(FOUR_BYTES.ljust(V2_BYTES, b"\0")), "203.0.113.7"),
    "v2 below the limit": (v2(FOUR_BYTES.ljust(V2_BYTES - 1, b"\0")), "203.0.113.7"),
}

BAD: dict[str, tuple[bytes, str]] = {
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", "there is no PROXY header"),
    "POST": (b"POST / HTTP/1.1\r\n\r\n", "there is no PROXY header"),
    "TLS": (b"\x16\x03\x01\x00\x05hello", "there is no PROXY header"),
    "nearly v2": (b"\r\n\r\n\0\r\nQUIT\r", "there is no PROXY header"),
    "lower case": (b"proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n", "there is no PROXY header"),
    "v1 bare LF": (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n\r\n", "is broken"),
    "v1 family": (b"PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", "is broken"),
    "v1 nothing": (b"PROXY \r\n", "is broken"),
    "v1 no ports": (b"PROXY TCP4 1.1.1.1 2.2.2.2\r\n", "is broken"),
    "v1 two spaces": (b"PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n", "is broken"),
    "v1 space behind": (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", "is broken"),
    "v1 a name": (b"PROXY TCP4 localhost 2.2.2.2 1 2\r\n", "is broken"),
    "v1 an octal address": (b"PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n", "is broken"),
    "v1 another family's address": (b"PROXY TCP4 ::1 ::1 1 2\r\n", "is broken"),
    "v1 a broken target": (b"PROXY TCP6 ::1 1.1.1.1 1 2\r\n", "is broken"),
    "v1 a zone": (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "is broken"),
    "v1 a port past the last": (b"PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n", "is broken"),
    "v1 a port with a zero": (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 02\r\n", "is broken"),
    "v1 a negative port": (b"PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n", "is broken"),
    "v1 unknownx": (b"PROXY UNKNOWNX\r\n", "is broken"),
    "v1 unknown, CTL": (b"PROXY UNKNOWN \x07\r\n", "is broken"),
    "v1 too long": (b"PROXY UNKNOWN " + b"x" * (V1_BYTES - 15) + b"\r\n", f"longer than {V1_BYTES} bytes"),
    "v1 without an end": (b"PROXY UNKNOWN " + b"x" * 200, f"longer than {V1_BYTES} bytes"),
    "v2 version 1": (v2(FOUR_BYTES, command=0x11), "unknown version or command"),
    "v2 command 2": (v2(FOUR_BYTES, command=0x22), "unknown version or command"),
    "v2 UDP": (v2(FOUR_BYTES, family=0x12), "unknown or a cut address"),
    "v2 unix datagram": (v2(PATHS, family=0x32), "unknown or a cut address"),
    "v2 family 4": (v2(FOUR_BYTES, family=0x41), "unknown or a cut address"),
    "v2 cut IPv4": (v2(FOUR_BYTES[:-1]), "unknown or a cut address"),
    "v2 cut IPv6": (v2(SIX_BYTES[:-1], family=0x21), "unknown or a cut address"),
    "v2 cut unix": (v2(PATHS[:-1], family=0x31), "unknown or a cut address"),
    "v2 past the limit": (v2(FOUR_BYTES.ljust(V2_BYTES + 1, b"\0")), f"longer than {V2_BYTES} bytes"),
}  # fmt: skip


def read(data: bytes, cuts: list[int]) -> tuple[str, bytes] | str:
    """What comes of `data`, fed in pieces: source and rest, or the error."""
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    reader = HeaderReader()
    rest = b""
    try:
        for start, end in itertools.pairwise(bounds):
            if reader.done:
                rest += data[start:end]
            else:
                reader.feed(data[start:end])
    except WireError as error:
        return str(error)
    assert reader.done
    return reader.source, reader.rest + rest


@pytest.mark.parametrize(("data", "source"), GOOD.values(), ids=GOOD)
@given(cuts=st.lists(st.integers(0, 600), max_size=20))
def test_what_a_header_says(data: bytes, source: str, cuts: list[int]) -> None:
    assert read(data + b"\x16\x03\x01", cuts) == (source, b"\x16\x03\x01")


@pytest.mark.parametrize(("data", "why"), BAD.values(), ids=BAD)
@given(cuts=st.lists(st.integers(0, 600), max_size=20))
def test_what_is_none(data: bytes, why: str, cuts: list[int]) -> None:
    told = read(data, cuts)
    assert isinstance(told, str)
    assert why in told
    assert told == read(data, [])


@pytest.mark.parametrize("data", [one for one, _ in GOOD.values()], ids=GOOD)
def test_byte_for_byte(data: bytes) -> None:
    reader = HeaderReader()
    for byte in data:
        assert not reader.done
        reader.feed(bytes([byte]))
    assert reader.done
    assert reader.rest == b""
