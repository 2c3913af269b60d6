"""Requests of text completions, written.

Layer: dialects. The part of `anthropic_complete` that writes a Call; `transcript` has the prompt.
Source: https://platform.claude.com/docs/en/api/complete
"""

from collections.abc import Iterator

from msgspec import Raw

from rawproxy.dialects.anthropic_complete.call_reader import COMPLETE, IMPLIED
from rawproxy.dialects.anthropic_complete.transcript import HUMAN, write_prompt
from rawproxy.dialects.base import Back, Target, Written
from rawproxy.dialects.call import Call
from rawproxy.dialects.losses import Loss, Why
from rawproxy.dialects.making import Item, said
from rawproxy.dialects.narrowing import short_user
from rawproxy.dialects.reading import encode
from rawproxy.errors import Untranslatable

__all__ = ["write_call"]

LONGEST_USER = 256
"""Characters of an end-user id."""

_NEUTRAL = {"temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0}
_METADATA = "metadata."


def write_call(call: Call, target: Target) -> Written:
    """Write a request. Into its own dialect a call goes back as it came, field by field."""
    if call.dialect == COMPLETE:
        return Written(encode(_own_body(call, target)), [], Back(target.origin))
    writer = _CallWriter(call, target)
    body = encode(writer.body())
    losses = [Loss(path, why) for path, why in writer.losses.items()]
    return Written(body, losses, Back(target.origin, stops=writer.kept, continues=call.prefill))


def _own_body(call: Call, target: Target) -> Item:
    """Return the body with every field as the client gave it."""
    drawn = call.sampling
    stops = [*([HUMAN] if IMPLIED in call.names else ()), *call.stop]
    metadata = said(user_id=call.identity.user) | {
        path.removeprefix(_METADATA): Raw(raw)
        for path, raw in call.extra.items()
        if path.startswith(_METADATA)
    }
    body = said(
        model=target.model, prompt=call.raw_prompt, max_tokens_to_sample=call.limit,
        stop_sequences=stops or None, stream=call.stream or None, temperature=drawn.temperature,
        top_p=drawn.top_p, top_k=drawn.top_k, metadata=metadata or None,
    )  # fmt: skip
    others = {p: Raw(raw) for p, raw in call.extra.items() if not p.startswith(_METADATA)}
    return body | others


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
        prompt, losses = write_prompt(call)
        self.losses = {loss.path: loss.why for loss in losses}
        user = call.identity.user or call.identity.safety
        body = said(
            model=self._target.model, prompt=prompt,
            max_tokens_to_sample=takes.limit if call.limit is None else call.limit,
            stop_sequences=self._stop() or None, stream=call.stream or None,
            metadata={"user_id": short_user(user, LONGEST_USER)} if user else None,
        )  # fmt: skip
        for attribute, value in self._unsayable():
            if value is not None and value is not False and value != _NEUTRAL.get(attribute):
                self._lose(attribute)
        for path in (*(tool.path for tool in call.tools), *call.extra):
            self.losses.setdefault(path, "no such thing there")
        return body | self._sampling()

    def _lose(self, attribute: str, why: Why = "no such thing there") -> None:
        self.losses.setdefault(self._call.names.get(attribute, attribute), why)

    def _stop(self) -> list[str]:
        """Return the stop sequences; the API refuses those of white space only."""
        asked = [stop for stop in self._call.stop if stop != HUMAN]
        told = [stop for stop in asked if stop.strip() and self._target.takes.stop]
        self.kept = tuple(stop for stop in asked if stop not in told)
        return told

    def _sampling(self) -> Item:
        drawn = self._call.sampling
        values = said(temperature=drawn.temperature, top_p=drawn.top_p, top_k=drawn.top_k)
        if not self._target.takes.sampling:
            for name, value in values.items():
                if value != _NEUTRAL.get(name):
                    self._lose(name, "not this model")
            return {}
        if drawn.temperature is not None and drawn.temperature > 1:
            self._lose("temperature", "narrower there")
            values["temperature"] = 1
        return values

    def _unsayable(self) -> Iterator[tuple[str, object]]:
        """Yield what this dialect has no field for: attribute, value."""
        call, drawn = self._call, self._call.sampling
        asked, choice, identity = call.reasoning, call.tool_choice, call.identity
        thinks = asked.mode in ("on", "adaptive") or asked.effort not in (None, "none")
        yield "reasoning", thinks or (asked.budget if asked.mode != "off" else None)
        yield "tool_choice", choice and (choice.must or choice.mode in ("required", "one"))
        yield "min_p", drawn.min_p
        yield "seed", drawn.seed
        yield "frequency_penalty", drawn.frequency_penalty
        yield "presence_penalty", drawn.presence_penalty
        yield "logit_bias", drawn.logit_bias or None
        yield "format", call.format
        yield "verbosity", call.verbosity
        yield "n", call.n if call.n > 1 else None
        yield "logprobs", call.logprobs
        yield "top_logprobs", call.top_logprobs
        yield "cache.key", call.cache.key
        yield "cache.retention", call.cache.retention
        yield "cache.automatic", call.cache.automatic
        yield "identity.safety", identity.safety if identity.user else None
        yield "identity.metadata", identity.metadata or None
        yield "tier", call.tier
