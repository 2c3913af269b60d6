"""Plain text: servers that take a prompt and stream nothing but the words of the answer.

Layer: dialects. Spoken by upstreams only. There is no standard; two forms are read:

    bare    any pieces of UTF-8; the end of the body is the end of the answer
    lines   one JSON document a line, of which one field is text (`text_field` of the upstream, a
            dotted path such as `choices.0.text`); a line that is a JSON string is text as it stands

What is sent is one JSON object: `model`, `prompt`, `stream`, and `max_tokens`, `temperature`,
`top_p` and `stop` where the client said them. Stop sequences are also kept here: a reply of a
server that does not know them is cut all the same.
"""

import re
from collections.abc import Iterator
from typing import NoReturn, assert_never

from msgspec import Raw

from rawproxy.dialects.base import (
    NOTHING_GIVEN,
    Back,
    Carry,
    ErrorReply,
    Given,
    Glance,
    Marking,
    Target,
    Written,
)
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.events import (
    Close,
    Delta,
    End,
    Event,
    Fail,
    Note,
    Open,
    Sealed,
    Start,
    Stop,
    Usage,
    Whole,
)
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.openai_shared import error_of, read_error, read_failure
from rawproxy.dialects.openai_shared import write_error as write_openai_error
from rawproxy.dialects.prompt import render_plain
from rawproxy.dialects.reading import decode, encode
from rawproxy.dialects.scribe import Scribe
from rawproxy.errors import ClientError, UpstreamNonsense
from rawproxy.wire import text
from rawproxy.wire.frame import Frame, Framing

__all__ = [
    "FRAMING", "KEEPALIVE_BEGINS", "MARKS", "MODEL_FIELD", "NAME", "REPLY_MODEL", "STREAM_END",
    "ask_usage", "glance", "grammar", "is_usage_only", "read_call", "read_error", "read_reply",
    "stream_reader", "stream_writer", "write_call", "write_error", "write_reply",
]  # fmt: skip

NAME = "plain_text"
FRAMING: Framing = text
MODEL_FIELD = "model"
REPLY_MODEL: tuple[str, ...] = ()
STREAM_END = b""
KEEPALIVE_BEGINS = False
MARKS: Marking = re.compile(rb"(?!)")

_NEUTRAL = {"frequency_penalty": 0, "presence_penalty": 0}


def _refuse() -> NoReturn:
    raise ClientError("plain_text is spoken by upstreams only")


def glance(body: bytes, given: Given) -> Glance:  # noqa: ARG001
    """Refuse: no client speaks plain text. ClientError."""
    _refuse()


def read_call(body: bytes, vault: Vault, given: Given = NOTHING_GIVEN) -> Call:  # noqa: ARG001
    """Refuse: no client speaks plain text. ClientError."""
    _refuse()


def write_call(call: Call, target: Target) -> Written:
    """Write a request: the conversation as one text, and the few options that every server has."""
    prompt, losses = render_plain(call)
    drawn = call.sampling
    options = {
        "max_tokens": call.limit, "temperature": drawn.temperature, "top_p": drawn.top_p,
        "stop": list(call.stop) or None,
    }  # fmt: skip
    body: dict[str, object] = {"model": target.model, "prompt": prompt}
    body |= {name: value for name, value in options.items() if value is not None}
    body["stream"] = call.stream
    losses += [Loss(path, "no such thing there") for path in _unsayable(call)]
    back = Back(target.origin, stops=call.stop, text_field=target.text_field)
    return Written(encode(body), losses, back)


def _unsayable(call: Call) -> Iterator[str]:
    """Yield the paths of what no field here says."""
    yield from (tool.path for tool in call.tools)
    drawn, asked, identity, choice = call.sampling, call.reasoning, call.identity, call.tool_choice
    thinks = asked.mode in ("on", "adaptive") or asked.effort not in (None, "none")
    said: dict[str, object] = {
        "tool_choice": choice and (choice.must or choice.mode in ("required", "one")),
        "top_k": drawn.top_k, "min_p": drawn.min_p, "seed": drawn.seed,
        "frequency_penalty": drawn.frequency_penalty, "presence_penalty": drawn.presence_penalty,
        "logit_bias": drawn.logit_bias or None, "reasoning": thinks or (asked.budget if asked.mode != "off" else None),
        "format": call.format, "verbosity": call.verbosity, "n": call.n if call.n > 1 else None,
        "logprobs": call.logprobs or None, "top_logprobs": call.top_logprobs,
        "cache.key": call.cache.key, "cache.retention": call.cache.retention,
        "cache.automatic": call.cache.automatic, "identity.user": identity.user,
        "identity.safety": identity.safety, "identity.metadata": identity.metadata or None,
        "tier": call.tier,
    }  # fmt: skip
    for attribute, value in said.items():
        if value is not None and value is not False and value != _NEUTRAL.get(attribute):
            yield call.names.get(attribute, attribute)
    yield from call.extra


def read_reply(body: bytes, back: Back) -> list[Event]:
    """Read a whole reply: all of it is text, or one JSON document, or several lines of them.

    Raises:
        UpstreamNonsense: it should be JSON and is not, or the text's field is nowhere in it.
    """
    reader = TextReader(back)
    if not back.text_field:
        return [*reader.read_text(body), *reader.close()]
    try:
        events = reader.read_line(body)
    except UpstreamNonsense:
        events = [event for line in body.splitlines() for event in reader.read_line(line)]
    if not (events or reader.found):
        raise UpstreamNonsense("the upstream's body has no text where its text should be")
    return [*events, *reader.close()]


