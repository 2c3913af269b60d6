"""Replies of Chat Completions, read: chunks of a stream, and whole bodies.

Layer: dialects. The part of `openai_chat` that understands its upstream. A body's `message` has the
members of a chunk's `delta`, so one reader reads both. Types are loose (counts in floats, missing
indexes, arguments as objects, several documents in a line): the servers that copy this API are
many.
Spec: https://platform.openai.com/docs/api-reference/chat-streaming
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from rawproxy.dialects.base import Back
from rawproxy.dialects.envelope import Seal, seal
from rawproxy.dialects.events import Event, Fail, FailKind, Note, Reason, Start, Stop
from rawproxy.dialects.openai_chat.messages import PLAIN
from rawproxy.dialects.openai_chat.reasoning_details import Entry
from rawproxy.dialects.openai_shared import TokenUsage, read_failure, read_usage
from rawproxy.dialects.reading import (
    choice_number,
    decode,
    decode_fitting,
    documents,
    encode,
    whole_count,
)
from rawproxy.dialects.scribe import Scribe, one_text
from rawproxy.errors import UpstreamNonsense
from rawproxy.wire.frame import Frame

__all__ = ["ChunkReader", "read_plain"]

CHAT = "openai_chat"
"""The dialect's name, in what only it has."""

_REASONS: dict[str, Reason] = {
    "stop": "end",
    "length": "length",
    "max_tokens": "length",
    "model_length": "context",
    "tool_calls": "tools",
    "function_call": "tools",
    "content_filter": "filter",
}
_BROKEN: dict[str, FailKind] = {
    # How OpenRouter, vLLM and DeepSeek say that a reply broke off.
    "error": "server",
    "abort": "server",
    "insufficient_system_resource": "overloaded",
}


class _Named(msgspec.Struct):
    """`function` or `custom` of a tool call; some servers send arguments as an object."""

    name: str | None = None
    arguments: str | dict[str, Raw] | None = None
    input: str | None = None


class _ToolCall(msgspec.Struct):
    index: int | float | None = None
    id: str | None = None
    function: _Named | None = None
    custom: _Named | None = None


class _Delta(msgspec.Struct):
    content: str | list[dict[str, Raw]] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[dict[str, Raw]] | None = None
    thinking_blocks: list[dict[str, Raw]] | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Named | None = None
    annotations: list[dict[str, Raw]] | None = None
    audio: dict[str, Raw] | None = None


class _Choice(msgspec.Struct):
    index: int | float | None = None
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None
    stop_reason: str | int | float | None = None
    stop_sequence: str | None = None
    logprobs: Raw = Raw()
    usage: TokenUsage | None = None


class _Chunk(msgspec.Struct):
    """A chunk, or a whole body."""

    id: str | None = None
    model: str | None = None
    created: int | float | None = None
    choices: list[_Choice] | None = None
    usage: TokenUsage | None = None
    service_tier: str | None = None
    error: Raw = Raw()
    object: str | None = None


_NoText = Literal[""] | None
_NoList = Annotated[list[Raw], Meta(max_length=0)] | None


class _PlainMessage(msgspec.Struct):
    """A text, and nothing else that `_Delta` may hold."""

    content: Annotated[str, Meta(min_length=1)]
    reasoning_content: _NoText = None
    reasoning: _NoText = None
    reasoning_details: _NoList = None
    thinking_blocks: _NoList = None
    refusal: _NoText = None
    tool_calls: _NoList = None
    function_call: None = None
    annotations: _NoList = None


class _PlainChoice(msgspec.Struct):
    message: _PlainMessage
    finish_reason: Literal["stop", "length"]
    index: Literal[0] | None = None
    delta: None = None
    stop_reason: None = None
    stop_sequence: None = None
    logprobs: None = None
    usage: None = None


