"""The scenes of stress: that rawproxy passes them, and that who should not does not."""

import os
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from bench.processes import Running, plan_cores
from bench.rig import DEFAULT_PROXY, Load, Rig, open_rig
from bench.stress import (
    _find_changes,
    _run,
    _stats,
    _upstream_hash,
    main,
    measure_agent,
    measure_drain,
    measure_fragments,
    measure_long,
    measure_slow_readers,
    measure_workers,
    table,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def proxy(rig: Rig) -> Iterator[Running]:
    with rig.proxy() as running:
        yield running


@contextmanager
def altering(upstream: int, old: bytes, new: bytes) -> Iterator[Running]:
    """Stand for a proxy: pass bytes on, with `new` for `old` in what the upstream says."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", upstream)) as above, suppress(OSError):
                down = threading.Thread(target=self._answer, args=(above,), daemon=True)
                down.start()
                while data := self.request.recv(65536):
                    above.sendall(data)
                above.shutdown(socket.SHUT_WR)
                down.join()

        def _answer(self, above: socket.socket) -> None:
            with suppress(OSError):
                while data := above.recv(65536):
                    self.request.sendall(data.replace(old, new))
                self.request.shutdown(socket.SHUT_WR)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 100

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Running(os.getpid(), server.server_address[1], 0.0)
        server.shutdown()


@pytest.mark.parametrize("model", ["mock-e5-d0-p1", "mock-e5-d0-p9", "mock-e5-d20-p40-f500"])
@pytest.mark.parametrize("kind", ["chat", "messages", "responses"])
def test_a_stream_in_pieces_has_the_same_content(rig: Rig, kind: str, model: str) -> None:
    load = Load(kind, model, stream=True, connections=2, expect=5)
    wanted = _upstream_hash(rig, Load(kind, "mock-e5-d0", stream=True, connections=1, expect=5))
    before = _stats(rig)["writes"]
    report = _run(rig, load, rig.mock.port, "--requests", "6")
    assert report["ok"] == 6
    assert _find_changes(report, wanted) == []
    assert _stats(rig)["writes"] - before > 6 * 5 * 3


def test_the_mock_tells_what_it_was_asked(rig: Rig) -> None:
    before = _stats(rig)["hashed"]
    for body_bytes, changed in ((2000, 0), (2000, 0), (3000, 1)):
        load = Load("chat", "mock-e1-d0-h1", stream=True, connections=1, expect=1)
        words = ("--requests", "1", "--body-bytes", str(body_bytes))
        assert _run(rig, load, rig.mock.port, *words)["ok"] == 1
        after = _stats(rig)["hashed"]
        assert abs(after["bytes"] - body_bytes) < 200
        if before["requests"]:
            assert after["changes"] - before["changes"] == changed
            assert (after["hash"] != before["hash"]) == bool(changed)
        before = after


def test_what_is_not_the_upstreams_is_told() -> None:
    assert _find_changes({"hash": "a", "hash_other": 0}, "a") == []
    assert _find_changes({"hash": "b", "hash_other": 0}, "a")
    assert _find_changes({"hash": "a", "hash_other": 1}, "a")


def test_slow_readers(rig: Rig, proxy: Running) -> None:
    figures, faults = measure_slow_readers(rig, proxy, readers=2, events=3000, seconds=0.3)
    assert faults == []
    assert figures["events of each"] == 3000


def test_slow_readers_who_get_something_else_are_told(rig: Rig) -> None:
    with altering(rig.mock.port, b"gpt-4o-mini", b"gpt-4o-maxi") as liar:
        _, faults = measure_slow_readers(rig, liar, readers=2, events=500, seconds=0.3)
    assert faults == ["a slow reader got another content"] * 2


def test_fragments(rig: Rig, proxy: Running) -> None:
    figures, faults = measure_fragments(rig, proxy, sizes=(1, 30), requests=8)
    assert faults == []
    assert len(figures) == 6


def test_fragments_that_are_put_together_wrongly_are_told(rig: Rig) -> None:
    """A proxy that drops a byte when a read begins with it, and one that changes content."""
    with altering(rig.mock.port, b"gpt-4o-mini", b"gpt-4o-maxi") as liar:
        _, faults = measure_fragments(rig, liar, sizes=(), requests=8)
    assert faults == ["whole events: the content is not the upstream's"]
    with altering(rig.mock.port, b"data: [DONE]", b"data: [DOME]") as liar:
        _, faults = measure_fragments(rig, liar, sizes=(), requests=8)
    assert any("terminal frame" in fault for fault in faults)


def test_an_agents_request(rig: Rig, proxy: Running) -> None:
    figures, faults = measure_agent(rig, proxy, seconds=0.3)
    assert faults == []
    assert figures["passed: bytes sent"] == figures["passed: bytes that the upstream got"] > 50_000
    assert figures["translated: bytes that the upstream got"] > 50_000


def test_a_long_stream(rig: Rig, proxy: Running) -> None:
    figures, faults = measure_long(rig, proxy, seconds=2.0, streams=5)
    assert faults == []
    assert figures["memory at 95 %, MiB"] > 0


def test_a_drain(rig: Rig) -> None:
    figures, faults = measure_drain(rig, streams=20, seconds=2.0)
    assert faults == []
    assert figures["HTTP/1.1: streams whole"] == figures["HTTP/2: streams whole"] == 20


def test_a_proxy_that_does_not_wait_for_its_streams_is_told() -> None:
    impatient = (
        'sh -c \'printf "\\n[server]\\ndrain_seconds = 0\\n" >> {config}; '
        f"exec {sys.executable} -m rawproxy serve --config {{config}} "
        "--listen 127.0.0.1:0 --admin off'"
    )
    with open_rig(plan_cores(), impatient) as rig:
        _, faults = measure_drain(rig, streams=10, seconds=1.0)
    for version in ("HTTP/1.1", "HTTP/2"):
        assert f"{version}: 0 of 10 streams whole" in faults


def test_workers(rig: Rig) -> None:
    figures, faults = measure_workers(rig, DEFAULT_PROXY, counts=(1, 2), seconds=0.3)
    assert faults == []
    assert figures["1: requests per second"] > 0
    assert figures["2: requests per second"] > 0


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--only", "drain"]) == 0
    assert "| drain: HTTP/2: streams whole" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--only", "nonsense"])


def test_the_table_has_a_row_for_each_figure() -> None:
    assert table({"a": {"x": 12345.6, "y": 1.23456}, "b": {"z": 7}}).splitlines()[2:] == [
        "| a: x  | 12,346 |",
        "| a: y  |  1.235 |",
        "| b: z  |      7 |",
    ]
