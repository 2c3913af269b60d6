"""One client that sends without end takes its turns, and no more than that."""

from collections.abc import Callable
from contextlib import suppress

import pytest
import trio
from trio.abc import Instrument
from trio.lowlevel import Task

from rawproxy.gateway.room import Room
from tests.net.fakes import Client, ask, plays, whole
from tests.net.world import CHAT, PATH, call, reply_body, world

GOOD = plays(whole(200, reply_body(CHAT, "fine")))
READ_BYTES = 65536
"""The most that a connection may read in one turn."""

OTHERS = 10
TURNS = 100
"""Turns of the one that floods, for each request of another: it takes some ten turns itself."""


class Turns(Instrument):
    """Counts the turns of connections, and how much of bodies each of them read."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._before = 0
        self.count = 0
        self.most = 0

    def before_task_step(self, task: Task) -> None:
        self._before = self._room.taken

    def after_task_step(self, task: Task) -> None:
        if "Connections._run" in task.name:
            self.count += 1
            self.most = max(self.most, self._room.taken - self._before)


def head(*fields: str) -> bytes:
    lines = [f"POST {PATH[CHAT]} HTTP/1.1", "Host: localhost", *fields, "", ""]
    return "\r\n".join(lines).encode()


BIG = 32 * 1024 * 1024
FLOODS: dict[str, Callable[[int], bytes]] = {
    "requests": lambda _: b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000,
    "a body": lambda at: b"x" * 65536 if at else head(f"Content-Length: {BIG}"),
    "tiny chunks": lambda at: b"1\r\nx\r\n" * 10000 if at else head("Transfer-Encoding: chunked"),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_others_have_their_turns(name: str) -> None:
    async with world(GOOD) as here:
        link = await Client.connect(here.url)
        sent = 0

        async def flood() -> None:
            nonlocal sent
            with suppress(trio.BrokenResourceError):
                for at in range(1_000_000):
                    if name == "a body" and at == BIG // 65536:
                        return  # a byte short of its end
                    await link.stream.send_all(FLOODS[name](at))
                    sent = at

        async def drain() -> None:
            with suppress(trio.BrokenResourceError):
                while await link.stream.receive_some(65536):
                    pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            nursery.start_soon(drain)
            turns = Turns(here.proxy._room)
            trio.lowlevel.add_instrument(turns)
            with trio.fail_after(20):
                while not sent:
                    await trio.lowlevel.checkpoint()
                for _ in range(OTHERS):
                    got = await ask(here.url, PATH[CHAT], call(CHAT, stream=False))
                    assert got.status == 200
            assert turns.most <= READ_BYTES
            assert turns.most or name == "requests"  # those have no bodies
            assert 0 < turns.count < OTHERS * TURNS
            trio.lowlevel.remove_instrument(turns)
            nursery.cancel_scope.cancel()
        await link.aclose()
