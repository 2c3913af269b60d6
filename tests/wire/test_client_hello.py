"""The server name of a ClientHello: those of OpenSSL, and made ones that are odd or broken."""

import ssl
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.wire.client_hello import LONGEST, MOST_RECORDS, server_name


def of_openssl(name: str | None, *, tls12: bool = False) -> bytes:
    """The first flight of a client of Python's."""
    context = ssl.create_default_context()
    if name is None:
        context.check_hostname = False
    if tls12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"])
    outgoing = ssl.MemoryBIO()
    side = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        side.do_handshake()
    return outgoing.read()


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size) + data


def sni(name: bytes, kind: int = 0) -> bytes:
    return struct.pack("!H", 0) + vector(2, vector(2, bytes([kind]) + vector(2, name)))


def hello(extensions: bytes | None, kind: int = 1) -> bytes:
    """A handshake message."""
    body = (
        b"\x03\x03" + b"r" * 32 + vector(1, b"s" * 32) + vector(2, b"\x13\x01") + vector(1, b"\0")
    )
    if extensions is not None:
        body += vector(2, extensions)
    return bytes([kind]) + vector(3, body)


def record(message: bytes, kind: int = 22, size: int = 2**14) -> bytes:
    pieces = [message[at : at + size] for at in range(0, len(message), size)] or [b""]
    return b"".join(bytes([kind]) + b"\x03\x01" + vector(2, piece) for piece in pieces)


PAD = struct.pack("!H", 21) + vector(2, bytes(500))

CASES: dict[str, tuple[bytes, str]] = {
    "openssl": (of_openssl("api.example.com"), "api.example.com"),
    "openssl 1.2": (of_openssl("api.example.com", tls12=True), "api.example.com"),
    "openssl without": (of_openssl(None), ""),
    "openssl address": (of_openssl("10.0.0.1"), ""),
    "upper case, dot": (record(hello(sni(b"Api.Example.COM."))), "api.example.com"),
    "after others": (record(hello(PAD + sni(b"a"))), "a"),
    "several records": (record(hello(PAD + sni(b"a")), size=40), "a"),
    "an empty record first": (record(b"") + record(hello(sni(b"a"))), "a"),
    "not ASCII": (record(hello(sni(b"\xff\xfe"))), ""),
    "another kind of name": (record(hello(sni(b"a", kind=1))), ""),
    "no names": (record(hello(struct.pack("!HHH", 0, 2, 0))), ""),
    "an empty extension": (record(hello(struct.pack("!HH", 0, 0))), ""),
    "no extensions": (record(hello(b"")), ""),
    "none at all, as in TLS 1.0": (record(hello(None)), ""),
    "an extension past the end": (record(hello(struct.pack("!HH", 0, 99))), ""),
    "an empty hello": (record(b"\x01\0\0\0"), ""),
    "another message": (record(hello(sni(b"a"), kind=2)), ""),
    "another record": (record(hello(sni(b"a")), kind=23), ""),
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", ""),
}


@pytest.mark.parametrize(("data", "name"), CASES.values(), ids=CASES)
def test_names(data: bytes, name: str) -> None:
    assert server_name(data) == name


@pytest.mark.parametrize(("data", "name"), CASES.values(), ids=CASES)
def test_more_is_asked_for_until_it_can_be_told(data: bytes, name: str) -> None:
    told = [server_name(data[:size]) for size in range(len(data) + 1)]
    first = next(at for at, one in enumerate(told) if one is not None)
    assert told[:first] == [None] * first
    assert set(told[first:]) == {name}


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_hello_at_the_limit(over: int) -> None:
    """Past it nobody waits for more; OpenSSL has its own say."""
    whole = record(hello(sni(b"a") + struct.pack("!H", 21) + vector(2, bytes(20000))))
    assert server_name(whole[: LONGEST + over]) == ("" if over > 0 else None)


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_hello_in_the_most_records(over: int) -> None:
    """Past it nobody waits for more, either; with each byte that comes all of them are read."""
    message = hello(sni(b"a"))
    ahead = record(b"") * (MOST_RECORDS - 1 + over)
    assert server_name(ahead + record(message)) == ("" if over > 0 else "a")
    assert server_name(ahead + record(message)[:-1]) == ("" if over > 0 else None)


@given(st.binary(max_size=200), st.integers(0, 120))
def test_nothing_is_an_error(noise: bytes, at: int) -> None:
    whole = record(hello(sni(b"name")))
    server_name(noise)
    server_name(whole[:at] + noise)
    server_name(record(hello(noise)))
