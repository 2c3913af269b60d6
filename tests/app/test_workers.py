"""Several processes that serve as one: real ones, under load."""

import os
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from rawproxy.app.workers import backoff
from tests.app.serving import (
    LONG,
    Process,
    chat,
    crowd,
    engine,
    is_alive,
    kill,
    metric,
    serving,
    until_gone,
    until_refused,
    write,
)
from tests.net.fakes import Client
from tests.net.world import CHAT, PATH, call

TWO = ("--workers", "2")


def test_who_dies_young_waits() -> None:
    assert [backoff(lives) for lives in range(5)] == [0, 0, 0.1, 0.2, 0.4]
    assert [backoff(lives) for lives in (7, 8, 100)] == [3.2, 5, 5]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "rawproxy.toml", sections())
    return tmp_path


def sections(more: str = "two", **server: object) -> dict[str, dict[str, object]]:
    return {
        "server": {"listen": ["127.0.0.1:0"]} | server,
        "admin": {"listen": "127.0.0.1:0"},
        "upstreams.one": engine(tokens_per_second=60),
        f"upstreams.{more}": engine(tokens_per_second=60),
    }


def sockets_of(pid: int) -> int:
    links = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            links.append(str(path.readlink()))
    return sum(link.startswith("socket:") for link in links)


async def until_up(process: Process, count: int) -> None:
    with trio.fail_after(30):
        while await metric(process, "rawproxy_worker_up") != count:  # noqa: ASYNC110
            await trio.sleep(0.01)


@pytest.mark.slow
async def test_all_workers_get_connections_and_metrics_are_of_all(folder: Path) -> None:
    with serving(folder, *TWO) as process:
        url, workers = process.url, process.workers
        assert len(workers) == 2
        before = {pid: sockets_of(pid) for pid in workers}
        async with crowd(url, size=40) as busy:
            # Who is idle accepts: nobody promises halves, and at any moment one may have none.
            with trio.fail_after(15):
                while min(sockets_of(pid) - before[pid] for pid in workers) < 1:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            assert await metric(process, "rawproxy_connections") > 20
        assert busy.broken == []
        served = len(busy.whole)
        assert await metric(process, "rawproxy_exchanges_total") == served
        for _ in range(10):
            assert await chat(process.url) == 200
        assert await metric(process, "rawproxy_exchanges_total") == served + 10
        said = Counter(line.split()[2] for line in process.lines if line.startswith("rawproxy: "))
        assert said == {"on": 2}  # each address once


@pytest.mark.slow
async def test_a_worker_that_is_killed_takes_only_its_own_streams_with_it(folder: Path) -> None:
    with serving(folder, *TWO) as process:
        async with crowd(process.url) as busy:
            before = await metric(process, "rawproxy_exchanges_total")
            other, victim = sorted(process.workers, key=sockets_of)
            kill(victim)
            await until_gone([victim])
            gone = time.monotonic()
            await process.hear("ended by signal 9, the next one starts in 0 s")
            assert (
                await metric(process, "rawproxy_exchanges_total") >= before
            )  # nothing is forgotten
            await until_up(process, 2)
            await busy.reached(60)
            assert other in process.workers
            assert len(process.workers) == 2
        assert 0 < len(busy.broken) < 30
        # A connection of before may be the victim's, even if its next request is sent only now.
        assert [one for one in busy.broken if one.connected > gone] == []
        assert await metric(process, "rawproxy_worker_restarts_total") == 1


@pytest.mark.slow
async def test_sigterm_lets_every_stream_end(folder: Path) -> None:
    with serving(folder, *TWO) as process:
        async with crowd(process.url) as busy:
            told = time.monotonic()
            process.send(signal.SIGTERM)
            await until_refused(process.url)
            busy.stopped = True
        assert [one for one in busy.broken if one.began < told] == []
        assert process.wait() == 0
        drained = await process.hear("drained: ")
        assert " 0 were cut" in drained
        assert "drained: 0 exchanges" not in drained


@pytest.mark.slow
async def test_readiness_ends_with_the_signal(folder: Path) -> None:
    with serving(folder, *TWO) as process:
        page = await Client.connect(process.admin)
        await page.send("GET", "/readyz")
        assert (await page.response()).status == 200
        link = await Client.connect(process.url)
        await link.send(
            "POST", PATH[CHAT], call(CHAT, model="one/ngram", max_tokens=200, seed=LONG)
        )
        await link.head()
        process.send(signal.SIGTERM)
        await until_refused(process.url)
        await page.send("GET", "/readyz")
        got = await page.response()
        assert (got.status, got.body) == (503, b"draining\n")
        for one in (page, link):
            await one.aclose()


