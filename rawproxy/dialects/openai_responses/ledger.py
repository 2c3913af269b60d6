"""What a call loses when it is written, and the fields of its own dialect that go back as they were.

Layer: dialects. Used by every writer of a request in `openai_responses`.
"""

from msgspec import Raw

from rawproxy.dialects.call import Call
from rawproxy.dialects.losses import Loss, Why
from rawproxy.dialects.making import Item, said

__all__ = ["Item", "Ledger", "said"]


class Ledger:
    """Keeps the losses of one call.

    Args:
        call: what is asked.
        own: it was read from this dialect, so that it goes back with every field it came with.
    """

    def __init__(self, call: Call, *, own: bool) -> None:
        self.own = own
        self._losses: dict[str, Why] = dict.fromkeys(call.unopened, "owned elsewhere")
        self._extras: dict[str, Item] = {}  # path of an object -> its fields that no part holds
        for path, raw in call.extra.items():
            parent, _, name = path.rpartition(".")
            self._extras.setdefault(parent, {})[name] = Raw(raw)

    def lose(self, path: str, why: Why = "no such thing there") -> None:
        """Note that `path` is not said; the first reason given stays."""
        self._losses.setdefault(path, why)

    def whole(self, item: Item, path: str) -> Item:
        """Return `item` with the fields that the client had there and no part of a Call holds.

        What has no path did not come from the client, and has none.
        """
        return item | self._extras.pop(path, {}) if self.own and path else item

    def body(self, item: Item) -> Item:
        """Return the body with the fields that no part of a Call holds."""
        return item | self._extras.pop("", {}) if self.own else item

    def close(self) -> list[Loss]:
        """Return the losses: what was noted, and every field that nobody wrote."""
        for parent, fields in self._extras.items():
            for name in fields:
                self.lose(f"{parent}.{name}" if parent else name)
        return [Loss(path, why) for path, why in self._losses.items()]
