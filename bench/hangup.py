"""How soon the upstream's connection closes when a client hangs up, phase by phase.

A small upstream in this process holds every call in the phase that its model's name asks for, and
notes when its connection ends. The client is in this process too: both times are of one clock.

While the proxy is still connecting there is no upstream connection to watch. A listener whose
queue is full answers no SYN, and the proxy's socket is watched among its open files instead.
"""

import contextlib
import json
import queue
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from bench.gateways import Gateway, started
from bench.processes import StartError, process_tree
from bench.rig import CALLER_KEY, Load, Rig
from bench.scenarios import DIRECT

__all__ = ["PHASES", "HangUpUpstream", "Phase", "measure_hang_ups"]

LONGEST_SECONDS = 5.0
"""Longest wait for one step of a trial. A connection that is still open then is a fault."""

SETTLE_SECONDS = 0.02
"""Between reaching a phase and hanging up: the proxy has nothing left to do by then."""

GAP_SECONDS = 0.005
"""Between two events of a stream that flows."""

POLL_SECONDS = 0.0005

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_TEXT = b"some text"
_CONTENT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1767225600,'
    b'"model":"mock","choices":[{"index":0,"delta":{"role":"assistant","content":"'
    + _TEXT
    + b'"},"finish_reason":null}]}\n\n'
)
_EVENT = b"%x\r\n%s\r\n" % (len(_CONTENT), _CONTENT)

_SYN_SENT = "02"  # in /proc/net/tcp

T = TypeVar("T")


@dataclass(frozen=True)
class Phase:
    """Where a call stands when its client hangs up.

    `started`: the stream's first event has reached the client. `flowing`: more events follow.
    """

    name: str
    title: str
    stream: bool
    started: bool = False
    flowing: bool = False


PHASES = (
    Phase("headers", "a stream's call, before the response's head", stream=True),
    Phase("flowing", "mid-stream, an event per 5 ms", stream=True, started=True, flowing=True),
    Phase("silent", "mid-stream, upstream silent", stream=True, started=True),
    Phase("blocking", "a blocking call", stream=False),
)
CONNECTING = Phase("connecting", "while connecting to the upstream", stream=True)


class HangUpUpstream:
    """An upstream that holds every call in its phase and notes when its connection ends."""

    def __init__(self) -> None:
        self.reached: queue.Queue[None] = queue.Queue()
        """One item per call that has arrived."""
        self.closed: queue.Queue[float] = queue.Queue()
        """When each connection of a call ended, by `time.monotonic()`."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._phases = {f"mock-{phase.name}".encode(): phase for phase in PHASES}

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Accept connections, a thread each, until the block ends."""
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield
        finally:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which close() does not
            self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._hold, args=(connection,), daemon=True).start()

    def _hold(self, connection: socket.socket) -> None:
        with connection:
            request = connection.recv(65536)
            while request and not request.endswith(b"}"):  # a request's body is one JSON object
                request += connection.recv(65536)
            if not request:
                return
            phase = next(phase for model, phase in self._phases.items() if model in request)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A reset, whether found by reading or by writing, is an end like any other.
            with contextlib.suppress(OSError):
                if phase.started:
                    connection.sendall(_HEAD + _EVENT)
                self.reached.put(None)
                while not _is_over(connection, GAP_SECONDS if phase.flowing else None):
                    connection.sendall(_EVENT)
            self.closed.put(time.monotonic())


def _is_over(connection: socket.socket, seconds: float | None) -> bool:
    """Wait until the peer closes; False after `seconds` in which it did not."""
    readable, _, _ = select.select([connection], [], [], seconds)
    return bool(readable) and connection.recv(4096) == b""


def _load(phase: Phase) -> Load:
    """Return the call as the load generator would be told to make it; gateways adapt that."""
    return Load("chat", f"mock-{phase.name}", stream=phase.stream, connections=1, expect=-1)


