"""Client connections that stand: with a task only as long as something has to be waited for.

How they end in a drain is told in `test_listen.py`.
"""

import pytest
import trio
from trio.testing import MockClock

from rawproxy.net.server import Server
from tests.net.fakes import LAST_CHUNK, Client, Seen, chunk
from tests.net.plain import BLOCKING, Woken, answers, slowly, warm
from tests.net.world import CHAT, MESSAGES, PATH, World, call, delta, end, stop, text, world

pytestmark = pytest.mark.usefixtures("with_the_pump")


async def fresh(here: World) -> Client:
    """A client on a new connection, where one to the upstream stands."""
    before = await Client.connect(here.url)
    await warm(here, before)
    await before.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert len(here.proxy._connections) == 0
    return await Client.connect(here.url)


async def until_none_is_left(here: World) -> None:
    with trio.fail_after(5):
        while len(here.proxy._connections):
            await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("client", [CHAT, MESSAGES])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_connection_needs_no_task(client: str, stream: bool) -> None:
    async with world(answers, CHAT) as here:
        link = await fresh(here)
        woken = Woken()
        trio.lowlevel.add_instrument(woken)
        for _ in range(2):
            await link.send("POST", PATH[client], call(client, stream=stream))
            got = await link.response()
            assert text(client, got.body) == "fine" if stream else b'"fine"' in got.body
        assert len(here.proxy._connections) == 1
        await link.aclose()
        await until_none_is_left(here)
        trio.lowlevel.remove_instrument(woken)
        assert woken.times == 0
        assert [record.outcome for record in here.records] == ["ok"] * 3


async def test_one_that_says_nothing_needs_none_either() -> None:
    async with world(answers, CHAT) as here:
        woken = Woken()
        trio.lowlevel.add_instrument(woken)
        link = await Client.connect(here.url)
        await trio.testing.wait_all_tasks_blocked()
        assert len(here.proxy._connections) == 1
        await link.aclose()
        await until_none_is_left(here)
        trio.lowlevel.remove_instrument(woken)
        assert woken.times == 0


@pytest.mark.parametrize("asks", [0, 2])
async def test_one_without_a_task_is_closed_when_it_idles(
    asks: int, autojump_clock: MockClock
) -> None:
    """And not before it has idled for all of that time since its last reply."""
    async with world(answers, CHAT, limits={"idle_seconds": 20}) as here:
        link = await fresh(here)
        woken = Woken()
        trio.lowlevel.add_instrument(woken)
        before = trio.current_time()
        for _ in range(asks):
            await trio.sleep(15)
            await link.send("POST", PATH[CHAT], BLOCKING)
            assert (await link.response()).status == 200
            before = trio.current_time()
        assert await link.stream.receive_some(1) == b""
        assert 20 <= trio.current_time() - before < 21
        trio.lowlevel.remove_instrument(woken)
        assert woken.times == 0
        assert len(here.proxy._connections) == 0
        await link.aclose()


async def test_a_stream_that_lasts_is_not_idle(autojump_clock: MockClock) -> None:
    async def goes_on(seen: Seen, wire: trio.SocketStream) -> None:
        await trio.sleep(50)
        await wire.send_all(chunk(delta(CHAT, "two") + stop(CHAT) + end(CHAT)) + LAST_CHUNK)

    async with world(slowly(goes_on, stream=True), CHAT, limits={"idle_seconds": 20}) as here:
        link = await fresh(here)
        await link.send("POST", PATH[CHAT], call(CHAT, user="slowly"))
        assert text(CHAT, (await link.response()).body) == "one two"
        await link.aclose()


async def test_those_without_a_task_end_with_the_proxy(caplog: pytest.LogCaptureFixture) -> None:
    """One that has said nothing, one that idles, one whose stream is under way."""

    async def goes_on(seen: Seen, wire: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with world(slowly(goes_on, stream=True), CHAT) as here:
        idle = await fresh(here)
        await idle.send("POST", PATH[CHAT], BLOCKING)
        assert (await idle.response()).status == 200
        silent, busy = await Client.connect(here.url), await Client.connect(here.url)
        await busy.send("POST", PATH[CHAT], call(CHAT, user="slowly"))
        while b"one " not in await busy.stream.receive_some():
            pass
        assert len(here.proxy._connections) == 3
    assert len(here.proxy._connections) == 0
    assert [record.outcome for record in here.records] == ["ok", "ok", "failed"]
    for link in (idle, silent):
        assert await link.stream.receive_some() == b""
        await link.aclose()
    await busy.aclose()
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_fault_before_an_exchange_costs_a_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("planted")

    async with world(answers, CHAT) as here:
        link = await fresh(here)
        with monkeypatch.context() as planted:
            planted.setattr(Server, "beginner", fails)
            await link.send("POST", PATH[CHAT], BLOCKING)
            assert await link.stream.receive_some() == b""
        await link.aclose()
        await until_none_is_left(here)
        other = await Client.connect(here.url)
        await other.send("POST", PATH[CHAT], BLOCKING)
        assert (await other.response()).status == 200
        await other.aclose()
        assert here.proxy._room.taken == 0
    faults = [record.message for record in caplog.records if record.exc_info]
    assert faults == ["a connection ended by a fault of ours"]
