"""Which configuration is in force: the file, the environment, the defaults, and what overrides them."""

from pathlib import Path

import pytest

from rawproxy.app.config import (
    Config,
    Tcp,
    UpstreamConfig,
    checked,
    from_mapping,
    load,
    locate,
    parse_address,
)
from rawproxy.errors import ConfigError
from rawproxy.gateway.route import Route


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_defaults_are_the_engine_alone() -> None:
    config = load(None, {"OPENAI_API_KEY": ""})
    assert config.server.listen == ("127.0.0.1:8080",)
    assert config.admin.listen == "127.0.0.1:8081"
    assert config.upstreams == {"local": UpstreamConfig("engine")}
    assert [(route.model, route.to) for route in config.routes] == [("ngram", ("local/ngram",))]


def test_keys_in_the_environment_make_upstreams() -> None:
    config = load(None, {"OPENAI_API_KEY": "sk-o", "ANTHROPIC_API_KEY": "sk-a"})
    openai, anthropic = config.upstreams["openai"], config.upstreams["anthropic"]
    assert ("" + openai.keys[0], openai.base_url, openai.dialects) == (
        "sk-o", "https://api.openai.com/v1",
        ("openai_chat", "openai_responses", "openai_completions"),
    )  # fmt: skip
    assert ("" + anthropic.keys[0], anthropic.base_url, anthropic.dialects) == (
        "sk-a", "https://api.anthropic.com", ("anthropic_messages", "anthropic_complete"),
    )  # fmt: skip
    routes = {route.model: route.to for route in config.routes}
    assert routes["gpt-*"] == routes["chatgpt-*"] == routes["o?"] == routes["o?-*"] == ("openai/*",)
    assert routes["claude-*"] == ("anthropic/*",)


