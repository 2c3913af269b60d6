"""HTTP/2 as others speak it: curl, nghttp, h2load, and the vendors' SDKs."""

import json
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest
import trustme

from rawproxy.app.serve import run_in_thread
from tests.net.world import CHAT, MESSAGES, PATH, call, is_whole, text

pytestmark = pytest.mark.slow

ENGINE = {"provider": "engine", "tokens_per_second": 1e6, "first_token_seconds": 0}
CONFIG: dict[str, Any] = {
    "server": {"listen": ["127.0.0.1:0"]}, "admin": {"listen": ""}, "upstreams": {"local": ENGINE},
}  # fmt: skip
ASK = call(CHAT, model="local/ngram", max_tokens=20).decode()


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: nghttp2-client, curl)")
    return found


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module", params=["http", "https"])
def url(request: pytest.FixtureRequest, ca: trustme.CA, tmp_path_factory: Any) -> Iterator[str]:
    """A proxy with its embedded engine, in plain text and under TLS."""
    config = CONFIG
    if request.param == "https":
        folder: Path = tmp_path_factory.mktemp("tls")
        issued = ca.issue_cert("127.0.0.1", "localhost")
        issued.private_key_pem.write_to_path(folder / "key.pem")
        for at, blob in enumerate(issued.cert_chain_pems):
            blob.write_to_path(folder / "cert.pem", append=bool(at))
        tls = {"certificate": str(folder / "cert.pem"), "key": str(folder / "key.pem")}
        config = CONFIG | {"server": CONFIG["server"] | {"tls": tls}}
    with run_in_thread(config) as proxy:
        yield proxy.urls[0]


@pytest.fixture
def trust(ca: trustme.CA, tmp_path: Path) -> str:
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


def client(url: str, trust: str) -> httpx2.Client:
    """An HTTP client of Python's that speaks nothing but HTTP/2."""
    return httpx2.Client(http1=False, http2=True, verify=ssl.create_default_context(cafile=trust))


@pytest.mark.parametrize("dialect", [CHAT, MESSAGES])
def test_curl(url: str, trust: str, dialect: str) -> None:
    version = "--http2" if url.startswith("https") else "--http2-prior-knowledge"
    body = call(dialect, model="local/ngram", max_tokens=20).decode()
    out = run(
        program("curl"), "-sN", version, "--cacert", trust, "-w", "\n%{http_version} %{http_code}",
        "-H", "content-type: application/json", "-d", body, url + PATH[dialect],
    )  # fmt: skip
    stream, _, told = out.rpartition("\n")
    assert told == "2 200"
    assert is_whole(dialect, stream.encode())
    assert text(dialect, stream.encode())


def test_curl_may_ask_for_an_upgrade_and_is_answered_without(url: str, trust: str) -> None:
    out = run(
        program("curl"),
        "-s",
        "--http2",
        "--cacert",
        trust,
        "-w",
        "%{http_version}",
        f"{url}/healthz",
    )
    assert out.endswith("2" if url.startswith("https") else "1.1")


def test_nghttp(url: str, tmp_path: Path) -> None:
    (tmp_path / "body").write_text(ASK)
    out = run(
        program("nghttp"), "-v", "--no-verify-peer", "-H", "content-type: application/json",
        "-d", str(tmp_path / "body"), url + PATH[CHAT],
    )  # fmt: skip
    assert "[DONE]" in out
    assert "GOAWAY" not in out.partition(":status: 200")[0]
    assert "PROTOCOL_ERROR" not in out


def test_h2load(url: str, tmp_path: Path) -> None:
    (tmp_path / "body").write_text(ASK)
    out = run(
        program("h2load"), "-n", "400", "-c", "8", "-m", "20", "-H", "content-type: application/json",
        "-d", str(tmp_path / "body"), url + PATH[CHAT],
    )  # fmt: skip
    found = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", out)
    assert found is not None, out
    assert found.groups() == ("400", "0", "0", "0")
    assert "status codes: 400 2xx" in out


def test_the_sdks(url: str, trust: str) -> None:
    with client(url, trust) as http:
        theirs = openai.OpenAI(base_url=f"{url}/v1", api_key="any", http_client=http)
        chunks = theirs.chat.completions.create(
            model="local/ngram",
            messages=[{"role": "user", "content": "hi"}],
            stream=True,
            max_tokens=20,
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        ours = anthropic.Anthropic(base_url=url, api_key="any", http_client=http)
        with ours.messages.stream(
            model="local/ngram", max_tokens=20, messages=[{"role": "user", "content": "hi"}]
        ) as stream:
            assert "".join(stream.text_stream)
        got = http.post(
            f"{url}{PATH[CHAT]}", content=json.dumps(json.loads(ASK) | {"stream": False})
        )
        assert got.http_version == "HTTP/2"
        assert got.json()["choices"]
