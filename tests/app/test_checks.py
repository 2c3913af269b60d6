"""What a configuration has to keep, rule by rule: each broken on its own, each told by its key."""

import json
from pathlib import Path

import certifi
import pytest
import trustme

from rawproxy.app.checks import is_own
from rawproxy.app.config import from_mapping
from rawproxy.errors import ConfigError
from tests.net.tls import authority, files

DIGEST = "sha256:" + "0f" * 32


def faults(data: dict[str, object]) -> list[str]:
    try:
        from_mapping(data, "f", environ={})
    except ConfigError as error:
        return str(error).splitlines()
    return []


def upstream(**given: object) -> dict[str, object]:
    return {"upstreams": {"u": {"provider": "openai", **given}}}


def compatible(base_url: object) -> dict[str, object]:
    return upstream(provider="compatible", base_url=base_url)


def vertex(**account: object) -> dict[str, object]:
    """An upstream whose key is a service account, but for what `account` says."""
    whole = {"client_email": "a@b", "private_key": "-----BEGIN\nsecret", "token_uri": "https://t"}
    key = json.dumps(whole | account, indent=2)
    return upstream(provider="vertex", region="eu-1", project="p", keys=[key])


def callers(*given: dict[str, object], mode: str = "callers") -> dict[str, object]:
    return {"access": {"mode": mode, "callers": list(given)}}


def routes(*to: str, mode: str = "open") -> dict[str, object]:
    return {
        "access": {"mode": mode},
        "upstreams": {
            "a": {"provider": "openai", "forward": True},
            "b": {"provider": "openai", "forward": False},
            "c": {"provider": "anthropic", "forward": True},
            "e": {"provider": "engine"},
        },
        "routes": [{"model": "m", "to": list(to)}],
    }


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"server": {"listen": ["127.0.0.1:0", "[::1]:0", "localhost:0", "unix:/a.sock"]}},
        {"server": {"listen": ["0.0.0.0:80"]}, **callers({"name": "a", "key": "k"})},
        {"server": {"listen": ["0.0.0.0:80"]}, "access": {"mode": "forward"}},
        {"server": {"hosts": ["proxy.lan", "10.0.0.1", "fd00::1"], "seal_key": "s"}},
        {"server": {"origins": ["https://a.example", "http://b:80", "http://[::1]:1", "moz-extension://x"]}},
        {"server": {"drain_seconds": 0, "limits": {"body_rate": 0, "attempts": 1, "head_seconds": 0.5, "bodies_bytes": 33554432}}},
        {"admin": {"listen": ""}},
        {"admin": {"listen": "unix:/admin.sock"}},
        {"stream": {"keepalive_seconds": 0, "connect_seconds": 0, "total_seconds": 0}},
        callers({"name": "a", "key": DIGEST}, {"name": "b", "key": DIGEST.upper().replace("SHA256", "sha256")[:-1] + "0"}),
        upstream(keys=["k"], headers={"X-Team": "a b", "host": "h"}, scope="org", ca_file=certifi.where()),
        compatible("http://127.0.0.1:8000/v1/"),
        compatible("https://[2001:db8::1]"),
        {"upstreams": {"b": {"provider": "bedrock", "region": "eu-1", "keys": ["a:b"]},
                       "v": {"provider": "vertex", "region": "global", "project": "my-p"},
                       "z": {"provider": "azure", "base_url": "https://n.example", "api_version": "2024-10-21"},
                       "t": {"provider": "compatible", "base_url": "http://t/say", "text_field": "token.text",
                             "dialects": ["plain_text"]},
                       "o": {"provider": "ollama"}}},
        upstream(provider="bedrock", region="eu-1", keys=["aws:", "a:b:c"]),
        upstream(provider="vertex", region="eu-1", project="p", keys=["google:", "ya29.token"]),
        vertex(),
        upstream(keys=["{"]),
        {"models": [{"model": "m*", "dialect": "openai_chat", "sampling": False, "reasoning": "none", "limit": 9}]},
        {"stream": {"grammar_sample": 0}}, {"stream": {"grammar_sample": 1}},
        {"upstreams": {"e_1-x": {"provider": "engine", "first_token_seconds": 0, "models": {"m": "ngram"}}}},
        routes("a/*", "b/gpt-5", "c/models/with/slash"),
        routes("a/*", "e/ngram", mode="forward"),
        {"upstreams": {}},
        {"server": {"proxy_protocol": ["10.0.0.0/8", "192.0.2.1", "fd00::/8", "::1"]}},
    ],
)  # fmt: skip
def test_what_is_allowed(data: dict[str, object]) -> None:
    assert faults(data) == []


LISTEN = "must be loopback or a unix socket"