@pytest.mark.slow
async def test_what_takes_too_long_is_cut_with_one_error(folder: Path) -> None:
    write(folder / "rawproxy.toml", sections(drain_seconds=0.5))
    with serving(folder, *TWO) as process:
        link = await Client.connect(process.url)
        await link.send(
            "POST", PATH[CHAT], call(CHAT, model="one/ngram", max_tokens=2000, seed=LONG)
        )
        await link.head()
        process.send(signal.SIGTERM)
        body = b""
        while data := await link.read():
            body += data
        assert body.count(b'"error"') == 1
        assert b"shutting down" in body
        assert b"[DONE]" not in body
        assert process.wait() == 0
        await process.hear("0 exchanges ended by themselves, 1 were cut")
        await link.aclose()


@pytest.mark.slow
async def test_a_second_signal_ends_it_at_once(folder: Path) -> None:
    with serving(folder, *TWO) as process:
        link = await Client.connect(process.url)
        await link.send(
            "POST", PATH[CHAT], call(CHAT, model="one/ngram", max_tokens=2000, seed=LONG)
        )
        await link.head()
        workers = process.workers
        process.send(signal.SIGTERM)
        await until_refused(process.url)
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        await until_gone(workers)
        await link.aclose()


@pytest.mark.slow
async def test_sighup_reaches_all_workers_and_fails_nothing(folder: Path) -> None:
    with serving(folder, *TWO) as process:
        async with crowd(process.url) as busy:
            for number in range(3):
                here = len(process.lines)
                write(folder / "rawproxy.toml", sections(f"new{number}", hosts=["a.example"]))
                process.send(signal.SIGHUP)
                await process.hear("read again", after=here)
                statuses = {await chat(process.url, f"new{number}/ngram") for _ in range(10)}
                assert statuses == {200}
                assert await chat(process.url, "two/ngram") == 404
            (folder / "rawproxy.toml").write_text("nonsense = 1\n")
            process.send(signal.SIGHUP)
            await process.hear("the configuration stays as it was")
            assert await chat(process.url, "new2/ngram") == 200
        assert busy.broken == []


@pytest.mark.slow
async def test_sighup_changes_listeners_and_the_number_of_workers(folder: Path) -> None:
    write(folder / "rawproxy.toml", sections(workers=2))
    with serving(folder) as process:
        first = process.url
        async with crowd(first) as busy:
            write(folder / "rawproxy.toml",
                  sections(workers=3, listen=["127.0.0.1:0", "127.0.0.2:0"]))  # fmt: skip
            process.send(signal.SIGHUP)
            added = (await process.hear("listening on http://127.0.0.2:")).split()[-1]
            await until_up(process, 3)
            assert {await chat(added) for _ in range(10)} == {200}
            taken = process.admin.rpartition(":")[2]
            write(folder / "rawproxy.toml", sections("no", listen=[f"127.0.0.1:{taken}"]))
            process.send(signal.SIGHUP)
            await process.hear(f"cannot listen on 127.0.0.1:{taken}: Address already in use")
            assert await chat(added, "one/ngram") == 200
            here = len(process.lines)
            write(folder / "rawproxy.toml", sections(workers=2))
            process.send(signal.SIGHUP)
            await process.hear("read again", after=here)
            await until_refused(added)
            await until_up(process, 2)
        assert busy.broken == []


@pytest.mark.slow
async def test_workers_whose_first_process_dies_drain(folder: Path) -> None:
    with serving(folder, *TWO) as process:
        link = await Client.connect(process.url)
        await link.send("POST", PATH[CHAT], call(CHAT, model="one/ngram", max_tokens=30))
        await link.head()
        workers = process.workers
        kill(process.running.pid)
        await until_refused(process.url)
        body = b""
        while data := await link.read():
            body += data
        assert body.endswith(b"data: [DONE]\n\n")
        await until_gone(workers)
        await link.aclose()


@pytest.mark.slow
async def test_one_worker_may_be_asked_to_end(folder: Path) -> None:
    with serving(folder, *TWO) as process:
        async with crowd(process.url) as busy:
            old = process.workers[0]
            os.kill(old, signal.SIGTERM)
            await process.hear("ended with 0")
            assert not is_alive(old)
            await until_up(process, 2)
        assert busy.broken == []


@pytest.mark.slow
def test_workers_that_cannot_start_end_it(folder: Path) -> None:
    """A module of this name is run by every interpreter that finds it: the workers look there."""
    (folder / "sitecustomize.py").write_text(
        "import os, sys\nif 'rawproxy.app.worker' in sys.orig_argv: os._exit(7)\n"
    )
    with serving(folder, *TWO) as process:
        assert process.wait() == 2
        process.line("no worker can be started: it ended before it served")