class _PlainBody(msgspec.Struct):
    """A whole body with one answer, and no more in it than a text: nearly all of them."""

    choices: Annotated[list[_PlainChoice], Meta(min_length=1, max_length=1)]
    id: str | None = None
    model: str | None = None
    created: int | None = None
    usage: TokenUsage | None = None
    service_tier: str | None = None
    error: None = None
    object: Literal["chat.completion"] | None = None


class _Citation(msgspec.Struct):
    url: str | None = None
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class _Call:
    """A tool call as its pieces come in; it opens with its name."""

    __slots__ = ("held", "id", "key", "name", "said")

    def __init__(self, key: object, call_id: str | None) -> None:
        self.key = key
        self.id = call_id
        self.held = ""
        self.name: str | None = None
        self.said = False  # arguments came


class _ChoiceReader:
    """What has to be remembered of one choice."""

    __slots__ = ("calls", "entry", "made", "plain", "refusal", "stopped", "text_block")

    def __init__(self) -> None:
        self.calls: dict[int, _Call] = {}
        self.made = 0  # calls, for their keys
        self.entry: Entry | None = None  # of reasoning_details, still growing
        self.plain: list[str] = []  # of reasoning_content, not yet sealed
        self.refusal: list[str] = []
        self.text_block: int | None = None
        self.stopped = False