@pytest.mark.parametrize(
    ("data", "key", "what"),
    [
        ({"server": {"listen": []}}, "server.listen", "at least one"),
        ({"server": {"workers": 0}}, "server.workers", "must be"),
        ({"server": {"listen": ["localhost:1", "fd:x"]}}, "server.listen[1]", "is no address"),
        ({"server": {"listen": ["0.0.0.0:80"]}}, "server.listen[0]", LISTEN),
        ({"server": {"listen": ["example.org:80"]}}, "server.listen[0]", LISTEN),
        ({"admin": {"listen": "80"}}, "admin.listen", "is no address"),
        ({"admin": {"listen": "0.0.0.0:80"}, **callers({"name": "a", "key": "k"})}, "admin.listen", LISTEN),
        ({"server": {"hosts": ["Proxy.lan"]}}, "server.hosts[0]", "lower case"),
        ({"server": {"hosts": ["proxy.lan:80"]}}, "server.hosts[0]", "without a port"),
        ({"server": {"hosts": [""]}}, "server.hosts[0]", "is no host name"),
        ({"server": {"origins": ["https://a/"]}}, "server.origins[0]", "is no origin"),
        ({"server": {"origins": ["null"]}}, "server.origins[0]", "is no origin"),
        ({"server": {"origins": ["*"]}}, "server.origins[0]", "is no origin"),
        ({"server": {"seal_key": "a b"}}, "server.seal_key", "visible ASCII"),
        ({"server": {"proxy_protocol": ["::1", "10.0.0.1/8"]}}, "server.proxy_protocol[1]", "is no network"),
        ({"server": {"proxy_protocol": ["localhost"]}}, "server.proxy_protocol[0]", "is no network"),
        ({"server": {"proxy_protocol": [""]}}, "server.proxy_protocol[0]", "is no network"),
        ({"server": {"limits": {"handshake_seconds": 0}}}, "server.limits.handshake_seconds", "above 0"),
        ({"server": {"tls": {"key": __file__}}}, "server.tls.certificate", "is missing"),
        ({"server": {"tls": 1}}, "server.tls", "must be a table"),
        (upstream(client_key="k.pem"), "upstreams.u.client_certificate", "is missing"),
        (upstream(client_certificate="c.pem"), "upstreams.u.client_key", "is missing"),
        ({"server": {"drain_seconds": -1}}, "server.drain_seconds", "is -1.0, must be 0 or more"),
        ({"server": {"limits": {"attempts": 0}}}, "server.limits.attempts", "is 0, must be above 0"),
        ({"server": {"limits": {"body_seconds": 0}}}, "server.limits.body_seconds", "above 0"),
        ({"server": {"limits": {"idle_seconds": float("inf")}}}, "server.limits.idle_seconds", "is inf"),
        ({"stream": {"silence_seconds": float("nan")}}, "stream.silence_seconds", "is nan"),
        ({"server": {"limits": {"bodies_bytes": 33554431}}}, "server.limits.bodies_bytes",
         "must have room for one body (33554432 bytes)"),
        ({"stream": {"frame_bytes": 0}}, "stream.frame_bytes", "above 0"),
        (callers(), "access.callers", "at least one"),
        (callers({"name": "", "key": "k"}), "access.callers[0].name", "is empty"),
        (callers({"name": "a"}), "access.callers[0].key", "is empty"),
        (callers({"name": "a", "key": "schlüssel"}), "access.callers[0].key", "visible ASCII"),
        (callers({"name": "a", "key": "sha256:0f"}), "access.callers[0].key", "64 hexadecimal"),
        (callers({"name": "a", "key": "k", "models": []}), "access.callers[0].models", "at least one"),
        (callers({"name": "a", "key": "k"}, {"name": "a", "key": "l"}), "access.callers[1].name", "its own"),
        (callers({"name": "a", "key": "k"}, {"name": "b", "key": "k"}), "access.callers[1].key", "its own"),
        ({"upstreams": {"A": {"provider": "openai"}}}, "upstreams.A", "is no name"),
        ({"upstreams": {"a/b": {"provider": "openai"}}}, 'upstreams."a/b"', "is no name"),
        ({"upstreams": {"v1": {"provider": "openai"}}}, "upstreams.v1", "path of our own"),
        (upstream(provider="opnai"), "upstreams.u.provider", "openai, anthropic, gemini, bedrock, vertex, azure, ollama, compatible, engine"),
        (upstream(provider="compatible"), "upstreams.u.base_url", "is missing"),
        (upstream(provider="azure"), "upstreams.u.base_url", "is missing"),
        (upstream(provider="bedrock"), "upstreams.u.region", 'provider "bedrock" must have one'),
        (upstream(provider="vertex", region="eu-1"), "upstreams.u.project", "is missing"),
        (upstream(region="eu-1"), "upstreams.u.region", 'is for provider "bedrock" and "vertex"'),
        (upstream(project="p"), "upstreams.u.project", 'is for provider "vertex"'),
        (upstream(api_version="2024-10-21"), "upstreams.u.api_version", 'is for provider "azure"'),
        (upstream(provider="bedrock", region="eu 1/"), "upstreams.u.region", "holds other characters"),
        (upstream(text_field="a.b"), "upstreams.u.text_field", 'is for dialect "plain_text"'),
        (upstream(provider="engine", region="eu-1"), "upstreams.u.region", 'provider "engine"'),
        (upstream(keys=["k", "aws:"]), "upstreams.u.keys[1]", 'is for provider "bedrock"'),
        (upstream(provider="bedrock", region="eu-1", keys=["google:"]), "upstreams.u.keys[0]", 'is for provider "vertex"'),
        (upstream(keys=['{"a":\n1}']), "upstreams.u.keys[0]", "visible ASCII"),
        (upstream(provider="vertex", region="eu-1", project="p", keys=["{secret"]), "upstreams.u.keys[0]", "is no service account"),
        (vertex(client_email=""), "upstreams.u.keys[0]", "is no service account"),
        (vertex(private_key=7), "upstreams.u.keys[0]", "text for client_email, private_key, token_uri"),
        (vertex(token_uri=None), "upstreams.u.keys[0]", "is no service account"),
        ({"models": [{"model": ""}]}, "models[0].model", "is empty"),
        ({"models": [{"model": "m", "dialect": "chat"}]}, "models[0].dialect", "must be one of: openai_chat"),
        ({"models": [{"model": "m", "limit": 0}]}, "models[0].limit", "above 0"),
        ({"models": [{"model": "m", "reasoning": "deep"}]}, "models[0].reasoning", "none"),
        ({"stream": {"grammar_sample": 1.5}}, "stream.grammar_sample", "from 0 to 1"),
        ({"stream": {"grammar_sample": -1}}, "stream.grammar_sample", "0 or more"),
        (compatible("example.org/v1"), "upstreams.u.base_url", "is no HTTP URL"),
        (compatible("ftp://example.org"), "upstreams.u.base_url", "is no HTTP URL"),
        (compatible("http:///v1"), "upstreams.u.base_url", "is no HTTP URL"),
        (compatible("http://exa mple.org"), "upstreams.u.base_url", "is no HTTP URL"),
        (compatible("http://[::1/v1"), "upstreams.u.base_url", "is no URL"),
        (compatible("http://h:99999"), "upstreams.u.base_url", "is no URL"),
        (compatible("http://h:0"), "upstreams.u.base_url", "port 0"),
        (compatible("http://user:secret@h/v1"), "upstreams.u.base_url", "must have none; use `keys`"),
        (compatible("http://h/v1?key=secret"), "upstreams.u.base_url", "query or fragment"),
        (compatible("http://h/v1#"), "upstreams.u.base_url", "query or fragment"),
        (compatible("http://localhost:8080/v1"), "upstreams.u.base_url", "listener of this proxy"),
        (upstream(keys=["a", ""]), "upstreams.u.keys[1]", "is empty"),
        (upstream(keys=["a b"]), "upstreams.u.keys[0]", "visible ASCII"),
        (upstream(keys=["a\r\nb: c"]), "upstreams.u.keys[0]", "visible ASCII"),
        (upstream(dialects=["anthropic_messages"]), "upstreams.u.dialects[0]", "must be one of: openai_chat"),
        (upstream(ca_file="/nowhere/ca.pem"), "upstreams.u.ca_file", "/nowhere/ca.pem cannot be read (No such"),
        (upstream(headers={"a b": "c"}), 'upstreams.u.headers."a b"', "no name of a header"),
        (upstream(headers={"Content-Length": "1"}), "upstreams.u.headers.Content-Length", "rawproxy itself"),
        (upstream(headers={"connection": "close"}), "upstreams.u.headers.connection", "rawproxy itself"),
        (upstream(headers={"a": "b\r\nc: d"}), "upstreams.u.headers.a", "no value of a header"),
        (upstream(headers={"a": "ü"}), "upstreams.u.headers.a", "visible ASCII"),
        (upstream(models={"a": ""}), "upstreams.u.models.a", "is empty"),
        (upstream(tokens_per_second=5), "upstreams.u.tokens_per_second", 'is for provider "engine"'),
        (upstream(provider="engine", keys=["k"]), "upstreams.u.keys", 'provider "engine"'),
        (upstream(provider="engine", base_url="http://h"), "upstreams.u.base_url", 'provider "engine"'),
        (upstream(provider="engine", tokens_per_second=0), "upstreams.u.tokens_per_second", "above 0"),
        (upstream(provider="engine", engine="llama"), "upstreams.u.engine", 'one of "ngram"'),
        (routes(), "routes[0].to", "at least one"),
        (routes("a/*", "a"), "routes[0].to[1]", "names no model"),
        (routes("a/"), "routes[0].to[0]", "names no model"),
        (routes("a/gpt-*"), "routes[0].to[0]", "names no model"),
        (routes("z/*"), "routes[0].to[0]", "must begin with one of: a, b, c, e"),
        (routes("b/*", mode="forward"), "routes[0].to[0]", "forward = true"),
        (routes("a/*", "c/*", mode="forward"), "routes[0].to", "mixes providers"),
        ({"routes": [{"model": "", "to": ["local/*"]}]}, "routes[0].model", "is empty"),
        ({"upstreams": {}, "routes": [{"model": "m", "to": ["a/*"]}]}, "routes[0].to[0]", "none is configured"),
    ],
)  # fmt: skip
def test_what_is_not(data: dict[str, object], key: str, what: str) -> None:
    (fault,) = faults(data)
    assert fault.startswith(f"f: {key}: ")
    assert what in fault
    assert "secret" not in fault


