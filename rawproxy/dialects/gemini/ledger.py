"""What a call loses when it is written, and the fields of its own dialect that go back as they were.

Layer: dialects. Used by every writer of a request in `gemini`.
"""

from msgspec import Raw

from rawproxy.dialects.call import Call, Opaque, Part, Refusal, Thinking, Tool
from rawproxy.dialects.gemini.spelling import Item, camel
from rawproxy.dialects.losses import Loss, Why

__all__ = ["Ledger"]


class Ledger:
    """Keeps the losses of one call.

    Args:
        call: what is asked.
        own: it was read from this dialect, so that it goes back with every field it came with.
    """

    def __init__(self, call: Call, *, own: bool) -> None:
        self.own = own
        self._cache = call.names.get("cache", "cache_control")
        self._losses: dict[str, Why] = dict.fromkeys(call.unopened, "owned elsewhere")
        # path of an object in camelCase -> its fields that no part holds -> path, value
        self._extras: dict[str, dict[str, tuple[str, Raw]]] = {}
        for path, raw in call.extra.items():
            parent, _, name = path.rpartition(".")
            self._extras.setdefault(camel(parent), {})[name] = path, Raw(raw)

    def lose(self, path: str, why: Why = "no such thing there") -> None:
        """Note that `path` is not said; the first reason given stays."""
        self._losses.setdefault(path, why)

    def lose_cache(self, part: Part | Tool) -> None:
        """Note that a cache breakpoint has no place: the API finds what it can keep by itself."""
        if not isinstance(part, (Thinking, Refusal, Opaque)) and part.cache is not None:
            self.lose(f"{part.path}.{self._cache}")

    def whole(self, item: Item, path: str) -> Item:
        """Return `item` with the fields that the client had there and no part of a Call holds."""
        if not self.own:
            return item
        extras = self._extras.pop(camel(path), {})
        return item | {name: raw for name, (_, raw) in extras.items()}

    def close(self) -> list[Loss]:
        """Return the losses: what was noted, and every field that nobody wrote."""
        for extras in self._extras.values():
            for path, _ in extras.values():
                self.lose(path)
        return [Loss(path, why) for path, why in self._losses.items()]
