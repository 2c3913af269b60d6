"""Replies of text completions, read: both forms of stream, and whole bodies.

Layer: dialects. The part of `anthropic_complete` that understands its upstream. A frame that is
called `completion`, by its event or its `type`, says what is new; one that is not says all of the
text so far.
Spec: https://platform.claude.com/docs/en/api/streaming, and the client of the `anthropic` package
0.2.10.
"""

import msgspec
from msgspec import Raw

from rawproxy.dialects.anthropic_complete.transcript import HUMAN
from rawproxy.dialects.anthropic_shared import read_failure
from rawproxy.dialects.base import Back
from rawproxy.dialects.events import Event, Reason
from rawproxy.dialects.reading import decode, encode
from rawproxy.dialects.scribe import Scribe
from rawproxy.errors import UpstreamNonsense
from rawproxy.wire.frame import Frame

__all__ = ["CompletionReader"]

UNFINISHED = "\ufffd"
"""What half of a character reads as: the next frame has the whole one in its place."""

_REASONS: dict[str, Reason] = {
    "stop_sequence": "end",
    "end_turn": "end",
    "max_tokens": "length",
    "refusal": "refusal",
}


class _Completion(msgspec.Struct):
    """A frame of either form, or a whole body."""

    type: str | None = None
    id: str | None = None
    log_id: str | None = None
    model: str | None = None
    completion: str | None = None
    stop_reason: str | None = None
    stop: str | None = None
    exception: Raw = Raw()
    error: Raw = Raw()


class CompletionReader:
    """Reads one reply, from a stream of either form or from a body.

    Args:
        back: what `write_call` did that has to be undone.
    """

    def __init__(self, back: Back) -> None:
        self.unknown = 0
        self._scribe = Scribe(back)
        self._text = ""  # cumulative form: all of it so far
        self._begun = back.continues or back.partial

    def read(self, frame: Frame) -> list[Event]:
        """Return what a frame says; see `StreamReader`."""
        data = frame.data.strip()
        if frame.name == b"ping" or not data:
            return []
        if data == b"[DONE]":
            return self._done()
        try:
            said = decode(data, _Completion)
        except ValueError:
            return self._read_odd(data)
        if said.type == "ping":
            return []
        if frame.name == b"error" or said.type == "error" or _given(said.error):
            return self._scribe.fail(read_failure(said.error if _given(said.error) else Raw(data)))
        if _given(said.exception):
            return self._scribe.fail(read_failure(_error(said.exception)))
        if self._scribe.ended or (said.completion is None and said.stop_reason is None):
            self.unknown += 1
            return []
        return self._read(said, whole=said.type != "completion" and frame.name != b"completion")

    def close(self) -> list[Event]:
        """Return what the end of the bytes says; see `StreamReader`."""
        return self._scribe.close()

    def read_body(self, body: bytes) -> list[Event]:
        """Read a whole body. A missing stop_reason is the end: the body is complete.

        Raises:
            UpstreamNonsense: it is no completion.
        """
        try:
            said = decode(body, _Completion)
        except ValueError:
            raise UpstreamNonsense("the upstream's body is not a completion") from None
        if _given(said.error) or _given(said.exception):
            error = said.error if _given(said.error) else _error(said.exception)
            return self._scribe.fail(read_failure(error))
        if said.completion is None:
            raise UpstreamNonsense("the upstream's reply has no completion")
        return [*self._read(said, whole=False), *self._done()]

    def _done(self) -> list[Event]:
        """The terminator: a reply whose stop_reason never came has ended all the same."""
        if not (self._scribe.started or self._scribe.ended):
            raise UpstreamNonsense("the upstream's stream ended before it said anything")
        return [*self._scribe.stop("end"), *self._scribe.end()]

    def _read_odd(self, data: bytes) -> list[Event]:
        try:
            decode(data, Raw)
        except ValueError:
            raise UpstreamNonsense("a frame of the upstream's stream is not JSON") from None
        self.unknown += 1
        return []

    def _read(self, said: _Completion, *, whole: bool) -> list[Event]:
        """Return what a completion says; `whole`: it has all of the text so far."""
        events = self._scribe.start(said.id or said.log_id, said.model)
        text = said.completion or ""
        if whole:
            text = self._new(text, is_last=said.stop_reason is not None)
        events += self._scribe.text("text", self._unspaced(text))
        word = said.stop_reason
        if word is None:
            return events
        reason = _REASONS.get(word, "end")
        sequence = said.stop if reason == "end" and said.stop not in (None, "", HUMAN) else None
        reason = "stop_sequence" if sequence else reason
        events += self._scribe.stop(reason, sequence=sequence, word=word)
        # Of the incremental form this is the last frame; the other one has a terminator.
        return events if whole else [*events, *self._scribe.end()]

    def _unspaced(self, text: str) -> str:
        """Return text without the space that every answer begins with: it parts it from the prompt."""
        if self._begun or not text:
            return text
        self._begun = True
        return text.removeprefix(" ")

    def _new(self, text: str, *, is_last: bool) -> str:
        """Return what is new in all of the text so far."""
        if not is_last:
            text = text.rstrip(UNFINISHED)
        if self._text.startswith(text):
            return ""
        known = len(self._text)
        if not text.startswith(self._text):
            self.unknown += 1  # what was said already cannot be taken back
            pairs = enumerate(zip(self._text, text, strict=False))
            known = next(at for at, (old, new) in pairs if old != new)
        self._text = text
        return text[known:]


def _given(raw: Raw) -> bool:
    return bool(raw) and bytes(raw) != b"null"


def _error(exception: Raw) -> Raw:
    """Return an `exception`, which is a text or an object, as an error object."""
    try:
        return Raw(encode({"message": decode(exception, str)}))
    except ValueError:
        return exception
