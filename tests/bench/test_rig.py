"""The rig itself: that it counts what is right and refuses what is wrong.

Nothing here is about speed.
"""

import contextlib
import json
import shlex
import socket
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import memory
from bench.__main__ import main
from bench.hangup import PHASES, measure_hang_ups
from bench.processes import StartError, plan_cores, running
from bench.report import spread
from bench.rig import CALLER_KEY, Load, Rig, find_faults, proxy_config
from bench.sections import format_tables

STREAM = Load("chat", "mock-e2-d0", stream=True, connections=1, expect=2)
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FIRST = b'data: {"content":"@0000000000000001@"}\n\n'
SECOND = b'data: {"content":"@0000000000000002@"}\n\n'
DONE = b"data: [DONE]\n\n"


def chunks(*parts: bytes) -> bytes:
    return HEAD + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


GOOD = chunks(FIRST, SECOND, DONE)


@contextlib.contextmanager
def answering(response: bytes, cut: int) -> Iterator[int]:
    """Serve `response` to one request, `cut` bytes a write, then close; yield the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.recv(65536)
            for start in range(0, len(response), cut):
                connection.sendall(response[start : start + cut])

    thread = threading.Thread(target=serve)
    thread.start()
    with listener:
        yield listener.getsockname()[1]
        thread.join()


def ask_once(rig: Rig, response: bytes, load: Load = STREAM, cut: int = 1 << 20) -> dict[str, Any]:
    with answering(response, cut) as port:
        process = rig.start_load(load, port, "--requests", "1", "--timeout", "10")
        written, _ = process.communicate()
    report: dict[str, Any] = json.loads(written)
    return report


@pytest.mark.slow
@pytest.mark.parametrize("cut", [1 << 20, 1, 7])
def test_a_good_stream_is_counted_whatever_the_reads(rig: Rig, cut: int) -> None:
    report = ask_once(rig, GOOD, cut=cut)
    assert find_faults(report, STREAM) == []
    assert (report["ok"], report["events"], report["sse"]) == (1, 2, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("response", "counted", "said"),
    [
        (chunks(FIRST, DONE), "err_incomplete", "number of events"),
        (chunks(FIRST, SECOND, SECOND, DONE), "err_incomplete", "number of events"),
        (chunks(SECOND, FIRST, DONE), "err_incomplete", "out of order"),
        (chunks(FIRST, SECOND), "err_incomplete", "terminal frame"),
        (chunks(FIRST, SECOND, DONE[:-1]), "err_incomplete", "terminal frame"),
        (chunks(FIRST, SECOND, b": " + DONE), "err_incomplete", "terminal frame"),
        (GOOD + b"x", "err_incomplete", "bytes after the end"),
        (HEAD + b"zz\r\n", "err_incomplete", "bad chunk"),
        (GOOD[:-5], "err_eof", "in a body"),
        (GOOD[:20], "err_eof", "before a head"),
        (b"", "err_eof", "before a head"),
        (GOOD.replace(b"200 OK", b"502 Bad"), "err_status", "502"),
    ],
)
def test_a_stream_that_is_wrong_is_an_error(
    rig: Rig, response: bytes, counted: str, said: str
) -> None:
    report = ask_once(rig, response)
    assert report["ok"] == 0
    assert report[counted] == 1
    assert said in report["err"]
    assert find_faults(report, STREAM)


@pytest.mark.slow
def test_what_a_reply_says_has_one_hash_whenever_it_was_written(rig: Rig) -> None:
    later = GOOD.replace(b"@0000000000000002@", b"@0000000000000003@")
    assert later != GOOD
    expected = ask_once(rig, GOOD)["hash"]
    assert ask_once(rig, later)["hash"] == expected
    assert ask_once(rig, later, cut=1)["hash"] == expected
    assert ask_once(rig, later, cut=7)["hash"] == expected
    other = ask_once(rig, GOOD.replace(b"content", b"cOntent"))
    assert (other["ok"], other["hash"] == expected) == (1, False)


@pytest.mark.slow
@pytest.mark.parametrize(("length", "good"), [(10, True), (9, False)])
def test_a_short_body_is_an_error(rig: Rig, length: int, good: bool) -> None:
    blocking = Load("chat", "mock", stream=False, connections=1, expect=10)
    response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (length, b"x" * length)
    report = ask_once(rig, response, load=blocking)
    assert (find_faults(report, blocking) == []) is good


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["chat", "messages", "responses"])
@pytest.mark.parametrize("model", ["mock-e5-d0", "mock-e5-d200-f1000", "mock-e5-d0-b2"])
def test_the_mock_satisfies_the_load_generator(rig: Rig, kind: str, model: str) -> None:
    load = Load(kind, model, stream=True, connections=4, expect=5)
    report = rig.measure(load, seconds=0.05, proxy=None).report
    assert find_faults(report, load) == []


@pytest.mark.slow
def test_hang_ups_are_seen_in_every_phase(rig: Rig) -> None:
    found, faults = measure_hang_ups(rig, [], trials=2)
    assert faults == {}
    assert {name: len(sides["direct"]) for name, sides in found.items()} == {
        phase.name: 2 for phase in PHASES
    }


@pytest.mark.slow
def test_streams_are_held_and_let_go(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SETTLE_SECONDS", "WATCH_SECONDS"):
        monkeypatch.setattr(memory, name, 0.2)
    found, faults = memory.measure_memory(rig, [], streams=[20, 40])
    assert faults == {"direct": []}
    assert [run["streams"] for run in found["direct"]] == [20, 40]


# Stands for a proxy: answers whatever comes with 500, and says so as rawproxy would.
BROKEN_PROXY = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(500)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"listening on http://127.0.0.1:{server.server_port}", file=sys.stderr, flush=True)
server.serve_forever()
"""


