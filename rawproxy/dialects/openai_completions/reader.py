"""Replies of Completions, read: chunks of a stream, and whole bodies, which have one form.

Layer: dialects. The part of `openai_completions` that understands its upstream. Types are loose:
the servers that copy this API are many.
Spec: https://platform.openai.com/docs/api-reference/completions/object
"""

import msgspec
from msgspec import Raw

from rawproxy.dialects.base import Back
from rawproxy.dialects.events import Event, Fail, FailKind, Reason
from rawproxy.dialects.openai_completions.logprobs import read_logprobs
from rawproxy.dialects.openai_shared import TokenUsage, read_failure, read_usage
from rawproxy.dialects.reading import choice_number, decode, whole_count
from rawproxy.dialects.scribe import Scribe
from rawproxy.errors import UpstreamNonsense
from rawproxy.wire.frame import Frame

__all__ = ["CompletionReader"]

_REASONS: dict[str, Reason] = {
    # The API's own words, and those of servers that copy it.
    "stop": "end",
    "eos": "end",
    "eos_token": "end",
    "stop_sequence": "end",
    "length": "length",
    "max_tokens": "length",
    "content_filter": "filter",
}
_BROKEN: dict[str, FailKind] = {
    # How OpenRouter, vLLM and DeepSeek say that a reply broke off.
    "error": "server",
    "abort": "server",
    "insufficient_system_resource": "overloaded",
}


class _Choice(msgspec.Struct):
    text: str | None = None
    index: int | float | None = None
    finish_reason: str | None = None
    stop_reason: str | int | float | None = None
    stop_sequence: str | None = None
    logprobs: Raw = Raw()


class _Chunk(msgspec.Struct):
    """A chunk, or a whole body."""

    id: str | None = None
    model: str | None = None
    created: int | float | None = None
    choices: list[_Choice] | None = None
    usage: TokenUsage | None = None
    error: Raw = Raw()
    object: str | None = None


class CompletionReader:
    """Reads one reply, from chunks or from a body.

    Args:
        back: what `write_call` did that has to be undone.
    """

    def __init__(self, back: Back) -> None:
        self.unknown = 0
        self._scribe = Scribe(back)
        self._stopped: dict[int, bool] = {}  # choices that were seen

    def read(self, frame: Frame) -> list[Event]:
        """Return what a frame says; see `StreamReader`."""
        data = frame.data.strip()
        if data == b"[DONE]":
            return self._done()
        if not data:
            return []
        try:
            chunk = decode(data, _Chunk)
        except ValueError:
            return self._read_odd(data)
        if (frame.name == b"error" or chunk.object == "error") and not _given(chunk.error):
            return self._scribe.fail(read_failure(data))
        return self._read_chunk(chunk)

    def close(self) -> list[Event]:
        """Return what the end of the bytes says; see `StreamReader`."""
        return self._scribe.close()

    def read_body(self, body: bytes) -> list[Event]:
        """Read a whole body. A missing finish_reason is the end: the body is complete.

        Raises:
            UpstreamNonsense: it is no completion.
        """
        try:
            chunk = decode(body, _Chunk)
        except ValueError:
            raise UpstreamNonsense("the upstream's body is not a completion") from None
        if chunk.object == "error" and not _given(chunk.error):
            return self._scribe.fail(read_failure(body))
        if not (chunk.choices or _given(chunk.error)):
            raise UpstreamNonsense("the upstream's reply has no choices")
        return [*self._read_chunk(chunk), *self._done()]

    def _done(self) -> list[Event]:
        """The terminator: a choice whose finish_reason never came has ended all the same."""
        if self._scribe.ended:
            return []
        if 0 not in self._stopped:
            raise UpstreamNonsense(
                "the upstream's reply ended before its first choice said anything"
            )
        events: list[Event] = []
        for number in self._stopped:
            events += self._scribe.stop("end", number)
        return [*events, *self._scribe.end()]

    def _read_odd(self, data: bytes) -> list[Event]:
        try:
            decode(data, Raw)
        except ValueError:
            raise UpstreamNonsense("a frame of the upstream's stream is not JSON") from None
        self.unknown += 1
        return []

    def _read_chunk(self, chunk: _Chunk) -> list[Event]:
        if _given(chunk.error):
            return self._scribe.fail(read_failure(chunk.error))
        if self._scribe.ended:
            self.unknown += 1
            return []
        events: list[Event] = []
        # Azure's first chunk has no choices and an empty id: it is not the start of the answer.
        if chunk.choices or chunk.usage:
            events += self._scribe.start(chunk.id, chunk.model, whole_count(chunk.created))
        for choice in chunk.choices or ():
            events += self._read_choice(choice)
        if chunk.usage:
            events += self._scribe.usage(read_usage(chunk.usage))
        return events

    def _read_choice(self, choice: _Choice) -> list[Event]:
        number = choice_number(choice.index)
        if number is None:
            self.unknown += 1
            return []
        if self._stopped.setdefault(number, False):
            self.unknown += bool(choice.text)
            return []
        logprobs = read_logprobs(choice.logprobs)
        events = self._scribe.text("text", choice.text or "", number, logprobs)
        word = choice.finish_reason
        if not word:
            return events
        if word in _BROKEN:
            failed = Fail(_BROKEN[word], "the upstream broke off its reply")
            return [*events, *self._scribe.fail(failed)]
        self._stopped[number] = True
        reason = _REASONS.get(word, "end")
        matched = choice.stop_sequence or choice.stop_reason
        sequence = matched if isinstance(matched, str) and reason == "end" else None
        if sequence:
            reason = "stop_sequence"
        return [*events, *self._scribe.stop(reason, number, sequence=sequence, word=word)]


def _given(raw: Raw) -> bool:
    return bool(raw) and bytes(raw) != b"null"
