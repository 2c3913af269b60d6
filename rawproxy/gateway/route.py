"""Where a call may go: the asked-for model name to ordered candidates.

Layer: gateway. Routes are tried first (globs, first match wins), then an exact `upstream/model`.
"""

import re
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache

import msgspec

from rawproxy.errors import NotFound
from rawproxy.gateway.providers import Upstream

__all__ = ["Candidate", "Route", "Router"]


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[routes]]`: a glob on the asked-for name, and `upstream/model` in the order to try.

    `*` as the model is the asked-for name.
    """

    model: str
    to: tuple[str, ...]


class Candidate(msgspec.Struct, frozen=True, dict=True):
    """One place a call may go to: an upstream, and the model's name there."""

    upstream: Upstream
    model: str

    @cached_property
    def name(self) -> str:
        """`upstream/model`, as it is shown to clients."""
        return f"{self.upstream.name}/{self.model}"

    @cached_property
    def shown(self) -> bytes:
        """The same as a field value: the client chose the model, so it may hold anything."""
        return _INVISIBLE.sub("?", self.name[:200]).encode()


_INVISIBLE = re.compile(r"[^!-~]")


MOST_REMEMBERED = 256
"""Names of models whose candidates are remembered: callers ask for few, and for those all the time."""


class Router:
    """Finds the candidates of a model name."""

    def __init__(self, routes: tuple[Route, ...], upstreams: dict[str, Upstream]) -> None:
        self._routes = routes
        self._upstreams = upstreams
        self._found = lru_cache(MOST_REMEMBERED)(self._find)

    def find(self, model: str) -> list[Candidate]:
        """Return where `model` may be asked, best first.

        Raises:
            NotFound: nothing serves it; the message lists what there is.
        """
        return list(self._found(model))

    def _find(self, model: str) -> tuple[Candidate, ...]:
        for route in self._routes:
            if fnmatchcase(model, route.model):
                return tuple(self._candidate(to, model) for to in route.to)
        upstream, slash, name = model.partition("/")
        if slash and name and upstream in self._upstreams:
            return (self._candidate(model, name),)
        listed = ", ".join(self.names()) or "nothing yet"
        raise NotFound(
            f"the model `{model[:100]}` is not served here; there is: {listed}",
            param="model", code="model_not_found",
        )  # fmt: skip

    def names(self) -> list[str]:
        """Return what may be asked for: route globs, then each upstream's own names."""
        named = [route.model for route in self._routes]
        for upstream in self._upstreams.values():
            own = [*upstream.models, *upstream.serves] or ["*"]
            named += [f"{upstream.name}/{model}" for model in own]
        return list(dict.fromkeys(named))

    def _candidate(self, to: str, asked: str) -> Candidate:
        upstream_name, _, model = to.partition("/")
        upstream = self._upstreams[upstream_name]
        model = asked if model == "*" else model
        return Candidate(upstream, upstream.models.get(model, model))
