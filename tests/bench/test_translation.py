"""The microbench of translations: that it measures what it says. Nothing here is about speed."""

import json

import msgspec
import pytest

from bench import translation
from rawproxy.dialects import DIALECTS
from rawproxy.dialects.base import Given
from rawproxy.dialects.envelope import Vault


def test_the_unit_is_a_typed_decode_and_encode() -> None:
    body = b'{"a":{"b":[1,2],"c":"x"},"d":[{"e":1},{"f":"y"}],"input":{"free":1}}'
    decode, encode = translation.typed(body)
    assert isinstance(decode(), msgspec.Struct)
    written = encode()
    assert isinstance(written, bytes)
    assert json.loads(written) == json.loads(body)


def test_the_request_is_an_agents_in_every_dialect() -> None:
    assert 55_000 < len(translation.agent_request()) < 65_000
    for dialect, body in translation.requests().items():
        given = Given(None if DIALECTS[dialect].MODEL_FIELD else "m")
        call = DIALECTS[dialect].read_call(body, Vault(), given)
        assert len(call.tools) == (
            0 if dialect in ("openai_completions", "anthropic_complete") else 24
        )


def test_every_pair_is_in_the_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(translation, "EVENTS", 5)
    monkeypatch.setattr(translation, "ROUNDS", 1)
    assert translation.main([]) == 0
    printed = capsys.readouterr().out
    for dialect in translation.CLIENTS:
        assert printed.count(f"\n| {dialect} |") == 2
    monkeypatch.setattr(translation, "TEXT_LIMIT", 0.0)
    assert translation.main(["--check"]) == 1
