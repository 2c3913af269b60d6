"""Header fields: what is read, and what is refused."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.wire.fields import (
    HOP_BY_HOP,
    LONGEST_WAIT,
    get,
    get_all,
    hop_by_hop,
    host_name,
    is_field_value,
    is_loopback,
    is_token,
    read_bearer,
    read_content_length,
    read_media_type,
    read_retry_after,
    read_retry_after_ms,
)

NOW = datetime(1994, 11, 6, 8, 49, 0, tzinfo=UTC)

FIELDS = [(b"host", b"a"), (b"accept", b"b"), (b"accept", b"c")]


def test_fields_are_found_by_name() -> None:
    assert get(FIELDS, b"accept") == b"b"
    assert get(FIELDS, b"cookie") is None
    assert get_all(FIELDS, b"accept") == [b"b", b"c"]
    assert get_all(FIELDS, b"cookie") == []


@pytest.mark.parametrize(
    ("connection", "more"),
    [
        ([], set()),
        ([b"close"], {b"close"}),
        ([b"Keep-Alive, X-Trace"], {b"x-trace"}),
        ([b"a ,\tb,", b", c"], {b"a", b"b", b"c"}),
        ([b""], set()),
    ],
)
def test_connection_names_more_fields_that_end_here(
    connection: list[bytes], more: set[bytes]
) -> None:
    fields = [(b"host", b"a"), *((b"connection", value) for value in connection)]
    assert hop_by_hop(fields) == HOP_BY_HOP | more


@pytest.mark.parametrize("name", [b"a", b"x-request-id", b"!#$%&'*+-.^_`|~09azAZ"])
def test_a_token(name: bytes) -> None:
    assert is_token(name)


@pytest.mark.parametrize(
    "name", [b"", b"a b", b"a:", b"a\r\n", b"a\n", b"a\x00", b"a(b)", b"a@b", b"\xc3\xa4", b'"a"']
)
def test_no_token(name: bytes) -> None:
    assert not is_token(name)


@pytest.mark.parametrize("value", [b"", b"a", b"a b", b"a\tb", b"a  \t b", b"\xff\x80", b"!~"])
def test_a_field_value(value: bytes) -> None:
    assert is_field_value(value)


@pytest.mark.parametrize(
    "value", [b" a", b"a ", b"\ta", b"a\t", b" ", b"a\nb", b"a\rb", b"a\r\n", b"\x00", b"a\x7fb"]
)
def test_no_field_value(value: bytes) -> None:
    assert not is_field_value(value)


@given(st.binary(max_size=12))
def test_a_field_value_is_what_the_grammar_says(value: bytes) -> None:
    allowed = all(byte == 9 or byte == 32 or (byte > 32 and byte != 127) for byte in value)
    assert is_field_value(value) == (allowed and value == value.strip(b" \t"))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0.0),
        (b"120", 120.0),
        (b"9" * 400, LONGEST_WAIT),
        (b"Sun, 06 Nov 1994 08:49:37 GMT", 37.0),
        (b"Sunday, 06-Nov-94 08:49:37 GMT", 37.0),
        (b"Sun Nov  6 08:49:37 1994", 37.0),
        (b"Sun, 06 Nov 1994 08:48:00 GMT", 0.0),
        (b"Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT),
        (b"", None),
        (b"-1", None),
        (b"+1", None),
        (b"1.5", None),
        (b"1 ", None),
        (b"1e3", None),
        ("\u0663".encode(), None),
        (b"\xb2", None),
        (b"soon", None),
        (b"Sun, 06 Nov 1994 08:49:37", None),
        (b"Sun, 06 Nov 1994 08:49:37 +0200", None),
        (b"Sun, 31 Feb 1994 08:49:37 GMT", None),
        (b"Sun, 06 Foo 1994 08:49:37 GMT", None),
        (b"Sun, 06 Nov 1994 25:49:37 GMT", None),
        (b"1994-11-06T08:49:37Z", None),
    ],
)
def test_retry_after(value: bytes, seconds: float | None) -> None:
    assert read_retry_after(value, NOW) == seconds


def test_retry_after_knows_the_clocks_time_zone() -> None:
    now = NOW.astimezone(timezone(timedelta(hours=5)))
    assert read_retry_after(b"Sun, 06 Nov 1994 08:49:37 GMT", now) == 37.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0.0),
        (b"250", 0.25),
        (b"1500.5", 1.5005),
        (b"9" * 400, LONGEST_WAIT),
        (b"", None),
        (b"-1", None),
        (b"1.", None),
        (b".5", None),
        (b"1e3", None),
        (b"inf", None),
        (b"nan", None),
        (b"1_000", None),
    ],
)
def test_retry_after_ms(value: bytes, seconds: float | None) -> None:
    assert read_retry_after_ms(value) == seconds


@pytest.mark.parametrize(
    ("value", "media_type"),
    [
        (b"text/event-stream", b"text/event-stream"),
        (b"Application/JSON; charset=utf-8", b"application/json"),
        (b"application/json ;x", b"application/json"),
        (b"application/vnd.amazon.eventstream", b"application/vnd.amazon.eventstream"),
        (b"", b""),
        (b"json", b""),
        (b"text/", b""),
        (b"/json", b""),
        (b"text/html, application/json", b""),
        (b"text /html", b""),
        (b"text/html\n", b""),
    ],
)
def test_media_type(value: bytes, media_type: bytes) -> None:
    assert read_media_type(value) == media_type


@pytest.mark.parametrize(
    ("value", "length"),
    [
        (b"0", 0),
        (b"42", 42),
        (b"9" * 19, 10**19 - 1),
        (b"1" + b"0" * 19, None),
        (b"", None),
        (b"042", None),
        (b"00", None),
        (b"+1", None),
        (b"-1", None),
        (b"1 ", None),
        (b"1\n", None),
        (b"1, 1", None),
        (b"1_0", None),
        (b"0x5", None),
        ("\u0663".encode(), None),
    ],
)
def test_content_length(value: bytes, length: int | None) -> None:
    assert read_content_length(value) == length


@pytest.mark.parametrize(
    ("value", "host"),
    [
        (b"example.com", b"example.com"),
        (b"API.Example.com:8080", b"api.example.com"),
        (b"127.0.0.1:0", b"127.0.0.1"),
        (b"[::1]", b"::1"),
        (b"[2001:DB8::1]:65535", b"2001:db8::1"),
        (b"[::ffff:127.0.0.1]", b"::ffff:127.0.0.1"),
        (b"a_b~c!$&'()*+,;=%2F", b"a_b~c!$&'()*+,;=%2f"),
        (b"", None),
        (b":80", None),
        (b"a:", None),
        (b"a:65536", None),
        (b"a:123456", None),
        (b"a:b", None),
        (b"a:80:80", None),
        (b"a b", None),
        (b"a/b", None),
        (b"a?b", None),
        (b"a#b", None),
        (b"user@a", None),
        (b"a%2", None),
        (b"a%zz", None),
        (b"a\n", None),
        (b"\xc3\xa4", None),
        (b"::1", None),
        (b"[]", None),
        (b"[::1", None),
        (b"[::1]a", None),
        (b"[1:2]", None),
        (b"[::1%25eth0]", None),
        (b"[127.0.0.1]", None),
    ],
)
def test_host_name(value: bytes, host: bytes | None) -> None:
    assert host_name(value) == host


@pytest.mark.parametrize(
    "host",
    [
        b"localhost",
        b"LOCALHOST",
        b"localhost.",
        b"app.localhost",
        b"127.0.0.1",
        b"127.255.255.254",
        b"::1",
        b"0:0:0:0:0:0:0:1",
        b"::ffff:127.0.0.1",
    ],
)
def test_loopback(host: bytes) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"example.com",
        b"localhost.example.com",
        b"notlocalhost",
        b"127.0.0.1.example.com",
        b"128.0.0.1",
        b"0.0.0.0",
        b"127.1",
        b"::",
        b"::2",
        b"::ffff:10.0.0.1",
        b"1:2",
        b"\xff",
    ],
)
def test_not_loopback(host: bytes) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("value", "credential"),
    [
        (b"Bearer sk-1", b"sk-1"),
        (b"bearer  a|b:c=", b"a|b:c="),
        (b"Bearer", None),
        (b"Bearer ", None),
        (b"Bearersk-1", None),
        (b"Bearer a b", None),
        (b"Bearer a\n", None),
        (b"Bearer \xff", None),
        (b"Basic YTpi", None),
        (b"", None),
    ],
)
def test_bearer(value: bytes, credential: bytes | None) -> None:
    assert read_bearer(value) == credential
