"""What may go out: parts that read as what they are, whatever the version of HTTP."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.errors import HttpError
from rawproxy.wire.http import Fields
from rawproxy.wire.outgoing import check_request, check_status, write_fields


@pytest.mark.parametrize("status", [100, 200, 599, 999])
def test_statuses(status: int) -> None:
    check_status(status)


@pytest.mark.parametrize("status", [-1, 0, 99, 1000, 20000])
def test_statuses_that_http_does_not_have(status: int) -> None:
    with pytest.raises(HttpError, match="a status that HTTP does not have") as caught:
        check_status(status)
    assert caught.value.status == 500


@pytest.mark.parametrize("method", [b"GET", b"M-SEARCH", b"get", b"!#$%&'*+-.^_`|~"])
@pytest.mark.parametrize("target", [b"/", b"/a?b=%20&c", b"*", b"//", b'/"'])
def test_requests(method: bytes, target: bytes) -> None:
    check_request(method, target)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (b"", b"/"), (b"G T", b"/"), (b"GET\r\n", b"/"), (b"GET\n", b"/"), (b"G/T", b"/"), (b"\xe9", b"/"),
        (b"GET", b""), (b"GET", b"x"), (b"GET", b"http://h/"), (b"GET", b"/ "), (b"GET", b"/\r\n"),
        (b"GET", b"/\n"), (b"GET", b"/\0"), (b"GET", b"/#"), (b"GET", b"/\x7f"), (b"GET", b"/\xe9"),
        (b"GET", b"**"), (b"GET", b"*/"),
    ],
)  # fmt: skip
def test_requests_that_must_not_be_sent(method: bytes, target: bytes) -> None:
    with pytest.raises(HttpError, match="must not be sent") as caught:
        check_request(method, target)
    assert caught.value.status == 500


def test_fields() -> None:
    fields = [(b"a", b"b"), (b"x-y", b""), (b"c", b"d: e\t\xe9")]
    assert write_fields(fields) == ((b"a", b"x-y", b"c"), b"a: b\r\nx-y: \r\nc: d: e\t\xe9\r\n")
    assert write_fields([]) == ((), b"")


NAMES = st.binary(max_size=5) | st.sampled_from(
    [b"a", b"a:", b":a", b"A", b"a: b\r\nc", b"", b"a\n"]
)
VALUES = st.binary(max_size=8) | st.sampled_from(
    [b"b", b"b\r\nc: d", b"b\n", b"\r", b"\0", b"\x7f"]
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=4))
def test_lines_read_as_the_fields_they_were_written_from(fields: Fields) -> None:
    try:
        names, lines = write_fields(fields)
    except HttpError:
        return
    read = [line.split(b": ", 1) for line in lines.split(b"\r\n")[:-1]]
    assert read == [[name, value] for name, value in fields]
    assert names == tuple(name for name, _ in fields)
    assert not any(
        (byte < 0x20 and byte != 9) or byte == 0x7F for line in read for byte in b"".join(line)
    )


@pytest.mark.parametrize(
    "field",
    [
        (b"", b"b"), (b"A", b"b"), (b"a b", b"c"), (b"a:", b"b"), (b":path", b"/"), (b"a\n", b"b"), (b"a\r\nb", b"c"),
        (b"\xe9", b"b"), (b"a", b"b\r\nc: d"), (b"a", b"b\n"), (b"a", b"b\r"), (b"a", b"\0"), (b"a", b"\x1b"),
        (b"a", b"\x7f"),
    ],
)  # fmt: skip
def test_fields_that_must_not_be_sent(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(HttpError, match="a header field that must not be sent") as caught:
        write_fields([(b"good", b"one"), field, (b"good", b"two")])
    assert caught.value.status == 500
