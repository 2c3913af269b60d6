"""The embedded engine: a small language model that needs no download, and says what it is.

Layer: engines. Knows calls, events and the clock of trio. Starts no task and opens no file of the
machine's; what it learnt comes with the package (`rawproxy.engines.language`).

It writes text, one token after another, as `dialects/events.py` asks: it has no tools, keeps to no
format and sees no pictures. Tools that a call merely offers are counted and not used. What it could
only pretend to do is refused with a Fail that says so, before Start.
"""

import random
from collections.abc import AsyncGenerator, Iterable, Iterator

import trio
from msgspec import Raw

from rawproxy.dialects.call import (
    Audio,
    Base64,
    Call,
    Document,
    File,
    Image,
    Inline,
    Opaque,
    Part,
    Refusal,
    SearchResult,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Url,
    Video,
)
from rawproxy.dialects.events import Close, Delta, End, Event, Fail, Open, Start, Stop, Usage
from rawproxy.dialects.stop import StopFilter
from rawproxy.engines.language import ORDER, Language, draw, embedded

__all__ = ["DEFAULT_LIMIT", "LONGEST_INPUT", "LONGEST_STOPS", "NgramEngine"]

DEFAULT_LIMIT = 256
"""Tokens of a reply whose call names no limit. Its paragraphs end after about 65."""

LONGEST_INPUT = 2**20
"""Characters of a call. Counting its tokens holds up all other streams: at 2 to 20 MB a second."""

LONGEST_STOPS = 4096
"""Characters of all stop sequences together: each may cost a step for each character written."""

_TAIL = 256
"""Characters at the end of a prompt that surely hold its last `ORDER - 1` tokens."""


class NgramEngine:
    """The model `ngram`, paced like a larger one.

    Args:
        tokens_per_second: how fast it writes; 0 is as fast as it can.
        first_token_seconds: seconds before the first token.
        seed: makes the replies to calls without a seed of their own reproducible, as a sequence;
            None: they differ in every process.
    """

    models: tuple[str, ...] = ("ngram",)

    def __init__(
        self,
        tokens_per_second: float = 60.0,
        first_token_seconds: float = 0.05,
        *,
        seed: int | None = None,
    ) -> None:
        self._gap = 1 / tokens_per_second if tokens_per_second else 0.0
        self._first = first_token_seconds
        self._dice = _dice(seed)

    def count_tokens(self, call: Call) -> int:
        """Return the tokens of all text in `call`, its tools and schemas included."""
        return sum(map(embedded().tokenizer.count, _texts(call)))

    async def generate(self, call: Call, model: str) -> AsyncGenerator[Event, None]:
        """Yield the reply to `call`, its choices one after the other.

        Each token is drawn when it is due, by the clock since the call: a reader that was slow
        gets the tokens it missed at once. See `rawproxy.gateway.engine.Engine`.
        """
        begun = trio.current_time() + self._first
        fail = _refuse(call, model)
        if fail is not None:
            await trio.lowlevel.checkpoint()
            yield fail
            return
        used, drawn, written = self.count_tokens(call), 0, 0
        yield Start(model=model)
        # Some dialects tell the input before the first token.
        yield Usage(used, 0)
        seed = call.sampling.seed
        dice = _dice(self._dice.getrandbits(64) if seed is None else seed)
        for number in range(call.n):
            choice = _Choice(embedded(), call, number, dice)
            yield Open(number, "text", number)
            while choice.stop is None:
                await trio.sleep_until(begun + drawn * self._gap)
                drawn += 1
                if text := choice.step():
                    yield Delta(number, text)
            written += choice.tokens
            yield Close(number)
            yield Usage(used, written)
            yield choice.stop
        yield End()


