"""TLS as others see it: OpenSSL's own client, the official SDKs, and a crowd that shakes hands at once."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from rawproxy.app.serve import Proxy, open_proxy
from tests.conftest import ROOT
from tests.end_to_end.models import MODELS
from tests.end_to_end.test_sdk import drive
from tests.net.fakes import Seen, chunk, head
from tests.net.tls import authority, client, client_context, dial, files, port_of
from tests.net.world import CHAT, MESSAGES, PATH, call, delta, preamble, stop, world

pytestmark = pytest.mark.slow

HANDSHAKES = 200


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def config(ca: trustme.CA, tmp_path: Path) -> dict[str, Any]:
    """The engine behind TLS: by default, by name, and by wildcard."""
    names = [("localhost", "127.0.0.1"), ("second.example",), ("*.wild.example",)]
    first, *more = [files(ca, tmp_path, *each) for each in names]
    return {
        "server": {"listen": ["127.0.0.1:0"], "tls": {**first, "more": more}},
        "admin": {"listen": ""}, "upstreams": {"local": {"provider": "engine"}},
    }  # fmt: skip


async def s_client(
    proxy: Proxy, ca_file: str, *options: str, say: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run OpenSSL's client; it says `say` once it is through. Its exit code is 0 for a handshake."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl program is not installed")
    command = [
        openssl, "s_client", "-connect", f"127.0.0.1:{port_of(proxy.urls[0])}", "-CAfile", ca_file,
        "-verify_return_error", "-ign_eof" if say else "-brief", *options,
    ]  # fmt: skip
    with trio.fail_after(20):
        return await trio.run_process(
            command, stdin=say, capture_stdout=True, capture_stderr=True, check=False
        )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-tls1_3"], "Protocol version: TLSv1.3"),
        (["-tls1_2"], "Protocol version: TLSv1.2"),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], "ECDHE-ECDSA-CHACHA20-POLY1305"),
        (["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"], "TLS_CHACHA20_POLY1305_SHA256"),
        (["-tls1_3", "-groups", "P-256"], "TLSv1.3"),
        (["-servername", "localhost", "-verify_hostname", "localhost"], "Verified peername: localhost"),
        (["-servername", "second.example", "-verify_hostname", "second.example"], "peername: second.example"),
        (["-servername", "a.wild.example", "-verify_hostname", "a.wild.example"], "*.wild.example"),
        (["-servername", "unknown.example", "-verify_hostname", "localhost"], "peername: localhost"),
        (["-noservername", "-verify_ip", "127.0.0.1"], "Verification: OK"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)  # fmt: skip
async def test_openssl_gets_in(
    config: dict[str, Any], ca: trustme.CA, tmp_path: Path, options: list[str], told: str
) -> None:
    async with open_proxy(config) as proxy:
        done = await s_client(proxy, authority(ca, tmp_path), *options)
    assert done.returncode == 0, done.stderr.decode()
    assert told in done.stderr.decode()


@pytest.mark.parametrize(
    ("options", "alert"),
    [
        (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "alert protocol version"),
        (["-tls1", "-cipher", "ALL:@SECLEVEL=0"], "alert protocol version"),
        # Without forward secrecy; without authenticated encryption; without authentication.
        (["-tls1_2", "-cipher", "AES128-GCM-SHA256"], "alert handshake failure"),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"], "alert handshake failure"),
        (["-tls1_2", "-cipher", "AECDH-AES128-SHA:@SECLEVEL=0"], "alert handshake failure"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
async def test_openssl_is_refused(
    config: dict[str, Any], ca: trustme.CA, tmp_path: Path, options: list[str], alert: str
) -> None:
    async with open_proxy(config) as proxy:
        done = await s_client(proxy, authority(ca, tmp_path), *options)
        found = proxy.metrics.registry.get_sample_value(
            "rawproxy_refused_connections_total", {"why": "tls"}
        )
    assert done.returncode != 0
    assert alert in done.stderr.decode()
    assert found == 1


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize(
    ("offered", "chosen"),
    [("http/1.1,h2", "h2"), ("http/1.1", "http/1.1"), ("h3", ""), ("", "")],
)
async def test_the_protocol_that_openssl_gets(
    config: dict[str, Any], ca: trustme.CA, tmp_path: Path, version: str, offered: str, chosen: str
) -> None:
    """And a request over it, where it can be typed. With no protocol in common HTTP/1.1 is meant."""
    request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    async with open_proxy(config) as proxy:
        options = [version, *(["-alpn", offered] if offered else [])]
        if chosen == "h2":
            done = await s_client(proxy, authority(ca, tmp_path), *options, "-no_ign_eof", say=b" ")
        else:
            done = await s_client(proxy, authority(ca, tmp_path), *options, say=request)
    out = done.stdout.decode("latin-1")
    assert (f"ALPN protocol: {chosen}" if chosen else "No ALPN negotiated") in out
    assert "Compression: NONE" in out
    if chosen != "h2":
        assert "HTTP/1.1 200 OK" in out


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("shows", ["a good one", "another authority's", "none"])
async def test_openssl_with_a_certificate_of_its_own(
    config: dict[str, Any], ca: trustme.CA, tmp_path: Path, version: str, shows: str
) -> None:
    trusted = authority(ca, tmp_path)
    config["server"]["tls"]["client_ca"] = trusted
    signer = ca if shows == "a good one" else trustme.CA()
    own = files(signer, tmp_path, "client.example")
    options = [version, "-cert", own["certificate"], "-key", own["key"]]
    request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    async with open_proxy(config) as proxy:
        done = await s_client(
            proxy, trusted, *(options[:1] if shows == "none" else options), say=request
        )
    assert (b"HTTP/1.1 200 OK" in done.stdout) is (shows == "a good one")
    if shows != "a good one":
        assert b"alert" in done.stderr


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_a_session_is_taken_up_again(
    config: dict[str, Any], ca: trustme.CA, tmp_path: Path, version: str
) -> None:
    """With the configuration it was made under, and after a reload by a whole handshake."""
    trusted, session = authority(ca, tmp_path), str(tmp_path / "session")
    request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    async with open_proxy(config) as proxy:
        done = await s_client(proxy, trusted, version, "-sess_out", session, say=request)
        assert b"\nNew, TLS" in done.stdout
        again = await s_client(proxy, trusted, version, "-sess_in", session, say=request)
        assert b"\nReused, TLS" in again.stdout
        proxy.reload(proxy.config)
        later = await s_client(proxy, trusted, version, "-sess_in", session, say=request)
        assert b"\nNew, TLS" in later.stdout
        assert b"HTTP/1.1 200 OK" in later.stdout


# What Mozilla's "intermediate" profile has and Python's ssl cannot choose: a list of groups. Those
# beyond the profile's are sound, too.
GROUPS = "tls_curves: TLS curves {"


async def test_sslyze_finds_nothing(config: dict[str, Any], ca: trustme.CA, tmp_path: Path) -> None:
    """Versions, ciphers, compression, renegotiation, known attacks, against Mozilla's profile."""
    program = ROOT / ".venvs" / "tools" / "bin" / "python"
    if not program.exists():
        pytest.fail(f"{program} is not set up: `make test` does it")
    told = tmp_path / "told.json"
    async with open_proxy(config) as proxy:
        done = await trio.run_process(
            [program, "-m", "sslyze", "--json_out", told, f"localhost:{port_of(proxy.urls[0])}"],
            capture_stdout=True, capture_stderr=True, check=False,
        )  # fmt: skip
    out = done.stdout.decode()
    (result,) = json.loads(await trio.Path(told).read_text())["server_scan_results"]
    found = result["scan_result"]
    assert {one["status"] for one in found.values()} == {"COMPLETED", "NOT_SCHEDULED"}, out
    accepted = {
        name: {
            one["cipher_suite"]["name"] for one in found[name]["result"]["accepted_cipher_suites"]
        }
        for name in found
        if name.endswith("_cipher_suites")
    }
    weak = {f"{name}_cipher_suites" for name in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1")}
    assert {name for name, suites in accepted.items() if not suites} == weak
    assert all("GCM" in one or "POLY1305" in one for suites in accepted.values() for one in suites)
    renegotiation = found["session_renegotiation"]["result"]
    assert renegotiation["supports_secure_renegotiation"]
    assert not renegotiation["is_vulnerable_to_client_renegotiation_dos"]
    assert not found["tls_compression"]["result"]["supports_compression"]
    assert not found["heartbleed"]["result"]["is_vulnerable_to_heartbleed"]
    assert not found["openssl_ccs_injection"]["result"]["is_vulnerable_to_ccs_injection"]
    assert found["tls_fallback_scsv"]["result"]["supports_fallback_scsv"]
    # The certificate is a test's own: nobody trusts it, and it is for a thousand years.
    others = [line.strip("* ") for line in out.partition("Not compliant.")[2].splitlines()]
    known = ("certificate_path_validation", "maximum_certificate_lifespan", GROUPS)
    assert [line for line in others if line and not line.startswith(known)] == []


@pytest.mark.parametrize("version", ["new", "legacy"])
@pytest.mark.parametrize(("sdk", "dialect"), [("openai", CHAT), ("anthropic", MESSAGES)])
@pytest.mark.parametrize("mode", ["stream", "blocking"])
async def test_an_sdk_over_https(
    config: dict[str, Any], ca: trustme.CA, tmp_path: Path, sdk: str, dialect: str, version: str,
    mode: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("SSL_CERT_FILE", authority(ca, tmp_path))
    async with world(MODELS[dialect], dialect, server=config["server"]) as here:
        assert here.url.startswith("https://")
        got = await drive(sdk, version, here.url, mode, "text")
    assert "text" in got, json.dumps(got)
    assert here.record.outcome == "ok"


async def test_two_hundred_handshakes_while_a_stream_runs(
    config: dict[str, Any], ca: trustme.CA
) -> None:
    """All get in, and none of the stream's pieces waits for them all."""
    done = 0
    piece = chunk(delta(CHAT, "piece"))

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(head() + chunk(preamble(CHAT)))
        while done < HANDSHAKES:  # one a turn of the loop, however long the turn is
            await wire.send_all(piece)
        await wire.send_all(chunk(stop(CHAT)) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    async with world(script, CHAT, server=config["server"]) as here:
        context = client_context(ca)

        async def joins() -> None:
            nonlocal done
            stream = await dial(here.url, context)
            done += 1
            await trio.aclose_forcefully(stream)

        link = await client(here.url, context)
        await link.send("POST", PATH[CHAT], call(CHAT))
        assert (await link.head()).status_code == 200
        body = b""
        between: set[int] = set()  # handshakes that were done when something of the stream came
        async with trio.open_nursery() as nursery:
            for _ in range(HANDSHAKES):
                nursery.start_soon(joins)
            while data := await link.read():
                body += data
                between.add(done)
        assert done == HANDSHAKES
        assert between - {0, HANDSHAKES}
        assert body.rstrip().endswith(b"[DONE]")
        await link.aclose()
