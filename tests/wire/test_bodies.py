"""Bodies are handed out as they come, and end where the framing says: wherever the reads are cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.errors import HttpError
from rawproxy.wire import bodies as module
from rawproxy.wire.bodies import (
    MAX_EXTENSION,
    SPARE_EXTENSIONS,
    BodyReader,
    Chunked,
    Length,
    UntilClose,
)


def chunked(*, max_bytes: int = 10**6, max_trailers: int = 1000) -> Chunked:
    return Chunked(max_bytes=max_bytes, max_trailers=max_trailers)


def read(body: BodyReader, stream: bytes, *, step: int = 10**6) -> tuple[bytes, bytes | None]:
    """Feed `stream` in reads of `step` bytes; return the body, and what is behind it."""
    taken = b""
    rest: bytes | None = None
    for at in range(0, len(stream), step):
        data = stream[at : at + step]
        if rest is None:
            more, rest = body.take(data)
            taken += more
        else:
            rest += data
    return taken, rest


# -- lengths


@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_a_length_ends_the_body(step: int) -> None:
    assert read(Length(5), b"helloPOST", step=step) == (b"hello", b"POST")
    assert read(Length(5), b"hello", step=step) == (b"hello", b"")
    assert read(Length(5), b"hell", step=step) == (b"hell", None)


def test_a_length_of_none_ends_at_once() -> None:
    assert Length(0).take(b"") == (b"", b"")
    assert Length(0).take(b"x") == (b"", b"x")


def test_a_body_without_framing_never_ends() -> None:
    assert read(UntilClose(), b"hello\r\n0\r\n\r\n", step=3) == (b"hello\r\n0\r\n\r\n", None)


def test_a_whole_read_is_not_copied() -> None:
    data = b"x" * 1000
    for body in (Length(2000), UntilClose()):
        taken, _ = body.take(data)
        assert taken is data


# -- chunks

GOOD = [
    ("one chunk", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("no data", b"0\r\n\r\n", b""),
    ("two chunks", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello"),
    ("hex in both cases", b"a\r\n0123456789\r\nB\r\n0123456789x\r\n0\r\n\r\n", b"01234567890123456789x"),
    ("7.1: zeros in front", b"0005\r\nhello\r\n000\r\n\r\n", b"hello"),
    ("sixteen digits", b"0000000000000005\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("line ends in the data", b"6\r\n\r\n0\r\n\n\r\n0\r\n\r\n", b"\r\n0\r\n\n"),
    ("7.1.1: extension without value", b"5;a\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("7.1.1: extension with a token", b"5;a=b\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("7.1.1: extension with a string", b'5;a="b;\\"\t \xe4"\r\nhello\r\n0\r\n\r\n', b"hello"),
    ("7.1.1: an empty string", b'5;a=""\r\nhello\r\n0\r\n\r\n', b"hello"),
    ("7.1.1: two extensions", b"5;a;b=c\r\nhello\r\n0;d\r\n\r\n", b"hello"),
    ("7.1.1: blanks inside", b"5; \ta =\t b\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("7.1.2: a trailer", b"5\r\nhello\r\n0\r\nA: b\r\n\r\n", b"hello"),
    ("rule 12: framing in trailers is nothing", b"0\r\nContent-Length: 3\r\nTransfer-Encoding: x\r\n\r\n", b""),
]  # fmt: skip


@pytest.mark.parametrize("step", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize(
    ("stream", "body"), [row[1:] for row in GOOD], ids=[row[0] for row in GOOD]
)
def test_chunks_that_are_read(stream: bytes, body: bytes, step: int) -> None:
    assert read(chunked(), stream, step=step) == (body, b"")
    assert read(chunked(), stream + b"\r\nGET", step=step) == (body, b"\r\nGET")


@pytest.mark.parametrize("stream", [row[1] for row in GOOD], ids=[row[0] for row in GOOD])
def test_chunks_end_with_their_last_byte(stream: bytes) -> None:
    for end in range(len(stream)):
        assert read(chunked(), stream[:end])[1] is None


REFUSED = [
    ("rule 8: no size", b"\r\nhello\r\n0\r\n\r\n"),
    ("rule 8: 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    ("rule 8: sign", b"+5\r\nhello\r\n0\r\n\r\n"),
    ("rule 8: minus", b"-5\r\nhello\r\n0\r\n\r\n"),
    ("rule 8: underscore", b"0_5\r\nhello\r\n0\r\n\r\n"),
    ("rule 8: no hex", b"g\r\nhello\r\n0\r\n\r\n"),
    ("rule 8: full-width digit", b"\xef\xbc\x95\r\nhello\r\n0\r\n\r\n"),
    ("rule 8: blank in front", b" 5\r\nhello\r\n0\r\n\r\n"),
    ("rule 8: blank behind", b"5 \r\nhello\r\n0\r\n\r\n"),
    ("rule 8: HTAB behind", b"5\t\r\nhello\r\n0\r\n\r\n"),
    ("rule 8: blank before an extension", b"5 ;a\r\nhello\r\n0\r\n\r\n"),
    ("rule 8: seventeen digits", b"00000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("rule 8: extension without name", b"5;\r\nhello\r\n0\r\n\r\n"),
    ("rule 8: extension of a value", b"5;=b\r\nhello\r\n0\r\n\r\n"),
    ("rule 8: extension without value", b"5;a=\r\nhello\r\n0\r\n\r\n"),
    ("rule 8: extension with blank behind", b"5;a \r\nhello\r\n0\r\n\r\n"),
    ("rule 8: extension with NUL", b"5;a\x00\r\nhello\r\n0\r\n\r\n"),
    ("rule 8: extension with bare CR", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("rule 8: extension with bare LF", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    ("rule 8: string without end", b'5;a="b\r\nhello\r\n0\r\n\r\n'),
    ("rule 8: extension with two names", b"5;a b\r\nhello\r\n0\r\n\r\n"),
    ("rule 8: a comma for a semicolon", b"5,a\r\nhello\r\n0\r\n\r\n"),
    ("rule 7: bare LF behind the size", b"5\nhello\r\n0\r\n\r\n"),
    ("rule 7: bare LF behind the data", b"5\r\nhello\n0\r\n\r\n"),
    ("rule 7: bare LF behind the last size", b"0\n\r\n"),
    ("rule 7: bare LF as the last line", b"0\r\n\n"),
    ("rule 7: bare LF in a trailer", b"0\r\nA: b\n\r\n\r\n"),
    ("rule 6: bare CR behind the size", b"5\rhello\r\n0\r\n\r\n"),
    ("rule 6: bare CR behind the data", b"5\r\nhello\r0\r\n\r\n"),
    ("7.1: more data than the size", b"5\r\nhello!\r\n0\r\n\r\n"),
    ("7.1: less data than the size", b"5\r\nhell\r\n0\r\n\r\n"),
    ("7.1: no line end behind the data", b"5\r\nhello0\r\n\r\n"),
    ("7.1: two line ends behind the data", b"5\r\nhello\r\n\r\n0\r\n\r\n"),
    ("rule 12: trailer without colon", b"0\r\nA\r\n\r\n"),
    ("rule 12: blank before a trailer's colon", b"0\r\nA : b\r\n\r\n"),
    ("rule 12: folded trailer", b"0\r\nA: b\r\n c\r\n\r\n"),
    ("rule 12: CTL in a trailer", b"0\r\nA: \x01\r\n\r\n"),
    ("rule 12: a request for a trailer", b"0\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
]


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize("stream", [row[1] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_chunks_that_are_refused(stream: bytes, step: int) -> None:
    with pytest.raises(HttpError) as caught:
        read(chunked(), stream, step=step)
    assert caught.value.status == 400


@pytest.mark.parametrize("stream", [b"5\n", b"0\n\n", b"5 ", b"+", b"5;\x00", b"5\r\nhello0", b"0\r\nA\n"])  # fmt: skip
def test_a_size_line_that_can_never_be_one_is_not_waited_for(stream: bytes) -> None:
    with pytest.raises(HttpError):
        read(chunked(), stream)


# -- limits


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize("size", [9, 10, 11])
def test_the_body_is_limited(size: int, step: int) -> None:
    stream = b"5\r\nhello\r\n%x\r\n%b\r\n0\r\n\r\n" % (size - 5, b"x" * (size - 5))
    if size <= 10:
        assert read(chunked(max_bytes=10), stream, step=step)[1] == b""
        return
    with pytest.raises(HttpError) as caught:
        read(chunked(max_bytes=10), stream, step=step)
    assert caught.value.status == 413


def test_a_chunk_that_is_too_long_is_refused_by_its_size_line() -> None:
    with pytest.raises(HttpError) as caught:
        read(chunked(max_bytes=10), b"ffffffffffffffff\r\n")
    assert caught.value.status == 413


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize("size", [MAX_EXTENSION - 1, MAX_EXTENSION, MAX_EXTENSION + 1])
def test_an_extension_is_limited(size: int, step: int) -> None:
    stream = b"1;%b\r\nx\r\n0\r\n\r\n" % (b"a" * (size - 1))
    if size <= MAX_EXTENSION:
        assert read(chunked(), stream, step=step) == (b"x", b"")
        return
    with pytest.raises(HttpError):
        read(chunked(), stream, step=step)


@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_all_extensions_together_are_limited(spare: int) -> None:
    # Each chunk has an extension of 256 bytes and 192 bytes of data: 64 bytes over.
    chunk = b"c0;%b\r\n%b\r\n" % (b"a" * 255, b"x" * 192)
    last = 192 + spare
    stream = chunk * (SPARE_EXTENSIONS // 64) + b"%x;%b\r\n%b\r\n0\r\n\r\n" % (
        192,
        b"a" * (last - 1),
        b"x" * 192,
    )
    if spare <= 0:
        assert read(chunked(), stream)[1] == b""
        return
    with pytest.raises(HttpError):
        read(chunked(), stream)


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_trailers_are_limited(spare: int, step: int) -> None:
    trailers = b"A: b\r\nC: d\r\n\r\n"
    body = chunked(max_trailers=len(trailers) + spare)
    if spare >= 0:
        assert read(body, b"0\r\n" + trailers, step=step) == (b"", b"")
        return
    with pytest.raises(HttpError) as caught:
        read(body, b"0\r\n" + trailers, step=step)
    assert caught.value.status == 431


# -- the cut never matters


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=30), max_size=8),
    cuts=st.lists(st.integers(0, 300), max_size=8),
)
def test_cuts_never_change_the_body(chunks: list[bytes], cuts: list[int]) -> None:
    stream = b"".join([b"%x;x=y\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks])
    stream += b"0\r\n\r\nrest"
    bounds = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    body, rest = chunked(), b""
    taken = b""
    ended = False
    for start, end in itertools.pairwise(bounds):
        data = stream[start:end]
        more, behind = (b"", data) if ended else body.take(data)
        taken += more
        if behind is not None:
            ended = True
            rest += behind
    assert (taken, rest) == (b"".join(chunks), b"rest")


def test_data_is_not_held_back_until_its_chunk_is_whole() -> None:
    body = chunked()
    assert body.take(b"5\r\nhe") == (b"he", None)
    assert body.take(b"ll") == (b"ll", None)


@pytest.mark.parametrize("step", [1, 7, 10**6])
def test_chunks_of_one_length_are_limited_and_counted_like_others(step: int) -> None:
    same = b"5\r\nhello\r\n"
    assert read(chunked(max_bytes=15), same * 3 + b"0\r\n\r\nX", step=step) == (b"hello" * 3, b"X")
    with pytest.raises(HttpError, match="more than 14 bytes"):
        read(chunked(max_bytes=14), same * 3, step=step)
    assert read(chunked(), same * 2 + b"5;a\r\nworld\r\n" + same + b"05\r\nagain\r\n", step=step) == (
        b"hellohelloworldhelloagain", None,
    )  # fmt: skip
    for broken in (b"5\r\nhello!\n", b"5\r\nhello\r\n5\nhello", b"5\r\nhello5\r\n"):
        with pytest.raises(HttpError, match="malformed"):
            read(chunked(), same * 2 + broken + same, step=step)


@pytest.mark.parametrize("known", [1, 2, 3])
def test_size_lines_are_remembered_up_to_a_limit(
    known: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered = dict.fromkeys([b"%x\r\n" % (100 + number) for number in range(known)], 0)
    monkeypatch.setattr(module, "KNOWN_SIZES", 2)
    monkeypatch.setattr(module, "_KNOWN_SIZES", remembered)
    for _ in range(2):
        assert read(chunked(), b"5\r\nhello\r\n0\r\n\r\n", step=10) == (b"hello", b"")
    assert remembered.get(b"5\r\n") == (5 if known < 2 else None)
