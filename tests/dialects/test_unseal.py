"""No envelope of ours is passed on: it becomes the vendor's own value again, or its block goes."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects.base import Target
from rawproxy.dialects.envelope import Origin, Seal, Vault
from rawproxy.dialects.models import Takes
from rawproxy.dialects.unseal import UNSIGNED, holds_envelope, unseal
from rawproxy.errors import ClientError

VAULT = Vault(b"key", "alice")
TARGET = Target("claude-opus-4-8", Takes(), Origin("anthropic"))
RAW = '{"type":"thinking","signature":"c2ln\\u002b","data":"ZGF0YQ==","count":1}'
NATIVE = {"signature": "c2ln+", "data": "ZGF0YQ=="}

OWN = VAULT.pack(Seal(Origin("anthropic"), "thinking", RAW))
FOREIGN = VAULT.pack(Seal(Origin("openai", "org-1"), "reasoning", RAW))
STRANGER = Vault(b"key", "bob").pack(Seal(Origin("anthropic"), "thinking", RAW))
TAMPERED = OWN[:20] + ("A" if OWN[20] != "A" else "B") + OWN[21:]
LOST = {"foreign": FOREIGN, "stranger": STRANGER, "tampered": TAMPERED, "cut": OWN[:-5]}


def standard(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def url_safe(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def filled(body: str) -> str:
    """Return `body` with a foreign envelope for each "F", and one of our own for each "O"."""
    return body.replace('"F"', f'"{FOREIGN}"').replace('"O"', f'"{OWN}"')


def unsealed(body: str) -> tuple[str, list[str]]:
    out, losses = unseal(body.encode(), VAULT, TARGET)
    assert all(loss.why == "owned elsewhere" for loss in losses)
    return out.decode(), [loss.path for loss in losses]


@pytest.mark.parametrize("spell", [str, standard, url_safe], ids=["plain", "base64", "base64url"])
@pytest.mark.parametrize("member", NATIVE)
def test_an_own_envelope_becomes_its_native_value(spell: type[str], member: str) -> None:
    body = '{ "x":1.0,"messages" : [{"content":[ {"type":"t","%s" : "%s"} ]}],"é":"\\u00e9" }'
    sealed = body % (member, spell(OWN))
    assert holds_envelope(sealed.encode())
    assert unsealed(sealed) == (body % (member, NATIVE[member]), [])


def test_slashes_may_be_escaped() -> None:
    body = json.dumps({"parts": [{"signature": standard(OWN)}]}).replace("/", r"\/")
    assert unsealed(body) == (json.dumps({"parts": [{"signature": NATIVE["signature"]}]}), [])


@pytest.mark.parametrize("spell", [str, standard, url_safe], ids=["plain", "base64", "base64url"])
@pytest.mark.parametrize("envelope", LOST.values(), ids=LOST.keys())
def test_the_block_of_any_other_envelope_goes(envelope: str, spell: type[str]) -> None:
    block = f'{{"type":"thinking","thinking":"a","signature":"{spell(envelope)}"}}'
    body = '{"messages":[{"role":"user","content":"hi"}, {"content":[BLOCK, {"text":"b"}]}],"n": 1}'
    assert unsealed(body.replace("BLOCK", block)) == (
        '{"messages":[{"role":"user","content":"hi"}, {"content":[{"text":"b"}]}],"n": 1}',
        ["messages[1].content[0]"],
    )


@pytest.mark.parametrize(
    ("body", "expected", "lost"),
    [
        # as `filled` has it
        ('{"a":[{"s":"F"}]}', '{"a":[]}', ["a[0]"]),
        ('{"a":[{"s":"F"},{"s":"F"},1]}', '{"a":[1]}', ["a[0]", "a[1]"]),
        ('{"a":[1, {"s":"F"} ,{"b":{"s":"F"}}]}', '{"a":[1]}', ["a[1]", "a[2]"]),
        ('{"a":[{"s":"F","data":"F","signature":"O"},1]}', '{"a":[1]}', ["a[0]"]),
        ('{"a":[{"x":{"y":{"s":"F"}}},1]}', '{"a":[1]}', ["a[0]"]),
        ('{"a":[{"s":["F"]},1]}', '{"a":[1]}', ["a[0]"]),
        ('{"a":[{"s":[["F"]]},1]}', '{"a":[1]}', ["a[0]"]),
        ('{"a":[{"b":[{"s":"F"}]}]}', '{"a":[{"b":[]}]}', ["a[0].b[0]"]),
        # a block inside a block that goes is gone with it
        ('{"a":[{"s":"F","b":[{"s":"F"},{"signature":"O"}]}]}', '{"a":[]}', ["a[0]", "a[0].b[0]"]),
        # no element of an array is around it
        ('{"s":"F","t":1}', '{"s":"","t":1}', ["s"]),
        ('{"a":{"b":{"s":"F"}}}', '{"a":{"b":{"s":""}}}', ["a.b.s"]),
        ('{"a":["F"]}', '{"a":[""]}', ["a[0]"]),
        ('"F"', '""', [""]),
        ('[{"s":"F"},{}]', "[{}]", ["[0]"]),
        # our own, under a name that the vendor does not have
        ('{"a":[{"other":"O"},1]}', '{"a":[1]}', ["a[0]"]),
        ('{"a":[{"count":"O"},1]}', '{"a":[1]}', ["a[0]"]),
        ('{"a":[{"s":["O"]},1]}', '{"a":[1]}', ["a[0]"]),
        ('{"signature":"O"}', '{"signature":"c2ln+"}', []),
        # keys are not values
        ('{"F":1}', '{"F":1}', []),
    ],
)
def test_only_the_block_goes(body: str, expected: str, lost: list[str]) -> None:
    assert unsealed(filled(body)) == (filled(expected), lost)


@pytest.mark.parametrize(
    "text",
    ["rp1.", "rp1.txt", "rp1. is how an envelope begins, and this is a sentence about it, not one",
     "see " + OWN, f"{OWN} {OWN}", "cnAxL", "cnAxLg", "cnAxLg==", "cnAxL!", standard("rp1.short"),
     standard("rp1.\xff"), "cnAxL" + "A" * 80 + "A" * 3, "rp2." + OWN[4:]],
)  # fmt: skip
def test_text_that_only_looks_like_an_envelope_stays(text: str) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": text}]})
    assert unsealed(body) == (body, [])


@pytest.mark.parametrize("body", [b"", b"{}", b'{"a":"rp1"}', b"not JSON"])
def test_most_bodies_hold_none(body: bytes) -> None:
    assert not holds_envelope(body)
    assert unseal(body, VAULT, TARGET) == (body, [])


@pytest.mark.parametrize("body", ['{"s":"F"', '{"s":"F"]', "[" * 5000 + '"F"' + "]" * 5000])
def test_a_body_that_cannot_be_read_is_the_client_s_fault(body: str) -> None:
    with pytest.raises(ClientError, match="cannot be read") as caught:
        unsealed(filled(body))
    assert "rp1" not in str(caught.value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([FOREIGN, OWN]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["signature", "a", "é"]), inner, max_size=3)
    ),
)


@given(value=VALUES, indent=st.sampled_from([None, 1]))
def test_what_is_left_is_json_without_envelopes(value: object, indent: int | None) -> None:
    body = json.dumps(value, indent=indent).encode()
    out, losses = unseal(body, VAULT, TARGET)
    text = out.decode()
    json.loads(text)
    assert f'"{OWN}"' not in text
    assert f'"{FOREIGN}"' not in text
    if not holds_envelope(body):
        assert (out, losses) == (body, [])


def test_a_huge_body_costs_its_length() -> None:
    """Not its square: with this many blocks, that would be minutes."""
    blocks = filled('{"signature":"F"},{"signature":"O"},1,') * 5000
    native = f'{{"signature":"{NATIVE["signature"]}"}},1,' * 5000
    out, lost = unsealed(f'{{"a":[{blocks}1]}}')
    assert out == f'{{"a":[{native}1]}}'
    assert lost == [f"a[{3 * at}]" for at in range(5000)]


@pytest.mark.parametrize("member", ["thoughtSignature", "thought_signature"])
def test_what_is_only_signed_by_it_stays(member: str) -> None:
    """A call of a tool without its part would leave a result without a call."""
    part = '{"functionCall":{"name":"f","args":{}},"%s":"%s"}'
    body = '{"contents":[{"parts":[%s]}]}'
    out, lost = unsealed(body % (part % (member, standard(FOREIGN))))
    assert out == body % (part % (member, UNSIGNED))
    assert lost == [f"contents[0].parts[0].{member}"]


def test_a_thought_of_another_vendor_goes() -> None:
    part = f'{{"text":"hm","thought": true,"thoughtSignature":"{standard(FOREIGN)}"}}'
    out, lost = unsealed(f'{{"contents":[{{"parts":[{part},{{"text":"a"}}]}}]}}')
    assert out == '{"contents":[{"parts":[{"text":"a"}]}]}'
    assert lost == ["contents[0].parts[0]"]


@pytest.mark.parametrize("member", ["thoughtSignature", "thought_signature"])
def test_gemini_gets_its_own_back_in_either_spelling(member: str) -> None:
    own = VAULT.pack(Seal(Origin("anthropic"), "thoughtSignature", '{"thoughtSignature":"c2ln"}'))
    body = '{"contents":[{"parts":[{"functionCall":{},"%s":"%s"}]}]}'
    assert unsealed(body % (member, url_safe(own))) == (body % (member, "c2ln"), [])


def test_a_signature_on_no_part_goes_empty() -> None:
    out, lost = unsealed(f'{{"thoughtSignature":"{standard(FOREIGN)}"}}')
    assert (out, lost) == ('{"thoughtSignature":""}', ["thoughtSignature"])
