"""Which key an attempt uses, and how long a key that failed must rest.

Layer: gateway. Time is an argument (`now`, seconds on any steady clock).

A key is in one of three states, and `note` moves it:

    ready    --limited-->          resting   until `rest_until`
    ready    --forbidden-->        resting   for that one model
    ready    --denied---------->   dead      until the configuration is reloaded
    resting  --time passes----->   ready

A key whose secret is fetched (`is_fetched`) rests until there is one, and a new one wakes it from all
that was learnt of the one before.

A pool picks the ready key that was used longest ago, so that concurrent calls spread.
"""

import enum
import math
from collections.abc import Collection
from dataclasses import dataclass, field

__all__ = [
    "CHAINS",
    "FIRST_REST",
    "FORBIDDEN_REST",
    "LONGEST_BELIEVED",
    "LONGEST_REST",
    "Key",
    "KeyPool",
    "Outcome",
    "Secret",
    "is_fetched",
    "without_secret",
]

FIRST_REST = 5.0
"""Seconds a limited key rests where the upstream named no time; doubled each time in a row."""

LONGEST_REST = 60.0
"""Seconds. The large APIs count their rate limits per minute. A time that the upstream names may be longer."""

LONGEST_BELIEVED = 3600.0
"""Seconds of a `Retry-After` that a key rests: a slip of the upstream must not cost it for ever."""

FORBIDDEN_REST = 600.0
"""Seconds a key rests for a model that it may not use: rights change rarely, but they do."""

CHAINS = {"aws:": "bedrock", "google:": "vertex"}
"""Words in place of a secret, and whose they are: the vendor's library looks where it always does."""


MOST_LIMITS = 10
"""Where the count of limits in a row stops: long after LONGEST_REST, before 2 to its power is no float."""


class Secret(str):
    """A string that is never printed whole.

    `str()`, `repr()` and every format give a hint. `"Bearer " + secret` and `secret.encode()` give
    the real text, at the one place that sends it.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Secret('...{self[-4:]}')" if len(self) > 12 else "Secret('...')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)


SHORTEST_HIDDEN = 8
"""Characters. What is shorter is no credential, and would be found in words that are none."""


def without_secret(data: bytes, secret: Secret) -> bytes:
    """Return what an upstream said, with `[key]` wherever it quotes a secret of ours, or a part between `:`."""
    for part in (secret, *secret.split(":")):
        if len(part) >= SHORTEST_HIDDEN:
            data = data.replace(part.encode(), b"[key]")
    return data


def is_fetched(provider: str, secret: Secret) -> bool:
    """Return whether `secret` is none that `provider` takes itself, but what one is fetched with.

    That is a word of CHAINS, or the JSON object of a service account of Google's.
    """
    if secret in CHAINS:
        return CHAINS[secret] == provider
    return provider == "vertex" and secret.startswith("{")


class Outcome(enum.Enum):
    """How an attempt ended, as far as its key is concerned."""

    OK = enum.auto()
    LIMITED = enum.auto()
    FORBIDDEN = enum.auto()
    DENIED = enum.auto()
    NOT_THE_KEY = enum.auto()


@dataclass(slots=True, eq=False)
class Key:
    """One credential of one upstream."""

    secret: Secret
    used_at: float = float("-inf")
    rest_until: float = float("-inf")
    resting_models: dict[str, float] = field(default_factory=dict)
    limits_in_a_row: int = 0
    dead: bool = False

    def note(
        self, outcome: Outcome, now: float, *, model: str = "", retry_after: float | None = None
    ) -> None:
        """Learn from an attempt that ended at `now`.

        Args:
            outcome: how it ended.
            now: seconds.
            model: what was asked of the upstream.
            retry_after: seconds the upstream asked for, if it did. Believed, up to LONGEST_BELIEVED.
        """
        match outcome:  # NOT_THE_KEY teaches nothing
            case Outcome.OK:
                self.limits_in_a_row = 0
            case Outcome.DENIED:
                self.dead = True
            case Outcome.FORBIDDEN:
                resting = {name: at for name, at in self.resting_models.items() if at > now}
                self.resting_models = resting | {model: now + FORBIDDEN_REST}
            case Outcome.LIMITED:
                rest = min(FIRST_REST * 2**self.limits_in_a_row, LONGEST_REST)
                self.limits_in_a_row = min(self.limits_in_a_row + 1, MOST_LIMITS)
                wanted = rest if retry_after is None else min(retry_after, LONGEST_BELIEVED)
                self.rest_until = now + wanted

    def await_renewal(self) -> None:
        """Rest until `renew`."""
        self.rest_until = float("inf")

    def renew(self, secret: Secret) -> None:
        """Use a secret that was fetched. Limits are the account's: they stay with a new one."""
        if self.rest_until == float("inf"):
            self.rest_until = float("-inf")
        if secret != self.secret:
            self.secret = secret
            self.dead = False
            self.resting_models = {}

    def ready_at(self, model: str) -> float:
        """Return when it may be used for `model`; `inf` when it is dead."""
        if self.dead:
            return math.inf
        if not self.resting_models:
            return self.rest_until
        return max(self.rest_until, self.resting_models.get(model, -math.inf))


class KeyPool:
    """The keys of one upstream. An upstream without keys has one empty key."""

    def __init__(self, keys: list[Key]) -> None:
        self.keys = keys

    def pick(self, now: float, model: str = "", tried: Collection[Key] = ()) -> Key | float:
        """Return a ready key that is not among `tried`, or the time (seconds) when one will be.

        `inf` when there is none to wait for: all are dead, or were tried.
        """
        picked: Key | None = None
        soonest = math.inf
        for key in self.keys:
            if key in tried:
                continue
            at = key.ready_at(model)
            if at > now:
                soonest = min(soonest, at)
            elif picked is None or key.used_at < picked.used_at:
                picked = key
        if picked is None:
            return soonest
        picked.used_at = now
        return picked
