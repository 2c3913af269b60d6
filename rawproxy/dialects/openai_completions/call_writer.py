"""Requests of Completions, written.

Layer: dialects. The part of `openai_completions` that writes a Call: a conversation becomes one
text, see `rawproxy.dialects.prompt`.
Source: https://platform.openai.com/docs/api-reference/completions/create
"""

from collections.abc import Iterator

from msgspec import Raw

from rawproxy.dialects.base import Back, Target, Written
from rawproxy.dialects.call import Call
from rawproxy.dialects.losses import Loss, Why
from rawproxy.dialects.making import Item, said
from rawproxy.dialects.narrowing import short_user
from rawproxy.dialects.openai_completions.call_reader import COMPLETIONS
from rawproxy.dialects.prompt import render_plain
from rawproxy.dialects.reading import encode
from rawproxy.errors import Untranslatable

__all__ = ["write_call"]

MOST_STOPS = 4
"""Stop sequences; those that follow are kept here."""

MOST_LIKELIEST = 5
"""Tokens whose log probabilities are told in the place of each one."""

LONGEST_USER = 128
"""Characters of an end-user id."""

_NEUTRAL = {"temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0}
_OPTIONS = "stream_options."


def write_call(call: Call, target: Target) -> Written:
    """Write a request. Into its own dialect a call goes back as it came, field by field."""
    if call.dialect == COMPLETIONS:
        return Written(encode(_own_body(call, target)), [], Back(target.origin))
    writer = _CallWriter(call, target)
    body = encode(writer.body())
    losses = [Loss(path, why) for path, why in writer.losses.items()]
    return Written(body, losses, Back(target.origin, stops=writer.kept))


def _stream(call: Call) -> Item:
    """Return what asks for a stream, with its usage."""
    return {"stream": True, "stream_options": {"include_usage": True}} if call.stream else {}


def _own_body(call: Call, target: Target) -> Item:
    """Return the body with every field as the client gave it."""
    drawn = call.sampling
    body: Item = {"model": target.model, "prompt": call.raw_prompt} | _stream(call)
    body |= said(
        max_tokens=call.limit, temperature=drawn.temperature, top_p=drawn.top_p,
        top_k=drawn.top_k, min_p=drawn.min_p, seed=drawn.seed,
        frequency_penalty=drawn.frequency_penalty, presence_penalty=drawn.presence_penalty,
        logit_bias=drawn.logit_bias or None, stop=list(call.stop) or None,
        n=call.n if call.n > 1 else None, logprobs=call.top_logprobs, user=call.identity.user,
    )  # fmt: skip
    options = {
        path.removeprefix(_OPTIONS): Raw(raw)
        for path, raw in call.extra.items()
        if path.startswith(_OPTIONS)
    }
    if options:
        asked = {"include_usage": True} if call.stream else {}
        body["stream_options"] = asked | options
    for path, raw in call.extra.items():
        if not path.startswith(_OPTIONS):
            body[path] = Raw(raw)
    return body


class _CallWriter:
    """Writes a call of another dialect.

    Args:
        call: what to write.
        target: whom for.
    """

    def __init__(self, call: Call, target: Target) -> None:
        self._call = call
        self._target = target
        self.losses: dict[str, Why] = {}
        self.kept: tuple[str, ...] = ()
        """Stop sequences that the upstream is not told."""

    def body(self) -> Item:
        """Return the body."""
        call, takes = self._call, self._target.takes
        if call.prefill and not takes.prefill:
            message = "the upstream of this model cannot continue an assistant turn"
            raise Untranslatable(message, param=call.turns[-1].path)
        prompt, losses = render_plain(call)
        self.losses = {loss.path: loss.why for loss in losses}
        body: Item = {"model": self._target.model, "prompt": prompt} | _stream(call)
        user = call.identity.user
        body |= said(
            # Without a number, this API makes 16 tokens: nobody who did not say so wants that.
            max_tokens=takes.limit if call.limit is None else call.limit,
            stop=self._stop() or None, n=call.n if call.n > 1 else None,
            logprobs=self._logprobs(), user=user and short_user(user, LONGEST_USER),
        )  # fmt: skip
        for attribute, value in self._unsayable():
            if value is not None and value is not False:
                self._lose(attribute)
        for path in (*(tool.path for tool in call.tools), *call.extra):
            self.losses.setdefault(path, "no such thing there")
        return body | self._sampling()

    def _lose(self, attribute: str, why: Why = "no such thing there") -> None:
        self.losses.setdefault(self._call.names.get(attribute, attribute), why)

    def _stop(self) -> list[str]:
        told = self._call.stop[:MOST_STOPS] if self._target.takes.stop else ()
        self.kept = self._call.stop[len(told) :]
        return list(told)

    def _logprobs(self) -> int | None:
        if not self._call.logprobs:
            return None
        wanted = self._call.top_logprobs or 0
        if wanted > MOST_LIKELIEST:
            self._lose("top_logprobs", "narrower there")
        return min(wanted, MOST_LIKELIEST)

    def _sampling(self) -> Item:
        drawn = self._call.sampling
        values = said(
            temperature=drawn.temperature, top_p=drawn.top_p, seed=drawn.seed,
            frequency_penalty=drawn.frequency_penalty, presence_penalty=drawn.presence_penalty,
            logit_bias=drawn.logit_bias or None,
        )  # fmt: skip
        if self._target.takes.sampling:
            return values
        for name, value in values.items():
            if value != _NEUTRAL.get(name):
                self._lose(name, "not this model")
        return {}

    def _unsayable(self) -> Iterator[tuple[str, object]]:
        """Yield what this dialect has no field for: attribute, value."""
        call, asked, choice = self._call, self._call.reasoning, self._call.tool_choice
        thinks = asked.mode in ("on", "adaptive") or asked.effort not in (None, "none")
        yield "reasoning", thinks or (asked.budget if asked.mode != "off" else None)
        yield "tool_choice", choice and (choice.must or choice.mode in ("required", "one"))
        yield "top_k", call.sampling.top_k
        yield "min_p", call.sampling.min_p
        yield "format", call.format
        yield "verbosity", call.verbosity
        yield "cache.key", call.cache.key
        yield "cache.retention", call.cache.retention
        yield "cache.automatic", call.cache.automatic
        yield "identity.safety", call.identity.safety
        yield "identity.metadata", call.identity.metadata or None
        yield "tier", call.tier
