"""Models that take their time."""

import trio

from tests.net.fakes import Script, Seen

__all__ = ["slowly"]


def slowly(script: Script, patience: float) -> Script:
    """A model that waits before the first thing it sends, and before the fifth; `patience` is seconds."""

    async def model(seen: Seen, wire: trio.SocketStream) -> None:
        await script(seen, _SlowWire(wire, patience))  # type: ignore[arg-type]

    return model


class _SlowWire:
    def __init__(self, wire: trio.SocketStream, patience: float) -> None:
        self._wire = wire
        self._patience = patience
        self._sent = 0
        self.aclose = wire.aclose

    async def send_all(self, data: bytes) -> None:
        if self._sent in (0, 4):
            await trio.sleep(self._patience)
        self._sent += 1
        await self._wire.send_all(data)
