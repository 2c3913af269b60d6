"""Row 4, with the system's own threads: look-ups that hang hold up nobody else who needs one."""

import threading

import trio

from rawproxy.net.drive import LARGE_BODY
from rawproxy.net.resolve import THREADS, Address
from tests.faults.story import SAID, good
from tests.net.fakes import Client, ask
from tests.net.world import CHAT, PATH, body_text, call, world

COMMON = 40
"""The threads that trio has for everybody."""


async def test_look_ups_that_hang_hold_up_no_thread_of_others() -> None:
    """More names hang than there are threads; a large body is read in a thread all the same."""
    awake = threading.Event()
    all_hang = trio.Event()
    hanging = 0

    def hangs() -> None:
        nonlocal hanging
        hanging += 1
        if hanging == THREADS:
            all_hang.set()

    def hang() -> list[Address]:
        trio.from_thread.run_sync(hangs)
        awake.wait()
        return []

    async def lookup(host: str, limiter: trio.CapacityLimiter) -> list[Address]:
        return await trio.to_thread.run_sync(hang, limiter=limiter, abandon_on_cancel=True)

    names = [f"h{number}" for number in range(COMMON + 10)]
    scripts = dict.fromkeys([*names, "up"], good(CHAT))
    options = {name: {"base_url": f"http://{name}.example/v1"} for name in names}
    routes = [{"model": name, "to": [f"{name}/m"]} for name in names]
    routes.append({"model": "*", "to": ["up/m"]})
    clocks = {"connect_seconds": 0}
    async with world(
        scripts, CHAT, options=options, routes=routes, stream=clocks, lookup=lookup
    ) as here:
        links = [await Client.connect(here.url) for _ in names]
        for link, name in zip(links, names, strict=True):
            await link.send("POST", PATH[CHAT], call(CHAT, model=name))
        await all_hang.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert here.running == len(names)
        body = call(CHAT, stream=False, user="x" * LARGE_BODY)
        got = await ask(here.url, PATH[CHAT], body)
        assert (got.status, body_text(CHAT, got.body)) == (200, SAID)
        assert hanging == THREADS
        for link in links:
            await link.aclose()
        await here.kept(len(names) + 1)
        awake.set()
        for asking in tuple(here.proxy._server.upstreams._resolver._asking.values()):
            await asking.wait()
