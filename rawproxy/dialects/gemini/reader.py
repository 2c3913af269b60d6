"""Gemini replies, read: chunks of a stream, whole bodies.

Layer: dialects. The part of `gemini` that understands its upstream. A whole body is a stream of one
chunk, or an array of chunks, so one reader reads all.
Source: https://ai.google.dev/api/generate-content#GenerateContentResponse, and `google-genai` 3.3.0.

There is no terminator: the reply is whole when each candidate has told its `finishReason`. Counts
come with every chunk, as totals. Tool calls come whole, except where a client asked for pieces.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from rawproxy.dialects.base import Back
from rawproxy.dialects.events import Event, Note, Open, Reason, Usage, Whole
from rawproxy.dialects.gemini.errors import read_failure
from rawproxy.dialects.gemini.grounding import TextMap, read_citations, read_grounding
from rawproxy.dialects.gemini.logprobs import read_logprobs
from rawproxy.dialects.gemini.partial_args import PartialArg, PartialArgs
from rawproxy.dialects.gemini.signatures import native
from rawproxy.dialects.gemini.spelling import GEMINI
from rawproxy.dialects.reading import choice_number, decode, whole_count
from rawproxy.dialects.scribe import Scribe
from rawproxy.errors import UpstreamNonsense
from rawproxy.wire.frame import Frame

__all__ = ["NO_REASON", "REASONS", "ChunkReader"]

REASONS: dict[str, Reason] = {
    "STOP": "end",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "NO_IMAGE": "end",
    "SAFETY": "filter",
    "RECITATION": "filter",
    "LANGUAGE": "filter",
    "OTHER": "filter",
    "BLOCKLIST": "filter",
    "PROHIBITED_CONTENT": "filter",
    "SPII": "filter",
    "ESCALATION": "filter",
    "MODEL_ARMOR": "filter",
    "PUP_LIMITED_DISABLED": "filter",
    "IMAGE_SAFETY": "filter",
    "IMAGE_PROHIBITED_CONTENT": "filter",
    "IMAGE_RECITATION": "filter",
    "IMAGE_OTHER": "filter",
    "MALFORMED_FUNCTION_CALL": "malformed",
    "MALFORMED_RESPONSE": "malformed",
    "UNEXPECTED_TOOL_CALL": "malformed",
    "TOO_MANY_TOOL_CALLS": "malformed",
    "MISSING_THOUGHT_SIGNATURE": "malformed",
}
"""Words of `finishReason`. One that is not here is new: the reply was not simply finished."""

NO_REASON = ("", "FINISH_REASON_UNSPECIFIED")
"""Words of `finishReason` that say that there is more to come."""

Count = int | float | None
T = TypeVar("T", bound=msgspec.Struct)


class _Call(msgspec.Struct, rename="camel"):
    id: str | None = None
    name: str | None = None
    args: Raw = Raw()
    partial_args: list[Raw] | None = None
    will_continue: bool | None = None


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: Raw = Raw()


class _Content(msgspec.Struct):
    parts: list[Raw] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    index: int | float | None = None
    citation_metadata: Raw = Raw()
    grounding_metadata: Raw = Raw()
    logprobs_result: Raw = Raw()


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None
    block_reason_message: str | None = None


class _Modality(msgspec.Struct, rename="camel"):
    modality: str | None = None
    token_count: Count = None


class _Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: Count = None
    cached_content_token_count: Count = None
    candidates_token_count: Count = None
    tool_use_prompt_token_count: Count = None
    thoughts_token_count: Count = None
    prompt_tokens_details: list[_Modality] | None = None
    candidates_tokens_details: list[_Modality] | None = None


class _Chunk(msgspec.Struct, rename="camel"):
    candidates: list[Raw] | None = None
    prompt_feedback: Raw = Raw()
    usage_metadata: Raw = Raw()
    model_version: str | None = None
    response_id: str | None = None
    error: Raw = Raw()


_WHOLES = (
    "inlineData", "fileData", "executableCode", "codeExecutionResult", "toolCall", "toolResponse",
)  # fmt: skip
"""Parts that the vendor made and ran itself, or that no other API has in a reply."""


class _Growing:
    """A tool call whose arguments come in pieces."""

    def __init__(self, key: int) -> None:
        self.key = key
        self.arguments = PartialArgs()


class ChunkReader:
    """Reads one reply, from chunks or from a body.

    Args:
        back: what `write_call` did that has to be undone.
    """

    def __init__(self, back: Back) -> None:
        self.unknown = 0
        self._origin = back.origin
        self._scribe = Scribe(back)
        self._calls = 0
        self._growing: dict[int, _Growing] = {}  # candidate -> its tool call that goes on
        self._texts: dict[int, TextMap] = {}
        self._thoughts: dict[int, list[str]] = {}  # candidate -> thinking that nobody sealed yet
        self._noted: list[Note] = []
        self._stopped: set[int] = set()

    def read(self, frame: Frame) -> list[Event]:
        """Return what a chunk says; see `StreamReader`."""
        return self._read(frame.data) if frame.data.strip() else []

    def close(self) -> list[Event]:
        """Return what the end of the bytes says; see `StreamReader`."""
        return self._scribe.close()

    def read_body(self, body: bytes) -> list[Event]:
        """Read a whole body, or the array of chunks that a stream without SSE is.

        A candidate of a body that does not tell why it stopped was complete.

        Raises:
            UpstreamNonsense: it is no reply of this API, or holds no candidate.
            UpstreamCut: the array ends before the reply does.
        """
        if body.lstrip().startswith(b"["):
            try:
                chunks = decode(body, list[Raw])
            except ValueError:
                raise UpstreamNonsense("the upstream's body is not JSON") from None
            events = [event for chunk in chunks for event in self._read(bytes(chunk))]
            return [*events, *self.close()]
        events = self._read(body)
        if self._scribe.ended:
            return events
        for number in sorted(self._texts.keys() - self._stopped):
            events += self._scribe.stop("end", number)
        if not self._scribe.whole:
            raise UpstreamNonsense("the upstream's body holds no candidate")
        return [*events, *self._scribe.end()]

    def _read(self, data: bytes) -> list[Event]:
        chunk = self._loose(data, _Chunk)
        if chunk is None:
            raise UpstreamNonsense("a chunk of the upstream's stream is no JSON object")
        scribe = self._scribe
        if _given(chunk.error):
            return scribe.fail(read_failure(bytes(chunk.error)))
        if scribe.ended:
            return []
        events = scribe.start(chunk.response_id, chunk.model_version) if not scribe.started else []
        for at, raw in enumerate(chunk.candidates or ()):
            candidate = self._loose(raw, _Candidate)
            if candidate is not None:
                events += self._candidate(candidate, at)
        events += self._blocked(chunk.prompt_feedback)
        if _given(chunk.usage_metadata):
            usage = self._loose(chunk.usage_metadata, _Usage)
            events += scribe.usage(_read_usage(usage)) if usage is not None else []
        return events

    def _loose(self, data: bytes | Raw, kind: type[T]) -> T | None:
        """Return the members that have the type they should have; None where it is no object."""
        try:
            return decode(data, kind)
        except ValueError:
            pass
        self.unknown += 1
        try:
            members = decode(data, dict[str, Raw])
        except ValueError:
            return None
        found: dict[str, Any] = {}
        for field in msgspec.structs.fields(kind):
            if (raw := members.get(field.encode_name)) is not None:
                try:
                    found[field.name] = decode(raw, field.type)
                except ValueError:
                    continue
        return kind(**found)

    def _candidate(self, said: _Candidate, at: int) -> list[Event]:
        number = choice_number(said.index, at)
        if number is None or number in self._stopped:
            return []
        self._texts.setdefault(number, TextMap())
        events = self._parts(said, number)
        events += self._notes(read_grounding, said.grounding_metadata, number)
        events += self._notes(read_citations, said.citation_metadata, number)
        if said.finish_reason is None or said.finish_reason in NO_REASON:
            return events
        self._stopped.add(number)
        word = said.finish_reason
        reason = REASONS.get(word, "filter")
        events += self._finish_call(number)
        detail = said.finish_message or None
        return [*events, *self._scribe.stop(reason, number, detail=detail, word=word)]

    def _parts(self, said: _Candidate, number: int) -> list[Event]:
        raws = (said.content.parts if said.content else None) or ()
        parts = [(raw, part) for raw in raws if (part := self._loose(raw, _Part)) is not None]
        spoken = [part for _, part in parts if part.text is not None and not part.thought]
        events: list[Event] = []
        for raw, part in parts:
            if _given(part.function_call):
                events += self._call(part, number)
            elif part.text is None:
                events += self._whole(raw, number)
            elif part.thought:
                events += self._think(part.text, part.thought_signature, number)
            else:
                # Probabilities come for all of a chunk: its last text bears them.
                likely = self._logprobs(said.logprobs_result) if part is spoken[-1] else None
                events += self._say(part.text, part.thought_signature, number, likely)
        return events

    def _logprobs(self, raw: Raw) -> Raw | None:
        try:
            return read_logprobs(raw)
        except ValueError:
            self.unknown += 1
            return None

    def _think(self, text: str, signature: str | None, number: int) -> list[Event]:
        thoughts = self._thoughts.setdefault(number, [])
        thoughts.append(text)
        events = self._scribe.text("thinking", text, number)
        if signature:
            sealed = native(self._origin, signature, text="".join(thoughts))
            events += self._scribe.seal(sealed, number)
            thoughts.clear()
        return events

    def _say(
        self, text: str, signature: str | None, number: int, logprobs: Raw | None
    ) -> list[Event]:
        scribe = self._scribe
        events: list[Event] = []
        if text:
            events = scribe.block("text", number)
            self._thoughts.pop(number, None)
            opened = events[-1] if events else None
            if signature and isinstance(opened, Open):
                seal = native(self._origin, signature, about="next")
                events[-1], signature = replace(opened, seal=seal), None
        events += scribe.text("text", text, number, logprobs)
        if text and (block := scribe.running(number)) is not None:
            self._texts[number].add(block, text)
        if not signature:
            return events
        # The text is under way, or has ended: its signature becomes a block of its own.
        self._thoughts.pop(number, None)
        events += scribe.close_text(number)
        return [*events, *scribe.seal(native(self._origin, signature), number)]

    def _call(self, part: _Part, number: int) -> list[Event]:
        call = self._loose(part.function_call, _Call)
        growing = self._growing.get(number)
        if call is None or not (call.name or growing):
            self.unknown += 1
            return []
        events: list[Event] = []
        if call.name:
            events = self._finish_call(number)
            growing = _Growing(self._calls)
            self._calls += 1
            events += self._open(growing.key, call, part.thought_signature, number)
            if not (call.partial_args or call.will_continue):
                text = bytes(call.args).decode("utf-8", "replace") if _given(call.args) else "{}"
                events += self._scribe.arguments(growing.key, text, number)
                return [*events, *self._scribe.close_tool(growing.key, number)]
            self._growing[number] = growing
        assert growing is not None
        for raw in call.partial_args or ():
            piece = self._loose(raw, PartialArg)
            self.unknown += piece is None or not growing.arguments.add(piece)
        return events if call.will_continue else [*events, *self._finish_call(number)]

    def _open(self, key: int, call: _Call, signature: str | None, number: int) -> list[Event]:
        self._thoughts.pop(number, None)
        events = self._scribe.tool(key, call.name or "", call.id, number)
        opened = events[-1] if events else None
        if signature and isinstance(opened, Open):
            seal = native(self._origin, signature, about=opened.id)
            events[-1] = replace(opened, seal=seal)
        return events

    def _finish_call(self, number: int) -> list[Event]:
        """Return the end of the tool call whose arguments came in pieces, if there is one."""
        growing = self._growing.pop(number, None)
        if growing is None:
            return []
        text = growing.arguments.text()
        arguments = self._scribe.arguments(growing.key, text, number)
        return [*arguments, *self._scribe.close_tool(growing.key, number)]

    def _whole(self, raw: Raw, number: int) -> list[Event]:
        members = decode(raw, dict[str, Raw])
        kind = next((name for name in _WHOLES if name in members), "")
        if not kind:
            self.unknown += bool(members)
            return []
        self._thoughts.pop(number, None)
        return self._scribe.item(Whole(GEMINI, raw, kind, number))

    def _notes(
        self, read: Callable[[Raw, TextMap], list[Note]], raw: Raw, number: int
    ) -> list[Event]:
        try:
            found = read(raw, self._texts[number]) if _given(raw) else []
        except ValueError:
            self.unknown += 1
            return []
        fresh = [note for note in found if note not in self._noted]  # they are told again and again
        self._noted += fresh
        return list(fresh)

    def _blocked(self, raw: Raw) -> list[Event]:
        """Return the end of a reply to a prompt that was refused: there are no candidates."""
        feedback = self._loose(raw, _Feedback) if _given(raw) else None
        if feedback is None or not feedback.block_reason or self._texts:
            return []
        self._stopped.add(0)
        detail, word = feedback.block_reason_message or None, feedback.block_reason
        return self._scribe.stop("filter", 0, detail=detail, word=word)


def _given(raw: Raw) -> bool:
    return bool(raw) and bytes(raw) != b"null"


def _read_usage(said: _Usage) -> Usage:
    """Return the counts: what tools put into the prompt is input, thoughts are output."""
    return Usage(
        input=_sum(said.prompt_token_count, said.tool_use_prompt_token_count),
        output=_sum(said.candidates_token_count, said.thoughts_token_count),
        cache_read=_sum(said.cached_content_token_count),
        reasoning=_sum(said.thoughts_token_count),
        audio_input=_sum(*_audio(said.prompt_tokens_details)),
        audio_output=_sum(*_audio(said.candidates_tokens_details)),
    )


def _audio(details: list[_Modality] | None) -> list[Count]:
    return [one.token_count for one in details or () if one.modality == "AUDIO"]


def _sum(*counts: Count) -> int | None:
    """Return the sum of the counts that were said; None where none was."""
    known = [count for said in counts if (count := whole_count(said)) is not None]
    return sum(known) if known else None
