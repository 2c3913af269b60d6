"""Seals come back as they were packed, and only to the caller they were packed for."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects.envelope import (
    PREFIX,
    PREFIX_BASE64,
    UNKNOWN,
    Origin,
    Seal,
    Vault,
    fits,
    seal,
)

VAULT = Vault(b"key", "alice")
ORIGIN = Origin("anthropic", None, "claude-opus-4-8")
SEAL = seal(ORIGIN, "thinking", '{"type":"thinking","signature":"c2ln"}', ["Is it?", " Ja."])

TEXTS = st.text(st.characters(exclude_categories=[]))  # half surrogate pairs, too
WHOLE_TEXTS = st.text()
SEALS = st.builds(
    seal,
    st.builds(Origin, WHOLE_TEXTS, st.none() | WHOLE_TEXTS, st.none() | WHOLE_TEXTS),
    WHOLE_TEXTS,
    WHOLE_TEXTS,
    st.lists(TEXTS, max_size=3),
    st.none() | WHOLE_TEXTS,
)


@given(item=SEALS)
def test_a_packed_seal_opens_as_it_was(item: Seal) -> None:
    assert VAULT.open(VAULT.pack(item)) == item


@given(text=TEXTS)
def test_half_a_surrogate_pair_is_packed_and_opens_as_a_replacement(text: str) -> None:
    opened = VAULT.open(VAULT.pack(Seal(ORIGIN, text, text)))
    assert opened is not None
    half = "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
    assert (opened.form, opened.raw) == (half, half)


def test_an_envelope_is_short_and_plain() -> None:
    packed = VAULT.pack(SEAL)
    assert packed.startswith(PREFIX)
    assert base64.b64encode(packed.encode()).startswith(PREFIX_BASE64.encode())
    assert set(packed) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    assert packed.count(".") == 2


@pytest.mark.parametrize(
    "vault",
    [Vault(b"key", "bob"), Vault(b"other", "alice"), Vault()],
    ids=["caller", "key", "none"],
)
def test_an_envelope_stays_shut_for_others(vault: Vault) -> None:
    assert vault.open(VAULT.pack(SEAL)) is None


def test_no_change_of_one_character_opens() -> None:
    packed = VAULT.pack(SEAL)
    alphabet = "ABQZabz019-_.= \x00\ud83d"
    opened = [
        (at, char)
        for at, old in enumerate(packed)
        for char in alphabet
        if char != old and VAULT.open(packed[:at] + char + packed[at + 1 :]) is not None
    ]
    assert opened == []


@pytest.mark.parametrize(
    "text",
    ["", ".", PREFIX, PREFIX + ".", "rp1", "rp2.x.y", "c2ln", VAULT.pack(SEAL)[:-1],
     VAULT.pack(SEAL) + "=", VAULT.pack(SEAL) + ".", " " + VAULT.pack(SEAL)],
)  # fmt: skip
def test_other_texts_are_not_envelopes(text: str) -> None:
    assert VAULT.open(text) is None


@given(text=TEXTS)
def test_no_text_is_opened_by_chance(text: str) -> None:
    assert VAULT.open(text) is None
    assert VAULT.open(PREFIX + text) is None


@pytest.mark.parametrize("body", ["bm90IGpzb24", "W10", "", "n", "ü"])
def test_another_version_s_envelope_stays_shut(body: str) -> None:
    """The HMAC is right, and what it holds is no Seal of ours."""
    mac = hmac.digest(b"key", f"rp1.{body}".encode() + b"\0alice", "sha256")
    text = base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
    assert VAULT.open(f"rp1.{body}.{text}") is None


def test_a_seal_covers_its_texts_and_no_others() -> None:
    assert SEAL.cuts == (6, 4)
    assert SEAL.sum == hashlib.sha256(b"Is it? Ja.").hexdigest()
    assert SEAL.covers("Is it? Ja.")
    assert not SEAL.covers("Is it? Ja")
    assert not SEAL.covers("Is it? Ja!")
    assert not SEAL.covers("")


@given(texts=st.lists(TEXTS, max_size=4))
def test_a_seal_covers_any_texts(texts: list[str]) -> None:
    joined = "".join(texts)
    item = seal(ORIGIN, "thinking", "{}", texts)
    assert item.covers(joined)
    assert not item.covers(joined + "x")


@pytest.mark.parametrize(
    ("origin", "target", "expected"),
    [
        # who issued it, whom it goes to
        (Origin("anthropic"), Origin("anthropic"), True),
        (Origin("anthropic", "a"), Origin("anthropic", "b"), True),  # needs no scope
        (Origin("anthropic", None, "opus"), Origin("anthropic", None, "haiku"), True),
        (Origin("anthropic"), Origin("openai"), False),
        (Origin("anthropic"), UNKNOWN, False),
        (Origin("openai", "org-1"), Origin("openai", "org-1"), True),
        (Origin("openai", "org-1"), Origin("openai", "org-2"), False),
        (Origin("openai", "org-ü"), Origin("openai", "org-u"), False),
        (Origin("openai", "org-1"), Origin("openai"), True),  # nobody said whose it is
        (Origin("openai"), Origin("openai", "org-1"), True),
        (UNKNOWN, Origin("openai", "org-1"), True),  # read raw: the upstream decides
        (UNKNOWN, Origin("anthropic"), True),
        (UNKNOWN, UNKNOWN, True),
    ],
)
def test_who_can_open_a_seal(origin: Origin, target: Origin, *, expected: bool) -> None:
    assert fits(origin, target) is expected