@pytest.mark.parametrize(
    ("environ", "name", "url", "key", "route"),
    [
        ({"GEMINI_API_KEY": "k"}, "gemini", "https://generativelanguage.googleapis.com", "k", "gemini-*"),
        ({"AWS_REGION": "eu-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}, "bedrock",
         "https://bedrock-runtime.eu-1.amazonaws.com", "a:s", "*anthropic.*"),
        ({"AWS_DEFAULT_REGION": "eu-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s",
          "AWS_SESSION_TOKEN": "t"}, "bedrock", "https://bedrock-runtime.eu-1.amazonaws.com", "a:s:t",
         "*amazon.nova*"),
        ({"AWS_REGION": "eu-1", "AWS_BEARER_TOKEN_BEDROCK": "b"}, "bedrock",
         "https://bedrock-runtime.eu-1.amazonaws.com", "b", "*anthropic.*"),
        ({"OLLAMA_HOST": "127.0.0.1"}, "ollama", "http://127.0.0.1:11434", None, None),
        ({"OLLAMA_HOST": "https://box:1/"}, "ollama", "https://box:1/", None, None),
    ],
)  # fmt: skip
def test_other_vendors_in_the_environment(
    environ: dict[str, str], name: str, url: str, key: str | None, route: str | None
) -> None:
    config = load(None, environ)
    upstream = config.upstreams[name]
    assert upstream.base_url == url
    assert [secret.encode() for secret in upstream.keys] == ([] if key is None else [key.encode()])
    assert route is None or Route(route, (f"{name}/*",)) in config.routes


@pytest.mark.parametrize(
    "environ",
    [
        {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}, {"AWS_REGION": "eu-1"},
        {"AWS_REGION": "eu-1", "AWS_ACCESS_KEY_ID": "a"}, {"OLLAMA_HOST": "127.0.0.1:8080"},
    ],
)  # fmt: skip
def test_half_of_what_a_vendor_needs_is_none(environ: dict[str, str]) -> None:
    assert set(load(None, environ).upstreams) == {"local"}


def test_a_base_url_in_the_environment_is_used() -> None:
    config = load(None, {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://10.0.0.1:8000/v1"})
    assert config.upstreams["openai"].base_url == "http://10.0.0.1:8000/v1"


def test_a_base_url_in_the_environment_that_is_our_own_is_not() -> None:
    environ = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://localhost:9000/v1"}
    config = load(None, environ, listen=["127.0.0.1:9000"])
    assert config.upstreams["openai"].base_url == "https://api.openai.com/v1"


def test_a_wrong_base_url_in_the_environment_is_a_fault() -> None:
    with pytest.raises(ConfigError, match=r"^built-in defaults: upstreams\.openai\.base_url: "):
        load(None, {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "nonsense"})


def test_which_file(empty_folder: Path) -> None:
    assert locate(None, {}) is None
    assert locate(None, {"RAWPROXY_CONFIG": ""}) is None
    (empty_folder / "rawproxy.toml").write_text("")
    assert locate(None, {}) == "rawproxy.toml"
    assert locate(None, {"RAWPROXY_CONFIG": "b.toml"}) == "b.toml"
    assert locate("a.toml", {"RAWPROXY_CONFIG": "b.toml"}) == "a.toml"


def test_a_file_is_read(empty_folder: Path) -> None:
    (empty_folder / "a.toml").write_text('[server]\nlisten = ["127.0.0.1:9"]\ndrain_seconds = 1\n')
    config = load("a.toml", {})
    assert (config.server.listen, config.server.drain_seconds) == (("127.0.0.1:9",), 1.0)
    assert list(config.upstreams) == ["local"]


def test_a_file_with_upstreams_has_only_those() -> None:
    config = from_mapping(
        {"upstreams": {"u": {"provider": "anthropic"}}}, environ={"OPENAI_API_KEY": "k"}
    )
    assert (list(config.upstreams), config.routes) == (["u"], ())


def test_routes_may_lead_to_built_in_upstreams() -> None:
    config = from_mapping({"routes": [{"model": "*", "to": ["local/ngram"]}]}, environ={})
    assert [route.model for route in config.routes] == ["*"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"a = \n", "f.toml: is not TOML: Invalid value (at line 1, column 5)"),
        (b"\xff", "f.toml: is not UTF-8 text, must be TOML"),
        (b"a = " + b"[" * 5000, "f.toml: is nested too deep"),
        (b"[server]\ndrain_second = 1\n[stream]\nx = 1", "f.toml: server.drain_second: is not a key here, did you mean `drain_seconds`?\nf.toml: stream.x: is not a key here"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used(empty_folder: Path, content: bytes, what: str) -> None:
    (empty_folder / "f.toml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load("f.toml", {})
    assert str(caught.value).startswith(what)


@pytest.mark.parametrize("environ", [{}, {"RAWPROXY_CONFIG": "absent.toml"}])
def test_a_file_that_is_not_there(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"^absent\.toml: cannot be read: No such file"):
        load(None if environ else "absent.toml", environ)


def test_the_command_line_wins(empty_folder: Path) -> None:
    (empty_folder / "rawproxy.toml").write_text(
        '[server]\nlisten = ["0.0.0.0:80"]\ndrain_seconds = 1'
    )
    config = load(None, {}, listen=["127.0.0.1:0", "[::1]:0"], admin="")
    assert config.server.listen == ("127.0.0.1:0", "[::1]:0")
    assert config.server.drain_seconds == 1.0
    assert config.admin.listen == ""
    with pytest.raises(ConfigError, match=r"^rawproxy\.toml: server\.listen\[0\]: is no address"):
        load(None, {}, listen=["nonsense"])


def test_the_command_line_does_not_hide_a_wrong_section(empty_folder: Path) -> None:
    (empty_folder / "rawproxy.toml").write_text("server = 1")
    with pytest.raises(ConfigError, match=r"^rawproxy\.toml: server: is a whole number"):
        load(None, {}, listen=["127.0.0.1:0"])


def test_the_environment_is_the_process_own_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAWPROXY_TEST_KEY", "sk-1")
    config = from_mapping(
        {"upstreams": {"u": {"provider": "openai", "keys": ["env:RAWPROXY_TEST_KEY"]}}}
    )
    assert "" + config.upstreams["u"].keys[0] == "sk-1"


def test_a_configuration_made_by_hand_is_checked_and_completed() -> None:
    config = checked(Config(upstreams={"u": UpstreamConfig("anthropic")}))
    assert config.upstreams["u"].base_url == "https://api.anthropic.com"
    assert checked(config) == config
    with pytest.raises(ConfigError, match=r"^mine: upstreams\.u\.provider: "):
        checked(Config(upstreams={"u": UpstreamConfig("nobody")}), "mine")


def test_what_a_configuration_shows_hides_its_secrets() -> None:
    config = from_mapping({
        "server": {"seal_key": "secret-seal"},
        "access": {"mode": "callers", "callers": [{"name": "a", "key": "secret-key"}]},
        "upstreams": {"u": {"provider": "openai", "keys": ["secret-1"], "headers": {"a": "secret-2"}}},
    })  # fmt: skip
    assert "secret-" not in repr(config)


def test_addresses_are_read_here_too() -> None:
    assert parse_address(Config().server.listen[0]) == Tcp("127.0.0.1", 8080)
