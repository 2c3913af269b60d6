"""The load generator over HTTP/2: that it takes what is right, whatever the reads, and nothing else."""

import contextlib
import json
import shutil
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.floods import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RST, SETTINGS, frame
from bench.processes import build, plan_cores
from bench.rig import Load, Rig, find_faults, open_rig

GOAWAY, WINDOW_UPDATE, PING = 7, 8, 6
STREAM = Load("chat", "mock-e2-d0", stream=True, connections=1, expect=2, options=("--http2", "1"))
FIRST = b'data: {"content":"@0000000000000001@"}\n\n'
SECOND = b'data: {"content":"@0000000000000002@"}\n\n'
DONE = b"data: [DONE]\n\n"
HEAD = frame(HEADERS, END_HEADERS, 1, b"\x20\x88")
BEGIN = frame(SETTINGS, 0, 0)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("cc"), reason="the rig's programs need a C compiler"),
]


def stream(*parts: bytes) -> bytes:
    """A whole answer, each part a frame."""
    *most, last = parts
    return (
        HEAD + b"".join(frame(DATA, 0, 1, part) for part in most) + frame(DATA, END_STREAM, 1, last)
    )


GOOD = stream(FIRST, SECOND, DONE)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with open_rig(plan_cores()) as opened:
        yield opened