@pytest.mark.slow
@pytest.mark.usefixtures("rig")  # skips this, too, where there is no compiler
def test_the_exit_code_tells_a_wrong_run_from_a_right_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--quick", "--rounds", "1", "--only", "S3lo", "--results", str(tmp_path)]
    assert main([*words, "--direct-only"]) == 0
    [kept] = tmp_path.iterdir()
    assert json.loads(kept.read_text())["scenarios"]["S3lo"]["direct"]["per_second"]["median"] > 0
    shown = capsys.readouterr().out
    assert main(["--show", str(kept)]) == 0
    assert capsys.readouterr().out == shown

    broken = shlex.join([sys.executable, "-c", BROKEN_PROXY.replace("{", "{{").replace("}", "}}")])
    elsewhere = str(tmp_path / "broken")
    assert main([*words, "--peers", "none", "--results", elsewhere, "--proxy-command", broken]) == 1
    assert "WRONG: S3lo rawproxy, round 1: " in capsys.readouterr().err


def test_a_server_that_does_not_start_is_reported_with_its_words() -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such file')"]
    with pytest.raises(StartError, match="no such file"), running(command, plan_cores().proxy):
        pass


def test_the_configuration_leads_every_model_to_its_upstream() -> None:
    config = tomllib.loads(proxy_config(1234))
    assert config["access"]["mode"] == "callers"
    assert [caller["key"] for caller in config["access"]["callers"]] == [CALLER_KEY]
    assert config["upstreams"]["mock"]["base_url"] == "http://127.0.0.1:1234/v1"
    assert config["upstreams"]["claude"]["base_url"] == "http://127.0.0.1:1234"
    assert [(route["model"], route["to"]) for route in config["routes"]] == [
        ("mock-*", ["mock/*"]),
        ("claude-mock-*", ["claude/*"]),
    ]


def test_a_figure_keeps_its_spread() -> None:
    assert spread([3.0, 1.0, 2.0]) == {
        "median": 2.0,
        "min": 1.0,
        "max": 3.0,
        "values": [3.0, 1.0, 2.0],
    }


def test_tables_are_markdown_and_leave_out_what_was_not_measured() -> None:
    machine = {
        "commit": "abc",
        "cpu": "x",
        "cores": 2,
        "kernel": "6",
        "python": "3",
        "versions": {},
    }
    result = {
        "date": "2026-01-01T00:00:00+00:00",
        "machine": machine,
        "settings": {"rounds": 1, "seconds": 1.0},
        "scenarios": {},
        "memory": {},
        "faults": [],
        "hang_up": {"silent": {"direct": [0.5, 0.25, 1.0], "rawproxy": []}},
    }
    assert format_tables(result).splitlines()[2:] == [
        "## A client hangs up",
        "",
        "| a client hangs up: upstream closed after p50 / max ms |      direct | rawproxy |",
        "| ----------------------------------------------------- | ----------: | -------: |",
        "| mid-stream, upstream silent                           | 0.50 / 1.00 |        - |",
    ]