@pytest.mark.parametrize("section", ["queue", "records", "state", "tools", "telemetry"])
def test_sections_of_later_versions_are_unknown(section: str) -> None:
    (fault,) = faults({section: {}})
    assert fault.startswith(f"f: {section}: is not a key here")


@pytest.mark.parametrize("secret", ["sk secret", "sk-sécret"])
def test_no_fault_shows_a_secret(tmp_path: Path, secret: str) -> None:
    path = tmp_path / "key"
    path.write_text(secret)
    found = faults({
        "server": {"seal_key": secret},
        "access": {"callers": [{"name": "a", "key": f"file:{path}"}]},
        "upstreams": {"u": {"provider": "openai", "keys": [secret], "headers": {"a": f"{secret}\n"}}},
    })  # fmt: skip
    assert len(found) == 4
    assert not any("sk" in line.partition(": ")[2].replace("is", "") for line in found)


@pytest.mark.parametrize(
    ("base_url", "own"),
    [
        ("http://127.0.0.1:8080/v1", True),
        ("http://localhost:8080", True),
        ("http://[::1]:8080", True),
        ("http://proxy.lan", True),
        ("http://127.0.0.1:8081", False),
        ("https://proxy.lan", False),
        ("http://other.lan:8080", False),
        ("http://[::1", False),
        ("", False),
    ],
)
def test_calls_that_would_go_in_circles(base_url: str, own: bool) -> None:
    listen = ("127.0.0.1:8080", "proxy.lan:80", "unix:/a.sock", "no address")
    assert is_own(base_url, listen) is own


