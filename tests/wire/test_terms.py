"""What fields say of a body and a connection, in each version of HTTP.

That whole heads say it, too, is in `test_heads` and `h2/test_heads`.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.errors import HttpError
from rawproxy.wire.terms import (
    CHUNKED,
    Telling,
    Terms,
    check_host,
    keeps_alive,
    pick_telling,
    read_length,
    read_response_terms,
    read_terms,
)

VERSIONS = [b"1.0", b"1.1", b"2"]


def telling(**fields: bytes | list[bytes]) -> Telling:
    return {
        name.replace("_", "-").encode(): value if isinstance(value, list) else [value]
        for name, value in fields.items()
    }


def test_only_what_tells_is_picked() -> None:
    fields = [(b"host", b"h"), (b"accept", b"x"), (b"expect", b"y"), (b"host", b"i")]
    assert pick_telling(fields) == {b"host": [b"h", b"i"], b"expect": [b"y"]}
    assert pick_telling([]) == {}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("host", [b"h", b"h:0", b"h:65535", b"[::1]", b"1.2.3.4:80", b"a-b.c_d"])
def test_hosts(host: bytes, version: bytes) -> None:
    check_host([host], version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "hosts", [[b""], [b"h:65536"], [b"h/x"], [b"u@h"], [b"[::z]"], [b"h h"], [b"h", b"h"]]
)
def test_hosts_that_are_refused(hosts: list[bytes], version: bytes) -> None:
    with pytest.raises(HttpError, match="Host") as caught:
        check_host(hosts, version)
    assert caught.value.status == 400


@pytest.mark.parametrize("version", VERSIONS)
def test_who_may_leave_host_out(version: bytes) -> None:
    if version == b"1.0":
        check_host([], version)
        return
    with pytest.raises(HttpError, match="a request has exactly one Host field"):
        check_host([], version)


LENGTHS = [
    ({}, None),
    (telling(content_length=b"0"), 0),
    (telling(content_length=b"12"), 12),
    (telling(content_length=b"9" * 19), 9999999999999999999),
    (telling(transfer_encoding=b"chunked"), CHUNKED),
    (telling(transfer_encoding=b" Chunked\t"), CHUNKED),
]


@pytest.mark.parametrize(("fields", "length"), LENGTHS)
def test_lengths(fields: Telling, length: int | None) -> None:
    assert read_length(fields, b"1.1") == length


REFUSED = [
    (telling(content_length=[b"1", b"1"]), 400),
    (telling(content_length=b"1, 1"), 400),
    (telling(content_length=b"-1"), 400),
    (telling(content_length=b""), 400),
    (telling(content_length=b"0x1"), 400),
    (telling(content_length=b"1", transfer_encoding=b"chunked"), 400),
    (telling(transfer_encoding=[b"chunked", b"chunked"]), 400),
    (telling(transfer_encoding=b"chunked, chunked"), 400),
    (telling(transfer_encoding=b"chunked, gzip"), 400),
    (telling(transfer_encoding=b""), 400),
    (telling(transfer_encoding=b"chunked,"), 400),
    (telling(transfer_encoding=b"gzip"), 501),
    (telling(transfer_encoding=b"gzip, chunked"), 501),
    (telling(transfer_encoding=b"identity"), 501),
]


@pytest.mark.parametrize(("fields", "status"), REFUSED)
def test_lengths_that_are_refused(fields: Telling, status: int) -> None:
    with pytest.raises(HttpError) as caught:
        read_length(fields, b"1.1")
    assert caught.value.status == status


def test_http_1_0_has_no_transfer_encoding() -> None:
    with pytest.raises(HttpError, match=r"HTTP/1\.0 has no Transfer-Encoding") as caught:
        read_length(telling(transfer_encoding=b"chunked"), b"1.0")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("values", "version", "keeps"),
    [
        ([], b"1.0", False), ([b"keep-alive"], b"1.0", False), ([], b"1.1", True), ([b"close"], b"1.1", False),
        ([b"Close"], b"1.1", False), ([b"a, close , b"], b"1.1", False), ([b"a", b"close"], b"1.1", False),
        ([b"keep-alive"], b"1.1", True), ([b"closed"], b"1.1", True), ([], b"2", True),
    ],
)  # fmt: skip
def test_connections_that_go_on(values: list[bytes], version: bytes, keeps: bool) -> None:
    assert keeps_alive({b"connection": values} if values else {}, version) is keeps


@pytest.mark.parametrize(
    ("version", "terms"),
    [(b"1.0", Terms(0, keep_alive=False)), (b"1.1", Terms(0, keep_alive=True)), (b"2", Terms(None, keep_alive=True))],
)  # fmt: skip
def test_a_request_that_says_nothing(version: bytes, terms: Terms) -> None:
    """Only HTTP/2 has another way to say where a body ends."""
    assert read_terms({}, version) == terms


@pytest.mark.parametrize("version", VERSIONS)
def test_who_waits_to_be_told_to_go_on(version: bytes) -> None:
    terms = read_terms(telling(expect=b"100-Continue", content_length=b"5"), version)
    assert (terms.length, terms.expects_continue, terms.refusal) == (5, version != b"1.0", None)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (telling(expect=b"x"), 417), (telling(expect=[b"100-continue", b"x"]), 417),
        (telling(content_encoding=b"gzip"), 415), (telling(content_encoding=b"identity, BR"), 415),
        (telling(content_encoding=[b"identity", b"zstd"]), 415),
    ],
)  # fmt: skip
def test_what_is_read_and_yet_refused(fields: Telling, status: int, version: bytes) -> None:
    refusal = read_terms(fields, version).refusal
    assert refusal is not None
    assert refusal.status == status


@pytest.mark.parametrize("value", [b"", b"identity", b"Identity", b"identity, identity", b","])
def test_no_coding_at_all(value: bytes) -> None:
    assert read_terms(telling(content_encoding=value), b"1.1").refusal is None


FIELDS = [
    (b"content-length", b"12"), (b"content-length", b"x"), (b"connection", b"close"), (b"date", b"d"),
    (b"transfer-encoding", b"chunked"),
]  # fmt: skip


@given(st.lists(st.sampled_from(FIELDS), max_size=4), st.sampled_from(VERSIONS))
def test_a_responses_terms_are_its_length_and_whether_it_keeps_alive(
    fields: list[tuple[bytes, bytes]], version: bytes
) -> None:
    found: Terms | str
    expected: Terms | str
    told = pick_telling(fields)
    try:
        expected = Terms(read_length(told, version), keeps_alive(told, version))
    except HttpError as error:
        expected = str(error)
    try:
        found = read_response_terms(fields, version)
    except HttpError as error:
        found = str(error)
    assert found == expected
