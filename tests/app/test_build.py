from rawproxy.app.build import setup_of
from rawproxy.app.config import from_mapping


def seal_key(*keys: str, seal: str = "", provider: str = "openai") -> bytes:
    upstream: dict[str, object] = {"provider": provider, "keys": list(keys)}
    upstream |= {} if provider == "openai" else {"region": "eu-1"}
    upstream |= {"project": "p"} if provider == "vertex" else {}
    config = {"upstreams": {"o": upstream}, "server": {"seal_key": seal} if seal else {}}
    return setup_of(from_mapping(config)).seal_key


def test_equal_configurations_sign_alike() -> None:
    assert seal_key("a", "b") == seal_key("a", "b")
    assert seal_key("a", "b") != seal_key("a", "c")
    assert seal_key() != seal_key()
    # Everybody knows these words.
    assert seal_key("aws:", provider="bedrock") != seal_key("aws:", provider="bedrock")
    assert seal_key("google:", "k", provider="vertex") == seal_key("k", provider="vertex")
    assert seal_key("a", seal="mine") == seal_key("b", seal="mine") == b"mine"
