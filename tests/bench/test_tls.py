"""TLS in the rig: that it is really spoken, by whom it should be, and checked."""

import json
import shutil
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.processes import Running, StartError, build, plan_cores, running
from bench.rig import Load, Rig, find_faults
from bench.samples import Samples
from bench.tls import (
    MODES,
    Certificates,
    main,
    make_certificates,
    measure_tls,
    start_rawproxy,
    table,
)

STREAM = Load("chat", "mock-e5-d1000", stream=True, connections=4, expect=5)


def _can_build() -> bool:
    try:
        return bool(shutil.which("cc")) and bool(build("mock", tls=True))
    except StartError:
        return False


@pytest.fixture(scope="module", autouse=True)
def _programs() -> None:
    if not _can_build():
        pytest.skip("the rig's programs need a C compiler, and OpenSSL's headers for TLS")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def mock(files: Certificates) -> Iterator[Running]:
    program, pair = build("mock", tls=True), f"{files.certificate},{files.key}"
    with running([program, "0", pair], plan_cores().mock) as server:
        yield server


def ask(rig: Rig, port: int, *options: str, load: Load = STREAM) -> dict[str, object]:
    words = ("--requests", "40", "--timeout", "10", *options)
    report: dict[str, object] = json.loads(rig.start_load(load, port, *words).communicate()[0])
    return report


@pytest.mark.slow
def test_the_mock_satisfies_the_load_generator(mock: Running, files: Certificates) -> None:
    rig = Rig(mock, plan_cores(), tls=True)
    for load in (
        STREAM,
        Load("messages", "mock-e0-z90000", stream=False, connections=2, expect=90000),
    ):
        report = ask(rig, mock.port, "--tls", str(files.authority), load=load)
        assert find_faults(report, load) == []
        assert report["ok"] == 40
        assert report["hash_other"] == 0


@pytest.mark.slow
def test_what_the_mock_speaks_is_tls(mock: Running, files: Certificates) -> None:
    context = ssl.create_default_context(cafile=files.authority)
    with (
        socket.create_connection(("127.0.0.1", mock.port)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as wire,
    ):
        assert wire.version() == "TLSv1.3"
        wire.sendall(b"GET /stats HTTP/1.1\r\n\r\n")
        assert wire.recv(4096).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.slow
def test_a_server_without_tls_or_with_another_authority_is_an_error(
    mock: Running, files: Certificates, tmp_path: Path
) -> None:
    rig = Rig(mock, plan_cores(), tls=True)
    stranger = make_certificates(tmp_path)
    report = ask(rig, mock.port, "--tls", str(stranger.authority))
    assert report["ok"] == 0
    assert report["err_conn"]
    assert "handshake" in str(report["err"])
    report = ask(rig, mock.port)
    assert report["ok"] == 0
    assert report["err_eof"]
    with running([build("mock", tls=True), "0"], plan_cores().mock) as plain:
        words = ("--tls", str(files.authority), "--timeout", "0.5")
        assert ask(rig, plain.port, *words)["unfinished"] == 4


@pytest.mark.slow
def test_a_stream_that_is_cut_without_goodbye_is_an_error(files: Certificates) -> None:
    """A body that ends with the connection is whole only when TLS was ended, too."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    body = b'data: {"content":"@0000000000000001@"}\n\ndata: [DONE]\n\n'
    load = Load("chat", "mock", stream=True, connections=1, expect=1)
    for ends_well in (True, False):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            rig = Rig(Running(0, port, 0.0), plan_cores(), tls=True)
            words = ("--requests", "1", "--timeout", "10", "--tls", str(files.authority))
            process = rig.start_load(load, port, *words)
            wire = context.wrap_socket(listener.accept()[0], server_side=True)
            wire.recv(65536)
            wire.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + body)
            (wire.unwrap() if ends_well else wire).close()
            report = json.loads(process.communicate()[0])
        assert (find_faults(report, load) == []) is ends_well


@pytest.mark.slow
def test_without_openssl_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.processes.BUILT", tmp_path)
    monkeypatch.setenv("CC", "cc -Dssl_st=)")
    with pytest.raises(StartError, match="libssl-dev"):
        build("mock", tls=True)


@pytest.mark.slow
def test_every_mode_is_measured_and_its_replies_are_whole(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--quick", "--only", "S3lo", "--nginx", ""]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == [f"S3lo, {mode}" for mode in MODES]


@pytest.mark.slow
def test_a_proxy_that_answers_wrongly_is_found() -> None:
    """One that does not trust the upstream: every reply is an error of its own."""
    start = start_rawproxy(
        "sh -c 'sed -i /ca_file/d {config}; "
        f"exec {sys.executable} -m rawproxy serve --config {{config}} --listen 127.0.0.1:0 --admin off'"
    )
    results, faults = measure_tls({"rawproxy": start}, names=("S3lo",), rounds=1, seconds=0.3)
    assert {fault.partition(": ")[0] for fault in faults} == {
        f"S3lo rawproxy {mode}" for mode in MODES[1:]
    }
    assert results["S3lo"]["plain"]["rawproxy"].cpu_us


def test_the_table_tells_ratios() -> None:
    def found(*cpu: float) -> Samples:
        return Samples(list(cpu), [1.0], [])

    results = {"S1": {"plain": {"a": found(10, 20, 90), "b": found(10)}}}
    row = table(results).splitlines()[2]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["S1, plain", "20.0 (10.0-90.0)", "10.0", "2.00", "1.00", "-", "-"]