class Server:
    """Answers one connection with bytes made before, and keeps what it was sent.

    Each read makes room for `window` bytes more; `too_much` is what came without room for it.
    """

    def __init__(self, answer: bytes, cut: int, window: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.got = b""
        self.too_much = 0
        self._answer, self._cut, self._window = answer, cut, window
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        room, more = 65535, struct.pack(">I", self._window)
        connection, _ = self.listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(5)
            connection.sendall(BEGIN)
            while not self._is_asked() and (data := connection.recv(65536)):
                self.got += data
                sent = sum(len(payload) for kind, _, _, payload in self.frames() if kind == DATA)
                self.too_much = max(self.too_much, sent - room)
                if self._window:
                    connection.sendall(
                        frame(WINDOW_UPDATE, 0, 1, more) + frame(WINDOW_UPDATE, 0, 0, more)
                    )
                    room += self._window
            for start in range(0, len(self._answer), self._cut):
                connection.sendall(self._answer[start : start + self._cut])
            connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(65536):
                self.got += data

    def _is_asked(self) -> bool:
        return any(kind == DATA and flags & END_STREAM for kind, flags, _, _ in self.frames())

    def frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        """What came after the preface: kind, flags, stream, payload."""
        held = self.got.removeprefix(PREFACE)
        at = 0
        while at + 9 <= len(held):
            end = at + 9 + int.from_bytes(held[at : at + 3], "big")
            if end <= len(held):
                stream = int.from_bytes(held[at + 5 : at + 9], "big")
                yield held[at + 3], held[at + 4], stream, held[at + 9 : end]
            at = end


def ask_once(
    rig: Rig, answer: bytes, *options: str, cut: int = 1 << 20, window: int = 0
) -> tuple[dict[str, Any], Server]:
    server = Server(answer, cut, window)
    with server.listener:
        port = server.listener.getsockname()[1]
        words = ("--requests", "1", "--timeout", "10", *options)
        written, _ = rig.start_load(STREAM, port, *words).communicate()
        server.thread.join()
    report: dict[str, Any] = json.loads(written)
    return report, server


@pytest.mark.parametrize("cut", [1 << 20, 1, 7])
def test_a_good_stream_is_counted_whatever_the_reads(rig: Rig, cut: int) -> None:
    ping = frame(PING, 0, 0, b"12345678")
    report, server = ask_once(rig, ping + GOOD, cut=cut)
    assert find_faults(report, STREAM) == []
    assert (report["ok"], report["events"], report["sse"]) == (1, 2, 3)
    assert (PING, 1, 0, b"12345678") in list(server.frames())
    assert (SETTINGS, 1, 0, b"") in list(server.frames())


@pytest.mark.parametrize(
    ("answer", "counted", "said"),
    [
        (stream(FIRST, DONE), "err_incomplete", "number of events"),
        (stream(FIRST, SECOND, SECOND, DONE), "err_incomplete", "number of events"),
        (stream(SECOND, FIRST, DONE), "err_incomplete", "out of order"),
        (stream(FIRST, SECOND), "err_incomplete", "terminal frame"),
        (GOOD.removeprefix(HEAD), "err_incomplete", "before its head"),
        (GOOD.replace(b"\x20\x88", b"\x20\x8d"), "err_status", "not 200"),
        (HEAD + frame(RST, 0, 1, struct.pack(">I", 2)), "err_eof", "reset with 2"),
        (HEAD + frame(GOAWAY, 0, 0, struct.pack(">II", 0, 11)), "err_incomplete", "GOAWAY"),
        (HEAD + frame(DATA, 0, 1, FIRST), "err_eof", "after 1 events"),
        (HEAD + frame(DATA, 8, 1, b"\0" + FIRST), "err_incomplete", "padding"),
        (HEAD + b"\x00\x40\x01\0\0\0\0\0\x01", "err_incomplete", "too long"),
        (b"", "err_eof", "after 0 events"),
    ],
)
def test_a_stream_that_is_wrong_is_an_error(
    rig: Rig, answer: bytes, counted: str, said: str
) -> None:
    report, _ = ask_once(rig, answer)
    assert report["ok"] == 0
    assert report[counted] >= 1
    assert said in report["err"]
    assert find_faults(report, STREAM)


def test_the_body_waits_for_room(rig: Rig) -> None:
    report, server = ask_once(rig, GOOD, "--body-bytes", "150000", window=7000)
    assert find_faults(report, STREAM) == []
    sent = [len(payload) for kind, _, _, payload in server.frames() if kind == DATA]
    assert sum(sent) > 140_000
    assert max(sent) <= 16384
    assert server.too_much <= 0


def test_the_proxy_and_the_rig_agree(rig: Rig) -> None:
    """Closed loop, more requests than streams, and bodies that need more room than a connection has."""
    load = Load(
        "chat", "mock-e5-d0", stream=True, connections=2, expect=5,
        options=("--http2", "40", "--body-bytes", "5000"),
    )  # fmt: skip
    with rig.proxy() as proxy:
        process = rig.start_load(load, proxy.port, "--requests", "300", "--timeout", "30")
        report = json.loads(process.communicate()[0])
    assert find_faults(report, load) == []
    assert report["ok"] == 300
    assert report["hash_other"] == 0


def test_the_proxy_ends_connections_in_order_and_nothing_is_lost() -> None:
    """Each connection is for 50 requests; those that come too late go over another one."""
    limited = (
        'sh -c \'printf "\\n[server.limits]\\nrequests_per_connection = 50\\n" >> {config}; '
        f"exec {sys.executable} -m rawproxy serve --config {{config}} "
        "--listen 127.0.0.1:0 --admin off'"
    )
    load = Load(
        "chat", "mock-e0-z10", stream=False, connections=1, expect=10, options=("--http2", "16")
    )
    with open_rig(plan_cores(), limited) as rig, rig.proxy() as proxy:
        process = rig.start_load(load, proxy.port, "--requests", "500", "--timeout", "60")
        report = json.loads(process.communicate()[0])
    assert find_faults(report, load) == []
    assert report["ok"] == 500


def test_the_hash_is_of_the_content_and_of_nothing_else(rig: Rig) -> None:
    later = [part.replace(b"@000000000000000", b"@000000000000001") for part in (FIRST, SECOND)]
    same = [GOOD, stream(FIRST + SECOND[:5], SECOND[5:] + DONE), stream(*later, DONE)]
    hashes = {ask_once(rig, one, cut=cut)[0]["hash"] for one in same for cut in (1 << 20, 1, 11)}
    assert len(hashes) == 1
    for other in (b"context", b"contenT", b"content "):
        changed = [part.replace(b"content", other) for part in (FIRST, SECOND)]
        assert ask_once(rig, stream(*changed, DONE))[0]["hash"] not in hashes
    assert ask_once(rig, stream(FIRST, SECOND, b"\n", DONE))[0]["hash"] not in hashes


@pytest.mark.parametrize("name", ["load", "mock"])
def test_it_compiles_without_a_warning(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.processes.BUILT", tmp_path)
    monkeypatch.setenv("CC", "cc -Werror")
    assert build(name).exists()
