"""How much memory the request bodies of all connections may take together.

Layer: gateway. Counts; holds nothing and waits for nothing.
"""

from types import TracebackType

from rawproxy.errors import HttpError

__all__ = ["RETRY_SECONDS", "Room", "Share"]

RETRY_SECONDS = 1.0
"""What a client is told to wait: bodies come and go within seconds."""


class Room:
    """Counts the bytes of request bodies in memory, from their arrival to the end of their exchange.

    Args:
        most: `server.limits.bodies_bytes`.

    Attributes:
        taken: bytes.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0

    def share(self) -> "Share":
        """Return a share of the room for one request, empty so far: leaving its block gives it back."""
        return Share(self)


class Share:
    """What one request has taken of a room."""

    __slots__ = ("_room", "_size")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._size = 0

    def take(self, size: int) -> None:
        """Take `size` bytes more.

        Raises:
            HttpError: 503, there is no room for them; what was taken before stays taken.
        """
        room = self._room
        if room.taken + size > room.most:
            message = (
                f"request bodies may have {room.most} bytes together, and there is no room now"
            )
            raise HttpError(message, status=503, retry_after=RETRY_SECONDS)
        room.taken += size
        self._size += size

    def give_back(self) -> None:
        """Give back all that was taken: more may be taken after it."""
        self._room.taken -= self._size
        self._size = 0

    def __enter__(self) -> "Share":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.give_back()