# --- files of certificates ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


def test_files_of_certificates_are_read(ca: trustme.CA, tmp_path: Path) -> None:
    first, second = files(ca, tmp_path, "first.example"), files(ca, tmp_path, "second.example")
    trusted = authority(ca, tmp_path)
    assert faults({"server": {"tls": {**first, "more": [second], "client_ca": trusted}}}) == []
    shown = {"client_certificate": first["certificate"], "client_key": first["key"]}
    assert faults(upstream(ca_file=trusted, **shown)) == []
    assert faults(upstream(**shown)) == []


def test_each_file_of_certificates_that_is_wrong_is_named(ca: trustme.CA, tmp_path: Path) -> None:
    """All at once, each by its own key."""
    first, second = files(ca, tmp_path, "first.example"), files(ca, tmp_path, "second.example")
    gone = str(tmp_path / "gone.pem")
    tls = {
        "certificate": first["certificate"], "key": second["key"], "client_ca": first["key"],
        "more": [second, second | {"certificate": gone}, second | {"key": second["certificate"]}],
    }  # fmt: skip
    shown = {"client_certificate": first["certificate"], "client_key": gone}
    found = faults({"server": {"tls": tls}, **upstream(**shown)})
    assert found == [
        (
            f"f: server.tls.key: {second['key']} does not belong to {first['certificate']}, "
            "must be its private key"
        ),
        (
            f"f: server.tls.more[1].certificate: {gone} cannot be read (No such file or directory), "
            "must be a certificate and its chain (PEM)"
        ),
        (
            f"f: server.tls.more[2].key: {second['certificate']} holds no private key, "
            "must be a private key (PEM)"
        ),
        (
            f"f: server.tls.client_ca: {first['key']} holds no certificate, "
            "must be a file of certificates (PEM)"
        ),
        (
            f"f: upstreams.u.client_key: {gone} cannot be read (No such file or directory), "
            "must be a private key (PEM)"
        ),
    ]
