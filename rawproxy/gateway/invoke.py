"""Bedrock's `invoke`: Anthropic's Messages in frames of AWS, its body without model and `stream`.

Layer: gateway. A framing of the dialect `anthropic_messages`, not a dialect. Each Messages event is
a `chunk` whose payload is `{"bytes": "<base64 of the event's JSON>"}`; an error is an exception frame.
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html
"""

import base64
import binascii

import msgspec

from rawproxy.dialects.reading import decode, encode
from rawproxy.wire import eventstream
from rawproxy.wire.eventstream import EventFrame
from rawproxy.wire.frame import Frame, Framing, PlainFrame, Splitter

__all__ = ["INVOKE"]

_TYPES = {
    # exception -> Anthropic's type of an error
    b"throttlingException": "rate_limit_error",
    b"validationException": "invalid_request_error",
    b"serviceUnavailableException": "overloaded_error",
    b"modelTimeoutException": "timeout_error",
}
_EXCEPTIONS = {word: name for name, word in _TYPES.items()}


class _Chunk(msgspec.Struct):
    bytes: str


class _Named(msgspec.Struct):
    type: str = ""


class _Error(msgspec.Struct, frozen=True):
    type: str = ""
    message: str = ""


class _ErrorEvent(msgspec.Struct, frozen=True):
    error: _Error = _Error()


class _Message(msgspec.Struct):
    message: str = "the upstream failed"


class _Splitter:
    """Cuts AWS frames, and shows each as the Messages event that it carries."""

    def __init__(self, max_frame: int) -> None:
        self._inner = eventstream.splitter(max_frame)

    @property
    def mid_frame(self) -> bool:
        return self._inner.mid_frame

    def feed(self, data: bytes) -> list[Frame]:
        return [_unwrapped(frame) for frame in self._inner.feed(data)]

    def skip(self) -> list[Frame]:
        return [_unwrapped(frame) for frame in self._inner.skip()]

    def unread(self) -> bytes:
        return self._inner.unread()

    def close(self) -> bytes:
        return self._inner.close()


def _unwrapped(frame: Frame) -> Frame:
    if not isinstance(frame, EventFrame):
        return frame
    try:
        if frame.kind == b"event":
            data = base64.b64decode(decode(frame.data, _Chunk).bytes, validate=True)
            return PlainFrame(frame.raw, decode(data, _Named).type.encode(), data, has_data=True)
        message = decode(frame.data, _Message).message
    except (ValueError, binascii.Error):
        return PlainFrame(frame.raw, frame.name, frame.data, has_data=bool(frame.data))
    word = _TYPES.get(frame.name, "api_error")
    data = encode({"type": "error", "error": {"type": word, "message": message}})
    return PlainFrame(frame.raw, b"error", data, has_data=True)


class _Invoke:
    """The framing."""

    TYPE = eventstream.TYPE
    OPEN = BETWEEN = CLOSE = b""

    def splitter(self, max_frame: int) -> Splitter:
        """Return a splitter for one stream."""
        return _Splitter(max_frame)

    def read_tail(self, tail: bytes) -> Frame | None:
        """Return None: what is not whole has no checksum."""
        return eventstream.read_tail(tail)

    def mend(self, tail: bytes) -> bytes:
        """Return nothing: no bytes end a frame that was cut."""
        return eventstream.mend(tail)

    def write(self, data: bytes, *, name: bytes = b"") -> bytes:
        """Return a Messages event as a `chunk`, an error as an exception."""
        if name == b"error":
            error = decode(data, _ErrorEvent).error
            kind = _EXCEPTIONS.get(error.type, b"modelStreamErrorException")
            return eventstream.write_exception(encode({"message": error.message}), kind)
        return eventstream.write(b'{"bytes":"%b"}' % base64.b64encode(data), name=b"chunk")


INVOKE: Framing = _Invoke()
"""Messages events in AWS frames."""
