"""Messages in frames of AWS."""

import base64
import json

import pytest

from rawproxy.errors import FrameTooLong
from rawproxy.gateway.invoke import INVOKE
from rawproxy.wire import eventstream

EVENT = b'{"type":"content_block_stop","index":0}'


def chunk(data: bytes = EVENT) -> bytes:
    payload = json.dumps({"bytes": base64.b64encode(data).decode(), "p": "abc"}).encode()
    return eventstream.write(payload, name=b"chunk")


def test_an_event_is_what_its_chunk_carries() -> None:
    splitter = INVOKE.splitter(1000)
    data = chunk() + chunk()
    (first, second) = [*splitter.feed(data[:50]), *splitter.feed(data[50:])]
    assert (first.name, first.data, first.has_data, first.whole) == (
        b"content_block_stop", EVENT, True, True,
    )  # fmt: skip
    assert first.raw + second.raw == data
    assert (splitter.close(), splitter.mid_frame) == (b"", False)


def test_what_is_written_is_read() -> None:
    (frame,) = INVOKE.splitter(1000).feed(INVOKE.write(EVENT, name=b"content_block_stop"))
    assert (frame.name, frame.data) == (b"content_block_stop", EVENT)


@pytest.mark.parametrize(
    ("word", "exception", "read"),
    [
        ("rate_limit_error", b"throttlingException", "rate_limit_error"),
        ("overloaded_error", b"serviceUnavailableException", "overloaded_error"),
        ("api_error", b"modelStreamErrorException", "api_error"),
        ("billing_error", b"modelStreamErrorException", "api_error"),
    ],
)
def test_an_error_is_an_exception(word: str, exception: bytes, read: str) -> None:
    data = json.dumps({"type": "error", "error": {"type": word, "message": "no"}}).encode()
    written = INVOKE.write(data, name=b"error")
    (native,) = eventstream.splitter(1000).feed(written)
    assert (native.name, json.loads(native.data)) == (exception, {"message": "no"})
    (frame,) = INVOKE.splitter(1000).feed(written)
    assert frame.name == b"error"
    assert json.loads(frame.data)["error"] == {"type": read, "message": "no"}


@pytest.mark.parametrize(
    "message",
    [
        eventstream.write(b"nonsense", name=b"chunk"),
        eventstream.write(b'{"bytes":"%%%"}', name=b"chunk"),
        eventstream.write(b'{"bytes":"eA=="}', name=b"chunk"),
        eventstream.write_exception(b"nonsense", b"throttlingException"),
    ],
)
def test_what_cannot_be_read_is_shown_as_it_came(message: bytes) -> None:
    (frame,) = INVOKE.splitter(1000).feed(message)
    assert (frame.raw, frame.has_data) == (message, True)


def test_a_chunk_that_is_too_long_goes_on_in_pieces() -> None:
    splitter = INVOKE.splitter(64)
    with pytest.raises(FrameTooLong):
        splitter.feed(chunk())
    pieces = splitter.skip()
    assert b"".join(piece.raw for piece in pieces) == chunk()
    assert not any(piece.whole for piece in pieces)


def test_a_tail_is_nothing() -> None:
    assert INVOKE.read_tail(chunk()[:-4]) is None
    assert INVOKE.mend(b"") == b""


@pytest.mark.parametrize("size", [0, 1, 20, len(chunk()) - 1])
def test_what_is_not_whole_can_be_had_back(size: int) -> None:
    splitter = INVOKE.splitter(1000)
    assert len(splitter.feed(chunk() + chunk()[:size])) == 1
    assert splitter.unread() == chunk()[:size]
    assert len(splitter.feed(chunk())) == 1
