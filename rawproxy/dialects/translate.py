"""Carry a call, a reply, a stream or an error from one dialect to another, without any I/O.

Layer: dialects. Public as `rawproxy.translate`. The same readers, writers and pipes that the proxy
uses, with nothing around them: no upstream, no caller, no clock.

    written = translate.call(body, "openai_chat", "anthropic_messages", model="claude-opus-4-8")
    body, losses = translate.reply(data, "anthropic_messages", "openai_chat")

Where the dialect wants an id or a time that the input does not have, it gets REPLY_ID and 0: equal
input gives equal output. Every function raises ValueError for a name that is no dialect.
"""

from msgspec import Raw

from rawproxy.dialects.base import Back, ErrorReply, Given, Target, Written
from rawproxy.dialects.call import Call
from rawproxy.dialects.ends import BodySink, BodySource, StreamSink, StreamSource
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.events import Fail
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.models import takes
from rawproxy.dialects.named import named
from rawproxy.dialects.pipe import TranslatePipe
from rawproxy.dialects.reading import decode
from rawproxy.errors import ClientError, UpstreamCut, UpstreamError, UpstreamNonsense
from rawproxy.wire.frame import MAX_FRAME, PlainFrame

__all__ = ["REPLY_ID", "Stream", "call", "error", "fold", "reply", "stream", "unfold"]

REPLY_ID = "rawproxy-translate"
"""The id of a reply whose input has none."""

UNTOLD_STATUS = 500
"""What an error without status and without words for its kind is read as."""

Told = tuple[bytes, list[Loss]]
"""The output, and what it could not say."""


def call(
    body: bytes, source: str, target: str, *, model: str | None = None, variant: str = ""
) -> Written:
    """Return a request of dialect `source` as one of dialect `target`.

    Losses that would corrupt the answer are among those of the result; the proxy refuses such a
    call (`rawproxy.dialects.losses.refuse`).

    Args:
        body: the request's body.
        source: the dialect it is in.
        target: the dialect to write.
        model: the model to ask; None for the one that `body` names.
        variant: which form of `source` it is, where that has several (`generate` of Ollama).

    Raises:
        ClientError: `body` is not a call of `source`, or `target` cannot say it (Untranslatable).
    """
    reader, writer = named(source), named(target)
    named_in_path = None if reader.MODEL_FIELD else model
    asked = reader.read_call(body, Vault(), Given(named_in_path, variant=variant))
    wanted = model or asked.model
    if not wanted:
        raise ClientError("the body names no model: it stands in the path, so it has to be given")
    return writer.write_call(asked, Target(wanted, takes(target, wanted)))


def reply(body: bytes, source: str, target: str, *, model: str = "") -> Told:
    """Return a whole reply of dialect `source` as one of dialect `target`, and the losses.

    Args:
        body: the reply's body.
        source: the dialect it is in.
        target: the dialect to write.
        model: what the model is called where `body` does not say.

    Raises:
        UpstreamError: `body` is not a reply of `source`, or is an error (`error` reads those).
    """
    return _whole(body, TranslatePipe(_body(source, body), _body_sink(target, model)))


def unfold(body: bytes, source: str, target: str, *, model: str = "") -> Told:
    """Return a whole reply as a stream. Arguments and errors are those of `reply`."""
    return _whole(body, TranslatePipe(_body(source, body), _stream_sink(target, model)))


def fold(data: bytes, source: str, target: str, *, model: str = "") -> Told:
    """Return a stream as a whole reply. Arguments and errors are those of `reply`.

    Raises:
        UpstreamError: `data` is not a whole stream of `source`, or ends in an error.
    """
    return _whole(data, TranslatePipe(_stream(source), _body_sink(target, model)))


def stream(data: bytes, source: str, target: str, *, model: str = "") -> Told:
    """Return a stream of dialect `source` as one of dialect `target`, and the losses.

    A stream that breaks off ends in the target's terminal error; `Stream` tells of that.
    """
    translation = Stream(source, target, model=model)
    return translation.feed(data) + translation.close(), translation.losses


def error(body: bytes, source: str, target: str, *, status: int | None = None) -> ErrorReply:
    """Return the HTTP response that says in dialect `target` what an error body says.

    Args:
        body: the error response's body.
        source: the dialect it is in.
        target: the dialect to write.
        status: its HTTP status; None to take it from `body`.

    Raises:
        UpstreamNonsense: `body` is not a JSON object.
    """
    reader, writer = named(source), named(target)
    try:
        decode(body, dict[str, Raw])
    except ValueError:
        raise UpstreamNonsense("the error is not a JSON object") from None
    if status is not None:
        return writer.write_error(reader.read_error(status, body))
    # An error inside a stream has no status either, and is spelled the same.
    said = reader.stream_reader(Back()).read(PlainFrame(body, b"error", body, has_data=True))
    told = [event for event in said if isinstance(event, Fail)]
    return writer.write_error(told[0] if told else reader.read_error(UNTOLD_STATUS, body))


class Stream:
    """A stream on its way from one dialect to another; feed it reads of any size.

    Args:
        source: the dialect it is in.
        target: the dialect to write.
        model: what the model is called where the stream does not say.
    """

    def __init__(self, source: str, target: str, *, model: str = "") -> None:
        self._pipe = TranslatePipe(_stream(source), _stream_sink(target, model))
        self.broken: UpstreamError | None = None
        """Why the stream is not a whole one of its dialect, once that is known."""

    @property
    def losses(self) -> list[Loss]:
        """What had no words so far."""
        return self._pipe.losses

    def feed(self, data: bytes) -> bytes:
        """Return what can be said after `data`; nothing after a break."""
        if self.broken is not None:
            return b""
        try:
            return b"".join(self._pipe.feed(data))
        except UpstreamError as error:
            return self._break(error)

    def close(self) -> bytes:
        """Return what ends the stream: what is left of it, or the terminal error."""
        if self.broken is not None:
            return b""
        try:
            return b"".join(self._pipe.close())
        except UpstreamError as error:
            return self._break(error)

    def _break(self, error: UpstreamError) -> bytes:
        self.broken = error
        return b"".join(self._pipe.fail(Fail("server", str(error))))


def _body(name: str, body: bytes) -> BodySource:
    return BodySource(named(name).read_reply, Back(), len(body))


def _stream(name: str) -> StreamSource:
    dialect = named(name)
    return StreamSource(dialect.stream_reader(Back()), dialect.FRAMING, MAX_FRAME)


def _body_sink(name: str, model: str) -> BodySink:
    return BodySink(named(name), Call(name, model, wants_usage=True), REPLY_ID, 0)


def _stream_sink(name: str, model: str) -> StreamSink:
    sketch = Call(name, model, stream=True, wants_usage=True)
    return StreamSink(named(name).stream_writer(sketch, REPLY_ID, 0))


def _whole(data: bytes, pipe: TranslatePipe) -> Told:
    parts = [*pipe.feed(data), *pipe.close()]
    if pipe.tally.failure is not None:
        raise UpstreamCut(f"the reply ends in an error of kind {pipe.tally.failure.kind}")
    return b"".join(parts), pipe.losses