class TextReader:
    """Reads one reply. Whatever comes is text; nothing that it says ends it but its end.

    Args:
        back: what `write_call` did that has to be undone, and where in a line its text is.
    """

    def __init__(self, back: Back) -> None:
        self.unknown = 0
        self.found = False
        """Whether a line held the text's field."""
        self._scribe = Scribe(back)
        self._way = back.text_field.split(".") if back.text_field else []

    def read(self, frame: Frame) -> list[Event]:
        """Return what a frame says; see `StreamReader`."""
        return self.read_line(frame.data) if self._way else self.read_text(frame.data)

    def close(self) -> list[Event]:
        """Return the end: the body is complete, so the reply is."""
        return [*self._scribe.stop("end"), *self._scribe.end()]

    def read_text(self, data: bytes) -> list[Event]:
        """Return text as it stands. Bytes that are no UTF-8 become U+FFFD."""
        return self._scribe.text("text", data.decode("utf-8", "replace"))

    def read_line(self, data: bytes) -> list[Event]:
        """Return the text in a JSON document.

        Raises:
            UpstreamNonsense: it is not JSON.
        """
        if not data.strip():
            return []
        try:
            line = decode(data, object)
        except ValueError:
            raise UpstreamNonsense("a line of the upstream's stream is not JSON") from None
        said = line if isinstance(line, str) else _follow(line, self._way)
        if isinstance(said, str):
            self.found = True
            return self._scribe.text("text", said)
        if isinstance(line, dict) and line.get("error"):
            return self._scribe.fail(read_failure(decode(data, dict[str, Raw])["error"]))
        self.unknown += not (isinstance(line, dict) and line.get("done") is True)
        return []


def _follow(value: object, way: list[str]) -> object:
    """Return what is found at the end of a path through objects and lists; None for nothing."""
    for step in way:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def write_reply(
    events: list[Event],
    call: Call,
    reply_id: str,
    now: int,
) -> tuple[bytes, list[Loss]]:
    """Write a whole reply: its text.

    Raises:
        UpstreamNonsense: the reply failed.
    """
    if any(isinstance(event, Fail) for event in events):
        raise UpstreamNonsense("the reply failed before it was whole")
    writer = stream_writer(call, reply_id, now)
    return b"".join([writer.write(event) for event in events]), writer.losses


class TextWriter:
    """Writes the text of one reply, and nothing else: the end of the bytes is its end.

    A refusal in words is text. A failure has no words: it shows in that the bytes break off.
    """

    def __init__(self) -> None:
        self.losses: list[Loss] = []
        self._blocks: dict[int, Open] = {}
        self._phase: object = None
        self._said = False
        self._over = False

    def write(self, event: Event) -> bytes:
        """Return the event's text; see `StreamWriter`."""
        if self._over:
            return b""
        match event:
            case Open():
                self._open(event)
            case Delta():
                return self._delta(event)
            case Note():
                self._lose("citations")
            case Whole(shows=shows):
                self._lose(shows)
            case Usage():
                self._lose("usage")
            case Stop(reason=reason):
                if reason not in ("end", "stop_sequence", "tools"):
                    self._lose("stop_reason")
            case End() | Fail():
                self._over = True
            case Start() | Sealed() | Close():
                pass
            case _:
                assert_never(event)
        return b""

    def carry(self, block: int) -> Carry | None:  # noqa: ARG002
        """Return None: text is not JSON."""
        return None

    def keepalive(self) -> bytes:
        """Return nothing: every byte would be text."""
        return b""

    def joined(self) -> None:
        """Learn nothing: text has no beginning."""

    def _lose(self, what: str | None) -> None:
        loss = Loss(f"reply.{what}", "no such thing there")
        if loss not in self.losses:
            self.losses.append(loss)

    def _open(self, opened: Open) -> None:
        if opened.seal is not None:
            self._lose("seal")
        if opened.choice:
            self._lose("choices")
        elif opened.kind in ("text", "refusal"):
            self._blocks[opened.block] = opened
        else:
            self._lose(opened.name if opened.kind == "tool" else opened.kind)

    def _delta(self, delta: Delta) -> bytes:
        opened = self._blocks.get(delta.block)
        if opened is None:
            return b""
        if delta.logprobs:
            self._lose("logprobs")
        said = delta.text.encode("utf-8", "replace")
        phase = (opened.kind, opened.phase)
        if said and self._said and phase != self._phase:
            said = b"\n\n" + said
        if said:
            self._said, self._phase = True, phase
        return said


def stream_reader(back: Back) -> TextReader:
    """Return a reader for one stream."""
    return TextReader(back)


def stream_writer(call: Call, reply_id: str, now: int) -> TextWriter:  # noqa: ARG001
    """Return a writer for one stream."""
    return TextWriter()


def write_error(fail: Fail) -> ErrorReply:
    """Return the HTTP response that says `fail`: its message as text."""
    return ErrorReply(write_openai_error(fail).status, str(error_of(fail)["message"]).encode())


def ask_usage(body: bytes) -> bytes | None:  # noqa: ARG001
    """Return None: nothing makes text tell its usage."""
    return None


def is_usage_only(frame: Frame) -> bool:  # noqa: ARG001
    """Return False: no frame is there for usage alone."""
    return False


class TextGrammar:
    """Checks one stream. All that can be wrong with text is its coding."""

    def check(self, frame: Frame) -> list[str]:
        """Return the rules that `frame` breaks; see `Grammar`."""
        try:
            frame.data.decode()
        except UnicodeDecodeError:
            return ["text: it is not UTF-8"]
        return []

    def close(self) -> list[str]:
        """Return nothing: text may end anywhere."""
        return []


def grammar() -> TextGrammar:
    """Return a checker for one stream."""
    return TextGrammar()