class ChunkReader:
    """Reads one reply, from chunks or from a body.

    Args:
        back: what `write_call` did that has to be undone.
    """

    def __init__(self, back: Back) -> None:
        self.unknown = 0
        self._origin = back.origin
        self._scribe = Scribe(back)
        self._choices: dict[int, _ChoiceReader] = {}
        self._tier: str | None = None

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
        return self._scribe.close(self._tier)

    def read_body(self, body: bytes) -> list[Event]:
        """Read a whole body. A missing finish_reason is the end: the body is complete.

        Raises:
            UpstreamNonsense: it is no chat completion.
        """
        try:
            chunk = decode(body, _Chunk)
        except ValueError:
            raise UpstreamNonsense("the upstream's body is not a chat completion") from None
        if not (chunk.choices or _given(chunk.error) or chunk.object == "error"):
            raise UpstreamNonsense("the upstream's reply has no choices")
        if chunk.object == "error" and not _given(chunk.error):
            return self._scribe.fail(read_failure(body))
        return self._read_chunk(chunk) + self._done()

    def _done(self) -> list[Event]:
        """The terminator: a choice whose finish_reason never came has ended all the same."""
        if 0 not in self._choices and not self._scribe.ended:
            raise UpstreamNonsense(
                "the upstream's reply ended before its first choice said anything"
            )
        events: list[Event] = []
        if not self._scribe.ended:
            for number, choice in self._choices.items():
                events += self._stop(number, choice, None, None)
        return events + self._scribe.end(self._tier)

    def _read_odd(self, data: bytes) -> list[Event]:
        """Read data that is not one chunk: several documents in a row, or JSON of another shape."""
        try:
            found = documents(data)
        except ValueError:
            raise UpstreamNonsense("a frame of the upstream's stream is not JSON") from None
        events: list[Event] = []
        for one in found:
            if one == b"[DONE]":
                return [*events, *self._done()]
            try:
                chunk = decode(one, _Chunk)
            except ValueError:
                self.unknown += 1
            else:
                events += self._read_chunk(chunk)
        return events

    def _read_chunk(self, chunk: _Chunk) -> list[Event]:
        if _given(chunk.error):
            return self._scribe.fail(read_failure(chunk.error))
        if self._scribe.ended:
            self.unknown += 1
            return []
        self._tier = chunk.service_tier or self._tier
        events: list[Event] = []
        # Azure's first chunk has no choices and an empty id: it is not the start of the answer.
        if chunk.choices or chunk.usage:
            events += self._scribe.start(chunk.id, chunk.model, whole_count(chunk.created))
        for choice in chunk.choices or ():
            events += self._read_choice(choice)
            if choice.usage and not self._scribe.ended:  # where Moonshot puts it
                events += self._scribe.usage(read_usage(choice.usage))
        if chunk.usage and not self._scribe.ended:
            events += self._scribe.usage(read_usage(chunk.usage))
        return events

    def _read_choice(self, choice: _Choice) -> list[Event]:
        number = choice_number(choice.index)
        if number is None:
            self.unknown += 1
            return []
        state = self._choices.get(number)
        if state is None:
            state = self._choices[number] = _ChoiceReader()
        events: list[Event] = []
        delta = choice.delta or choice.message
        if delta is not None and state.stopped:
            self.unknown += delta != _EMPTY
        elif delta is not None:
            events = self._read_delta(number, state, delta, _given(choice.logprobs))
        word = choice.finish_reason
        if not word:
            return events
        if word in _BROKEN:
            failed = Fail(_BROKEN[word], "the upstream broke off its reply")
            return [*events, *self._scribe.fail(failed)]
        matched = choice.stop_sequence or choice.stop_reason
        return events + self._stop(number, state, word, matched)

    def _stop(
        self, number: int, state: _ChoiceReader, word: str | None, matched: str | float | None
    ) -> list[Event]:
        if state.stopped:
            return []
        state.stopped = True
        if state.calls:
            self.unknown += sum(call.name is None for call in state.calls.values())
        reason = _REASONS.get(word or "", "end")
        detail = "".join(state.refusal) or None
        sequence = matched if isinstance(matched, str) and reason == "end" else None
        if detail and reason == "end":
            reason = "refusal"
        elif sequence:
            reason = "stop_sequence"
        return self._seal(number, state) + self._scribe.stop(
            reason, number, sequence=sequence, detail=detail, word=word
        )

    def _read_delta(
        self, number: int, state: _ChoiceReader, delta: _Delta, logprobs: Raw | None
    ) -> list[Event]:
        events: list[Event] = []
        if (
            delta.reasoning_content or delta.reasoning
            or delta.reasoning_details or delta.thinking_blocks
        ):  # fmt: skip
            events = self._think(number, state, delta)
        if delta.content or (state.text_block is not None and logprobs and not delta.refusal):
            events += self._say(number, state, delta.content or "", logprobs)
            logprobs = None
        if delta.refusal:  # a body may have a text in front of it
            state.refusal.append(delta.refusal)
            events += self._seal(number, state)
            events += self._scribe.text("refusal", delta.refusal, number, logprobs)
        for place, call in enumerate(delta.tool_calls or ()):
            index = place if call.index is None else int(call.index)
            events += self._call(number, state, index, call)
        if delta.function_call is not None:
            # The deprecated single call: no id, no index.
            events += self._call(number, state, -1, _ToolCall(function=delta.function_call))
        for note in delta.annotations or ():
            events += self._note(state, note)
        self.unknown += delta.audio is not None
        return events

    def _say(
        self,
        number: int,
        state: _ChoiceReader,
        content: str | list[dict[str, Raw]],
        logprobs: Raw | None,
    ) -> list[Event]:
        events: list[Event] = []
        if isinstance(content, list):  # Mistral: text and thinking as parts
            for part in content:
                thought = part.get("thinking")
                text = part.get("text")
                if thought is not None:
                    pieces = "".join(piece.text for piece in decode(thought, list[_TextPart]))
                    events += self._think(number, state, _Delta(reasoning_content=pieces))
                elif text is not None:
                    events += self._say(number, state, decode(text, str), None)
                else:
                    self.unknown += 1
            return events
        events += self._seal(number, state)
        events += self._scribe.text("text", content, number, logprobs)
        state.text_block = self._scribe.running(number)
        return events

    def _think(self, number: int, state: _ChoiceReader, delta: _Delta) -> list[Event]:
        events: list[Event] = []
        said = False
        for item in delta.reasoning_details or delta.thinking_blocks or ():
            entry = state.entry
            if entry is None or not entry.goes_on(item):
                events += self._seal(number, state)
                entry = state.entry = Entry(item)
            piece = entry.add(item)
            said = said or bool(piece)
            events += self._scribe.text("thinking", piece, number)
        plain = delta.reasoning_content or delta.reasoning
        if plain and not said:  # servers that send both say the same twice
            if state.entry is not None:
                events += self._seal(number, state)
            state.plain.append(plain)
            events += self._scribe.text("thinking", plain, number)
        return events

    def _seal(self, number: int, state: _ChoiceReader) -> list[Event]:
        """Return the end of the thinking that ran, sealed so that it finds its way home."""
        if state.entry is None and not state.plain:
            return []  # nearly always
        made: Seal | None = None
        if state.entry is not None:
            made = state.entry.seal(self._origin)
            if made is None and state.entry.text:
                made = seal(self._origin, PLAIN, "{}", [state.entry.text])
        else:
            made = seal(self._origin, PLAIN, "{}", ["".join(state.plain)])
        state.entry = None
        state.plain.clear()
        return [] if made is None else self._scribe.seal(made, number)

    def _call(self, number: int, state: _ChoiceReader, index: int, piece: _ToolCall) -> list[Event]:
        custom = piece.custom is not None
        named = piece.custom or piece.function or _Named()
        arguments = named.input if custom else named.arguments
        if isinstance(arguments, dict):
            arguments = encode(arguments).decode()
        events = self._seal(number, state)
        call = state.calls.get(index)
        if call is None or self._is_another(call, piece, named, number):
            if call is not None:
                events += self._scribe.close_tool(call.key, number)
            call = state.calls[index] = _Call(state.made, piece.id or None)
            state.made += 1
        if call.name is None and named.name:
            call.name = named.name
            events += self._scribe.tool(
                call.key, named.name, piece.id or call.id, number,
                kind="freeform" if custom else "function",
            )  # fmt: skip
            arguments = call.held + (arguments or "")
        if not arguments:
            return events
        call.said = True
        if call.name is None:
            call.held += arguments
        elif self._scribe.has_tool(call.key, number):
            events += self._scribe.arguments(call.key, arguments, number)
        else:
            self.unknown += 1  # more arguments after complete ones
        return events

    def _is_another(self, call: _Call, piece: _ToolCall, named: _Named, choice: int) -> bool:
        """Whether a piece at a known index begins another call: by its id, without ids by a name.

        Some servers repeat the name with every piece: then it is another call once the arguments
        are complete.
        """
        if piece.id:
            return call.id is not None and piece.id != call.id
        if not named.name or call.name is None or call.id is not None or not call.said:
            return False
        return named.name != call.name or self._scribe.is_whole(call.key, choice)

    def _note(self, state: _ChoiceReader, item: dict[str, Raw]) -> list[Event]:
        try:
            cited = decode(item.get("url_citation", b""), _Citation)
        except ValueError:
            cited = None
        if cited is None or state.text_block is None:
            self.unknown += 1
            return []
        return [Note(
            state.text_block, cited.url, cited.title, None, cited.start_index, cited.end_index,
            CHAT, Raw(encode(item)),
        )]  # fmt: skip


def read_plain(body: bytes) -> list[Event] | None:
    """Return what `ChunkReader.read_body` does, at two fifths of its cost; None where more than a text was said."""
    plain = decode_fitting(body, _PlainBody)
    if plain is None:
        return None
    (choice,) = plain.choices
    word = choice.finish_reason
    return one_text(
        Start(plain.id or None, plain.model or None, whole_count(plain.created)),
        choice.message.content,
        Stop(_REASONS[word], word=word),
        read_usage(plain.usage) if plain.usage is not None else None,
        plain.service_tier or None,
    )


class _TextPart(msgspec.Struct):
    text: str = ""


_EMPTY = _Delta()


def _given(raw: Raw) -> Raw | None:
    return raw if raw and bytes(raw) != b"null" else None
