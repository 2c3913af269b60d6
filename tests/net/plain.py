"""What the tests of plain calls share: an upstream that answers, and whether a task was woken."""

import json

import trio

from tests.net.fakes import LAST_CHUNK, Client, Script, Seen, chunk, head, whole
from tests.net.fakes_http2 import Http2Client
from tests.net.world import (
    CHAT,
    PATH,
    World,
    call,
    delta,
    end,
    error_body,
    is_whole,
    preamble,
    reply_body,
    stop,
    text,
)

BLOCKING = call(CHAT, stream=False)


class Woken(trio.abc.Instrument):
    """Counts how often a task of this name was woken, or begun: that of a connection."""

    def __init__(self, name: str = "Connections._run") -> None:
        self.times = 0
        self._name = name

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        self.times += task.name.endswith(self._name)


async def answers(seen: Seen, wire: trio.SocketStream) -> None:
    """Say `fine`, whole or as a stream; refuse where the body says so."""
    if b"refuse" in seen.body:
        await wire.send_all(whole(400, error_body(CHAT, "invalid_request_error", "no")))
    elif json.loads(seen.body).get("stream"):
        await wire.send_all(head() + chunk(preamble(CHAT)))
        await trio.testing.wait_all_tasks_blocked()
        await wire.send_all(chunk(delta(CHAT, "fine")))
        await trio.testing.wait_all_tasks_blocked()
        await wire.send_all(chunk(stop(CHAT) + end(CHAT)) + LAST_CHUNK)
    else:
        await wire.send_all(whole(200, reply_body(CHAT, "fine")))


def slowly(goes_on: Script, *, stream: bool) -> Script:
    """A script that `answers`; but a call that says `slowly` gets the beginning of a stream at most, and then `goes_on`."""

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        if b"slowly" not in seen.body:
            await answers(seen, wire)
            return
        if stream:
            await wire.send_all(head() + chunk(preamble(CHAT) + delta(CHAT, "one ")))
        await goes_on(seen, wire)

    return script


async def warm(here: World, link: Client | Http2Client) -> None:
    """Have a connection to the upstream stand, and the client's known."""
    await link.send("POST", PATH[CHAT], BLOCKING)
    assert (await link.response()).status == 200
    await here.kept()
    await trio.testing.wait_all_tasks_blocked()


async def wakes_nobody(
    here: World, link: Client | Http2Client, client: str, woken: Woken, *, stream: bool
) -> None:
    """After `warm`, three calls that come at once wake nobody, and leave nothing."""
    await warm(here, link)
    send = link.send_at_once if isinstance(link, Http2Client) else link.send
    trio.lowlevel.add_instrument(woken)
    for _ in range(3):
        await send("POST", PATH[client], call(client, stream=stream))
        got = await link.response()
        assert (got.status, got.clean) == (200, True)
        assert text(client, got.body) == "fine" if stream else b'"fine"' in got.body
        assert not stream or is_whole(client, got.body)
    trio.lowlevel.remove_instrument(woken)
    assert woken.times == 0
    await here.kept(4)
    assert [record.outcome for record in here.records] == ["ok"] * 4
    assert here.running == 0
    assert here.proxy._room.taken == 0
