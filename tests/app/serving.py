"""Real processes of `rawproxy serve`, and clients that keep them busy."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import trio

from tests.net.fakes import Client, ask
from tests.net.world import CHAT, PATH, call

PATIENCE = 15.0
"""Seconds until a process that does not do what it should has failed the test."""


class Process:
    """One `rawproxy serve`; its standard error is read as it comes."""

    def __init__(self, running: "subprocess.Popen[str]") -> None:
        self.running = running
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.running.stderr is not None
        for line in self.running.stderr:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()

    def line(self, words: str, *, after: int = 0) -> str:
        """Return the first line with `words`, once it is there."""
        with self._news:
            found = self._news.wait_for(
                lambda: [line for line in self.lines[after:] if words in line], PATIENCE
            )
        assert found, "\n".join(self.lines)
        return found[0]

    async def hear(self, words: str, *, after: int = 0) -> str:
        """Do as `line`; clients in this process go on meanwhile, instead of looking idle."""
        return await trio.to_thread.run_sync(lambda: self.line(words, after=after))

    @property
    def url(self) -> str:
        return self.line("rawproxy: listening on").split()[-1]

    @property
    def admin(self) -> str:
        return self.line("rawproxy: admin on").split()[-1]

    @property
    def workers(self) -> list[int]:
        """The processes that it has started, by whichever thread."""
        tasks = Path(f"/proc/{self.running.pid}/task").glob("*/children")
        return sorted(int(pid) for task in tasks for pid in task.read_text().split())

    def send(self, number: int) -> None:
        self.running.send_signal(number)

    def wait(self) -> int:
        """Return the exit code, once all that was said is read."""
        code = self.running.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def kill(self) -> None:
        self.running.kill()
        self.wait()


LONG = 46
"""A seed with which the embedded model says 199 tokens to `call`: three seconds."""


def engine(**more: object) -> dict[str, object]:
    return {"provider": "engine", "first_token_seconds": 0} | more


def write(path: Path, sections: Mapping[str, Mapping[str, object]]) -> None:
    """Write a configuration; JSON's literals of text, numbers and lists are TOML's."""
    lines = []
    for name, section in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in section.items())]
    path.write_text("\n".join(lines) + "\n")


@contextmanager
def serving(
    folder: Path,
    *arguments: str,
    fds: Sequence[int] = (),
    environ: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
) -> Iterator[Process]:
    """Run `rawproxy serve` in `folder`, by its `rawproxy.toml`; it is killed at the end.

    Args:
        fds: descriptors that it inherits.
        environ: more for its environment.
        before: a command that ends in running what stands behind it.
    """
    known = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    command = [*before, sys.executable, "-m", "rawproxy", "serve", *arguments]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=folder, pass_fds=fds,
        env=known | {"PYTHONUNBUFFERED": "1"} | dict(environ or {}),
    ) as running:  # fmt: skip
        process = Process(running)
        try:
            yield process
        finally:
            process.kill()


def refuses(url: str) -> bool:
    host, _, port = url.removeprefix("http://").rpartition(":")
    try:
        socket.create_connection((host, int(port))).close()
    except ConnectionError:
        return True
    return False


async def until_refused(url: str) -> float:
    """Return how many seconds it took until nobody listened."""
    began = time.monotonic()
    while not refuses(url):
        assert time.monotonic() - began < PATIENCE
        await trio.sleep(0.005)
    return time.monotonic() - began


async def metric(process: Process, name: str) -> float:
    """Return the sum of a metric's samples."""
    link = await Client.connect(process.admin)
    await link.send("GET", "/metrics")
    text = (await link.response()).body.decode()
    await link.aclose()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


class Broken(NamedTuple):
    """A request whose stream was not whole."""

    connected: float  # when its connection was asked for
    began: float
    error: str


@dataclass
class Crowd:
    """Clients that ask for one stream after the other.

    Attributes:
        whole: when the requests began whose streams were whole.
        broken: the others.
        stopped: set to let them end after the stream that they have.
    """

    url: str
    model: str
    tokens: int = 20
    whole: list[float] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    stopped: bool = False

    async def client(self, keeps: bool) -> None:
        """One client; if it `keeps` its connection, until the proxy says that it closes."""
        link: Client | None = None
        connected = 0.0
        while not self.stopped:
            began = time.monotonic()
            try:
                if link is None:
                    connected = began
                    link = await Client.connect(self.url)
                closes = await self._one(link)
            except Exception as error:
                self.broken.append(Broken(connected, began, repr(error)))
                closes = True
                await trio.sleep(0.01)
            else:
                self.whole.append(began)
            if link is not None and (closes or not keeps):
                await link.aclose()
                link = None
        if link is not None:
            await link.aclose()

    async def _one(self, link: Client) -> bool:
        """Ask for a stream, and read it to its end; return whether the connection is over."""
        await link.send("POST", PATH[CHAT], call(CHAT, model=self.model, max_tokens=self.tokens))
        head = await link.head()
        body = b""
        while data := await link.read():
            body += data
        assert head.status_code == 200, body
        assert body.endswith(b"data: [DONE]\n\n"), body[-200:]
        return (b"connection", b"close") in list(head.headers)

    async def reached(self, count: int) -> None:
        """Return when so many more streams were whole."""
        goal = len(self.whole) + count
        with trio.fail_after(PATIENCE):
            while len(self.whole) < goal:  # noqa: ASYNC110 - of all tasks together
                await trio.sleep(0.005)


@asynccontextmanager
async def crowd(url: str, model: str = "one/ngram", size: int = 30) -> AsyncIterator[Crowd]:
    """Clients at work, half of them with one connection each, half with one for each request.

    At the end they may end what they have begun.
    """
    made = Crowd(url, model)
    with trio.fail_after(6 * PATIENCE):
        async with trio.open_nursery() as nursery:
            for number in range(size):
                nursery.start_soon(made.client, number % 2 == 0)
            await made.reached(size)
            try:
                yield made
            finally:
                made.stopped = True


async def chat(url: str, model: str = "one/ngram", tokens: int = 3) -> int:
    body = call(CHAT, model=model, stream=False, max_tokens=tokens)
    return (await ask(url, PATH[CHAT], body)).status


def is_alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def until_gone(pids: Sequence[int]) -> None:
    with trio.fail_after(PATIENCE):
        while any(map(is_alive, pids)):  # noqa: ASYNC110 - other processes tell nobody
            await trio.sleep(0.01)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