def _request(load: Load) -> bytes:
    call = {
        "model": load.model,
        "stream": load.stream,
        "messages": [{"role": "user", "content": "hello"}],
    }
    body = json.dumps(call).encode()
    fields = [
        "Host: 127.0.0.1",
        f"Authorization: Bearer {CALLER_KEY}",
        *load.options[1::2],  # a gateway's are header fields: `--header`, field, ...
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    lines = ["POST /v1/chat/completions HTTP/1.1", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _hang_up(upstream: HangUpUpstream, port: int, phase: Phase, load: Load) -> float:
    """Return the seconds from a client's hang-up to the end of the upstream's connection.

    Raises:
        OSError, queue.Empty: the call did not get as far as its phase, or its connection stayed.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=LONGEST_SECONDS) as client:
        client.sendall(_request(load))
        upstream.reached.get(timeout=LONGEST_SECONDS)
        received = b""
        while phase.started and _TEXT not in received:
            if not (data := client.recv(65536)):
                raise ConnectionError("the reply ended before its first event")
            received += data
        time.sleep(SETTLE_SECONDS)
        left_at = time.monotonic()
    return upstream.closed.get(timeout=LONGEST_SECONDS) - left_at


def measure_hang_ups(
    rig: Rig, gateways: Sequence[Gateway], *, trials: int
) -> tuple[dict[str, dict[str, list[float]]], dict[str, list[str]]]:
    """Return the milliseconds of each trial, by phase and side, and what went wrong by side."""
    upstream = HangUpUpstream()
    found: dict[str, dict[str, list[float]]] = {phase.name: {} for phase in PHASES}
    faults: dict[str, list[str]] = {}

    def measure(side: str, port: int, adapt: Callable[[Load], Load | None]) -> None:
        for phase in PHASES:
            if not (load := adapt(_load(phase))):
                return
            trial = partial(_hang_up, upstream, port, phase, load)
            times, fault = _try_repeatedly(trial, trials)
            found[phase.name][side] = times
            _report_progress(phase, side, times)
            if fault:
                faults.setdefault(side, []).append(f"hang-up {phase.name}, {side}: {fault}")
                _empty(upstream)

    with upstream.serving():
        measure(DIRECT, upstream.port, lambda load: load)
        for gateway in gateways:
            try:
                with started(gateway, rig.cores, upstream.port) as server:
                    measure(gateway.name, server.port, partial(_adapt, gateway, upstream.port))
            except StartError as error:
                faults.setdefault(gateway.name, []).append(f"hang-up {gateway.name}: {error}")
    for gateway in gateways:
        if gateway.is_ours:
            times, fault = _measure_connecting(rig, gateway, trials)
            found[CONNECTING.name] = {gateway.name: times}
            _report_progress(CONNECTING, gateway.name, times)
            if fault:
                wrong = f"hang-up {CONNECTING.name}, {gateway.name}: {fault}"
                faults.setdefault(gateway.name, []).append(wrong)
    return found, faults


def _adapt(gateway: Gateway, port: int, load: Load) -> Load | None:
    return gateway.adapt(load, port)


def _try_repeatedly(trial: Callable[[], float], trials: int) -> tuple[list[float], str]:
    """Return the milliseconds of up to `trials` trials, and the fault that ended them early."""
    times: list[float] = []
    try:
        for _ in range(trials):
            seconds = trial()
            if seconds < 0:
                return times, "the upstream's connection ended before the client hung up"
            times.append(seconds * 1000)
    except queue.Empty:
        return times, f"nothing within {LONGEST_SECONDS} s"
    except OSError as error:
        return times, str(error)
    return times, ""


def _empty(upstream: HangUpUpstream) -> None:
    """Forget what a trial that failed has left behind."""
    for waiting in (upstream.reached, upstream.closed):
        with contextlib.suppress(queue.Empty):
            while True:
                waiting.get_nowait()


@contextmanager
def _full_listener() -> Iterator[int]:
    """Yield the port of a listener that answers no further connection."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        while True:
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0.1)
            try:
                filler.connect(listener.getsockname())
            except TimeoutError:
                filler.close()
                break
        yield listener.getsockname()[1]


def _find_connecting(root: int, port: int) -> Path | None:
    """Return the file of `root` (or a descendant) that is a socket connecting to `port`."""
    # Columns: number, local address, remote address, state, ..., inode; ports in hexadecimal.
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    wanted = {
        f"socket:[{row[9]}]"
        for row in rows
        if row[3] == _SYN_SENT and row[2].endswith(f":{port:04X}")
    }
    files = (file for pid in process_tree(root) for file in Path(f"/proc/{pid}/fd").iterdir())
    return next((file for file in files if _target(file) in wanted), None)


def _target(file: Path) -> str:
    try:
        return str(file.readlink())
    except FileNotFoundError:
        return ""


def _wait_for(look: Callable[[], T | None]) -> T:
    end = time.monotonic() + LONGEST_SECONDS
    while (found := look()) is None:
        if time.monotonic() > end:
            raise queue.Empty
        time.sleep(POLL_SECONDS)
    return found


def _measure_connecting(rig: Rig, gateway: Gateway, trials: int) -> tuple[list[float], str]:
    with _full_listener() as upstream_port, started(gateway, rig.cores, upstream_port) as proxy:

        def trial() -> float:
            with socket.create_connection(("127.0.0.1", proxy.port)) as client:
                client.sendall(_request(_load(CONNECTING)))
                file = _wait_for(lambda: _find_connecting(proxy.pid, upstream_port))
                target = _target(file)
                time.sleep(SETTLE_SECONDS)
                if _target(file) != target:
                    return -1.0
                left_at = time.monotonic()
            _wait_for(lambda: None if _target(file) == target else True)
            return time.monotonic() - left_at

        return _try_repeatedly(trial, trials)


def _report_progress(phase: Phase, side: str, times: list[float]) -> None:
    worst = f"at most {max(times):.1f} ms" if times else "never"
    print(f"hang-up {phase.name:11}{side:20}{worst}, {len(times)} trials", file=sys.stderr)
