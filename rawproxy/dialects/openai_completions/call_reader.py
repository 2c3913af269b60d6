"""Requests of Completions, read.

Layer: dialects. The part of `openai_completions` that makes a Call.
Source: https://platform.openai.com/docs/api-reference/completions/create
"""

from msgspec import Raw

from rawproxy.dialects.call import Call, Identity, Sampling, Text, Turn
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.reading import Fields, decode
from rawproxy.errors import ClientError, WireError
from rawproxy.wire import splice

__all__ = ["COMPLETIONS", "CallReader", "count_prompts"]

COMPLETIONS = "openai_completions"
"""The dialect's name."""

_FIELDS = (
    # attribute of the call, field here
    ("limit", "max_tokens"), ("temperature", "temperature"), ("top_p", "top_p"),
    ("top_k", "top_k"), ("min_p", "min_p"), ("seed", "seed"),
    ("frequency_penalty", "frequency_penalty"), ("presence_penalty", "presence_penalty"),
    ("logit_bias", "logit_bias"), ("stop", "stop"), ("n", "n"), ("logprobs", "logprobs"),
    ("top_logprobs", "logprobs"), ("identity.user", "user"),
)  # fmt: skip

_NEUTRAL = {"echo": b"false", "best_of": b"1", "suffix": b'""'}
"""Values that change nothing about the answer, as their JSON."""

_Tokens = list[int]


def count_prompts(body: bytes) -> int:
    """Return how many prompts a request has, each of which gets answers of its own.

    Raises:
        ClientError: the body names `prompt` twice.
    """
    try:
        raw = splice.value(body, "prompt")
    except WireError as error:
        raise ClientError(f"the body cannot be read: {error}") from error
    if raw is None or not raw.startswith(b"["):
        return 1
    try:
        prompts = decode(raw, list[str | _Tokens])
    except ValueError:  # one prompt of token ids, or none at all
        return 1
    return max(1, len(prompts))


class CallReader:
    """Reads one request; keeps what no part of a Call has a place for.

    Args:
        body: the request.
        vault: the caller's.
    """

    def __init__(self, body: Fields, vault: Vault) -> None:
        self._body = body
        self._vault = vault
        self._names = body.named(_FIELDS)
        self._extra: dict[str, bytes] = {}

    def read(self) -> Call:
        """Return the call. ClientError names what is wrong with it."""
        body = self._body
        prompt, turns = self._prompt()
        likeliest = body.whole("logprobs")
        call = Call(
            COMPLETIONS, body.needed("model"), turns, stream=bool(body.flag("stream")),
            raw_prompt=prompt, limit=body.whole("max_tokens"),
            sampling=Sampling(
                body.number("temperature"), body.number("top_p"), body.whole("top_k"),
                body.number("min_p"), body.whole("seed"), body.number("frequency_penalty"),
                body.number("presence_penalty"), body.raw("logit_bias"),
            ),
            stop=self._stop(), n=body.whole("n") or 1, logprobs=likeliest is not None,
            top_logprobs=likeliest, identity=Identity(body.text("user")),
            wants_usage=self._wants_usage(), vault=self._vault,
        )  # fmt: skip
        self._extra |= {
            path: raw for path, raw in body.rest().items() if raw.strip() != _NEUTRAL.get(path)
        }
        call.extra, call.names = self._extra, self._names
        return call

    def _prompt(self) -> tuple[str | None, tuple[Turn, ...]]:
        """Return the prompt, if it is one text, and what it is as turns.

        Several prompts want several replies, and token ids mean nothing elsewhere: both stay in
        `extra`. So the turns of several prompts only serve to count their tokens.
        """
        if self._body.is_text("prompt"):
            prompt = self._body.needed("prompt")
            return prompt, (_turn(prompt, "prompt"),)
        raw = self._body.raw("prompt")
        if not raw:
            return None, ()
        try:
            prompts = decode(raw, list[str])
        except ValueError:
            self._extra["prompt"] = _token_ids(raw)
            return None, ()
        turns = tuple(_turn(prompt, f"prompt[{at}]") for at, prompt in enumerate(prompts))
        if len(prompts) == 1:
            return prompts[0], turns
        self._extra["prompt"] = bytes(raw)
        return None, turns

    def _stop(self) -> tuple[str, ...]:
        if self._body.is_text("stop"):
            return (self._body.needed("stop"),)
        return tuple(self._body.texts("stop") or ())

    def _wants_usage(self) -> bool:
        options = self._body.object("stream_options")
        if options is None:
            return False
        wanted = bool(options.flag("include_usage"))
        if wanted:
            self._names["wants_usage"] = "stream_options.include_usage"
        self._extra |= options.rest()
        return wanted


def _turn(prompt: str, path: str) -> Turn:
    return Turn("user", (Text(prompt, path),), path)


def _token_ids(raw: Raw) -> bytes:
    for kind in (_Tokens, list[str | _Tokens]):
        try:
            decode(raw, kind)
        except ValueError:
            continue
        return bytes(raw)
    raise ClientError("prompt: expected a string, strings or token ids", param="prompt")
