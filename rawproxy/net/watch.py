"""Who looks whether a client that waits for its reply is still there.

Layer: net. One task for all clients: a task for each of them would cost kilobytes a stream, and time
for each request.
"""

import logging
import selectors
from collections.abc import Callable
from contextlib import suppress

import trio

from rawproxy.net.conn import Conn

__all__ = ["Watcher"]

_log = logging.getLogger("rawproxy")

PAUSE_SECONDS = 0.1
"""After a fault of ours, so that one that stays does not take all the time there is."""


class Watcher:
    """Tells when there is something to read on a connection that nobody reads."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def __len__(self) -> int:
        return len(self._selector.get_map())

    def watch(self, conn: Conn, ready: Callable[[], None]) -> None:
        """Call `ready` each time that bytes, an end or an error came, until `unwatch`.

        It has to be called before the connection is closed, and not to raise.
        """
        self._selector.register(conn, selectors.EVENT_READ, ready)

    def unwatch(self, conn: Conn) -> None:
        """Look at a connection no more; harmless where nobody does."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(conn)

    async def run(self) -> None:
        """Look until cancelled."""
        failed = False
        try:
            while True:
                try:
                    if failed:
                        await trio.sleep(PAUSE_SECONDS)
                    failed = False
                    await self._look()
                except Exception:  # without it nobody's leaving would be seen
                    _log.exception("watching pauses: a fault of ours")
                    failed = True
        finally:
            self._selector.close()

    async def _look(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._selector)
            for key, _ in self._selector.select(0):
                self._tell(key)

    @staticmethod
    def _tell(key: selectors.SelectorKey) -> None:
        try:
            key.data()
        except Exception:  # a bug of ours in one exchange; the others are watched on
            _log.exception("a client's watch")