class _Choice:
    """One text in the writing. `tokens` counts what was drawn, without the end of the text."""

    def __init__(self, language: Language, call: Call, number: int, dice: random.Random) -> None:
        prompt, continued = _prompt(call)
        context = language.tokenizer.encode(continued[-_TAIL:])
        self.tokens = 0
        self.stop: Stop | None = None
        self._language = language
        self._topic = language.topic(prompt)
        self._context = context or [language.end]
        self._number, self._dice, self._sampling = number, dice, call.sampling
        self._filter = StopFilter(call.stop)
        self._limit = DEFAULT_LIMIT if call.limit is None else call.limit
        if self._limit <= 0:
            self.stop = Stop("length", number)

    def step(self) -> str:
        """Draw a token; return the text that may go out now. The last one sets `stop`."""
        language = self._language
        weights = language.weights(self._context, self._topic, may_end=self.tokens > 0)
        token = draw(weights, self._sampling, self._dice)
        if token == language.end:
            self.stop = Stop("end", self._number)
            return self._filter.close()
        self.tokens += 1
        self._context = [*self._context, token][1 - ORDER :]
        text = self._filter.feed(language.tokenizer.decode([token]))
        if self._filter.hit is not None:
            self.stop = Stop("stop_sequence", self._number, self._filter.hit)
        elif self.tokens >= self._limit:
            self.stop = Stop("length", self._number)
            text += self._filter.close()
        return text


def _prompt(call: Call) -> tuple[str, str]:
    """Return the text that says what to write about, and the text to go on from (or none)."""
    if call.raw_prompt is not None:
        return call.raw_prompt, call.raw_prompt
    users = [turn for turn in call.turns if turn.role == "user"]
    prompt = " ".join(_texts_of(users[-1].parts)) if users else ""
    if call.prefill and call.turns:
        return prompt, " ".join(_texts_of(call.turns[-1].parts))
    return prompt, ""


def _refuse(call: Call, model: str) -> Fail | None:
    """Return what the engine cannot do of `call`; None when it can do it all."""
    choice = call.tool_choice
    if model not in NgramEngine.models:
        named = ", ".join(NgramEngine.models)
        return Fail("not_found", f"the embedded engine has one model: {named}", "model_not_found")
    if call.format is not None:
        return _invalid("keep to a response format", call.names.get("format"))
    if choice is not None and (choice.mode in ("required", "one") or choice.must):
        return _invalid("call tools, so none can be required", call.names.get("tool_choice"))
    for part in _flat(part for turn in call.turns for part in turn.parts):
        match part:
            case Image() | Audio() | Video() | Document(source=Base64() | Url() | File()):
                return _invalid("read images, sound, video or files", part.path or None)
    if sum(map(len, call.stop)) > LONGEST_STOPS:
        what = f"look for stop sequences of more than {LONGEST_STOPS} characters together"
        return _invalid(what, call.names.get("stop"))
    if sum(map(len, _texts(call))) > LONGEST_INPUT:
        message = f"the embedded model reads at most {LONGEST_INPUT} characters"
        return Fail("overflow", message)
    return None


def _invalid(what: str, param: str | None) -> Fail:
    return Fail("invalid", f"the embedded model cannot {what}", param=param)


def _texts(call: Call) -> Iterator[str]:
    """Yield all text of `call`; JSON that has no meaning to us is text too."""
    if call.raw_prompt is not None:
        yield call.raw_prompt
    else:
        for turn in call.turns:
            yield from _texts_of(turn.parts)
    for tool in call.tools:
        yield from (tool.name, tool.description or "")
        yield from map(_text, (tool.schema, tool.grammar, tool.raw))
    if call.format is not None:
        yield from (call.format.name or "", call.format.description or "")
        yield _text(call.format.schema)


def _texts_of(parts: Iterable[Part]) -> Iterator[str]:
    for part in _flat(parts):
        match part:
            case Text() | Thinking() | Refusal():
                yield part.text
            case Document(source=source):
                yield from (part.title or "", part.context or "")
                if isinstance(source, Inline):
                    yield source.text or ""
            case SearchResult():
                yield from (part.title, part.source, *part.texts)
            case ToolCall():
                yield from (part.name, part.arguments)
            case Opaque():
                yield _text(part.raw)


def _flat(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield `parts`, and after a result or document those inside it."""
    for part in parts:
        yield part
        match part:
            case ToolResult(parts=inner) | Document(source=Inline(parts=inner)):
                yield from _flat(inner)


def _text(raw: Raw) -> str:
    return bytes(raw).decode("utf-8", "replace")


def _dice(seed: int | None) -> random.Random:
    return random.Random(seed)  # noqa: S311 - it draws words, and has to be reproducible
