"""One worker: a proxy that is given its configuration and its listeners by the first process.

Layer: app. `python -m rawproxy.app.worker FD`; FD is its end of the channel. When the other end is gone
the first process has died, and the worker drains.
"""

import signal
import socket
import sys

import trio

from rawproxy.app import logs
from rawproxy.app.channel import (
    Ask,
    Begin,
    Channel,
    Configure,
    Drain,
    Ended,
    Failed,
    Hello,
    Message,
    Ready,
    Told,
)
from rawproxy.app.heap import settle, tidy
from rawproxy.app.serve import Proxy
from rawproxy.app.sockets import Listener, Place
from rawproxy.errors import ConfigError

__all__ = ["Worker", "main"]


class Worker:
    """Does what the first process says.

    Args:
        channel: to it.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._proxy: Proxy | None = None
        self._listeners: dict[tuple[Place, int], Listener] = {}

    async def run(self) -> None:
        """Serve until told to end, or until nobody is there to tell."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._until_signal, nursery)
                await self._channel.send(Hello())
                while (message := await self._channel.receive()) is not None:
                    await self._do(message, nursery)
                await self._drain(nursery)
        finally:
            self._channel.close()

    async def _do(self, message: Message, nursery: trio.Nursery) -> None:
        match message:
            case Begin(log_level):
                logs.set_up(log_level)
            case Configure():
                await self._channel.send(await self._configure(message, nursery))
            case Ask() if self._proxy is not None:
                await self._channel.send(Told(self._proxy.families()))
            case Drain():
                nursery.start_soon(self._drain, nursery)

    async def _configure(self, message: Configure, nursery: trio.Nursery) -> Ready | Failed:
        sockets = self._channel.take_sockets(len(message.places))
        given = _numbered(message.places, sockets)
        try:
            if self._proxy is None:
                proxy = Proxy(message.config)
                await proxy.start(nursery)
                settle()
                nursery.start_soon(tidy, proxy.activity)
                self._proxy = proxy
            else:
                self._proxy.reload(message.config)
        except ConfigError as error:
            for sock in sockets:
                sock.close()
            return Failed(str(error))
        for key, listener in given.items():
            if key in self._listeners:  # another descriptor of the same socket
                listener.sock.close()
        self._listeners = {key: self._listeners.get(key, one) for key, one in given.items()}
        self._proxy.listen(list(self._listeners.values()))
        return Ready()

    async def _until_signal(self, nursery: trio.Nursery) -> None:
        """SIGTERM drains this worker alone; a second one ends it. The others serve on."""
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                if self._proxy is None or self._proxy.draining:
                    nursery.cancel_scope.cancel()
                else:
                    nursery.start_soon(self._drain, nursery)

    async def _drain(self, nursery: trio.Nursery) -> None:
        if self._proxy is not None and not self._proxy.draining:
            drained = await self._proxy.drain()
            await self._channel.send(Told(self._proxy.families()))
            await self._channel.send(Ended(drained.ended, drained.cut))
        elif self._proxy is not None:
            await trio.sleep_forever()  # another task has begun to
        nursery.cancel_scope.cancel()


def _numbered(
    places: list[Place], sockets: list[socket.socket]
) -> dict[tuple[Place, int], Listener]:
    """Return the listeners by place; a name may have several addresses, in an order that stays."""
    found: dict[tuple[Place, int], Listener] = {}
    for place, sock in zip(places, sockets, strict=True):
        sock.setblocking(False)
        turn = sum(one == place for one, _ in found)
        found[place, turn] = Listener(place, sock)
    return found


def main(fd: int) -> None:
    """Run a worker whose end of the channel is descriptor `fd`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first process
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def run() -> None:
        await Worker(Channel(socket.socket(fileno=fd))).run()

    trio.run(run)


if __name__ == "__main__":
    main(int(sys.argv[1]))
