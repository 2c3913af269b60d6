"""rawproxy.dialects.gemini.signatures: what seals a part, and envelopes in its place."""

import base64

import pytest

from rawproxy.dialects.envelope import Origin, Seal, Vault
from rawproxy.dialects.gemini.signatures import carrier, envelope_of, is_thought, native, standard

VAULT = Vault(b"key", "me")
OTHER = Seal(Origin("anthropic"), "thinking", '{"signature":"??>>"}')
ORIGIN = Origin("gemini")


@pytest.mark.parametrize(
    ("text", "known"),
    [("ab-_", "ab+/"), ("ab", "ab=="), ("abc", "abc="), ("ab+/", "ab+/"), ("", "")],
)
def test_base64_of_either_alphabet(text: str, known: str) -> None:
    assert standard(text) == known


def test_an_envelope_travels_as_base64_of_its_bytes() -> None:
    carried = carrier(OTHER, VAULT)
    assert carried.startswith("cnAxL")
    envelope = envelope_of(carried)
    assert envelope is not None
    assert VAULT.open(envelope) == OTHER
    urlsafe = base64.urlsafe_b64encode(base64.b64decode(carried)).decode().rstrip("=")
    assert envelope_of(urlsafe) == envelope


@pytest.mark.parametrize("signature", ["CsABAfzV", "cnAxL!!!", "cnAxLv//", "cnAxL", "cnAxLA"])
def test_what_is_no_envelope_is_the_vendor_s(signature: str) -> None:
    assert envelope_of(signature) is None


def test_a_native_signature_is_written_as_it_came() -> None:
    thought = native(ORIGIN, "CsAB", text="Hm.")
    assert thought.covers("Hm.")
    assert not thought.covers("Hm")
    assert is_thought(thought)
    text = native(ORIGIN, "CsAB", about="next")
    assert (text.about, is_thought(text)) == ("next", False)
    assert carrier(thought, VAULT) == carrier(text, VAULT) == "CsAB"
    assert native(ORIGIN, "CsAB", text="").covers("")
    assert is_thought(OTHER)
