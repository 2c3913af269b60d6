"""Hashes: the same values as every other implementation's, and no module of theirs before one is asked for."""

import pytest

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.digest import hmac_sha256, is_same, sha256
from tests.modules import loaded_by


def test_the_values_are_those_of_the_standards() -> None:
    # FIPS 180-4, example "abc"; RFC 4231, test case 2.
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hmac_sha256(b"Jefe", b"what do ya want for nothing?").hex() == (
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )


def test_what_is_the_same() -> None:
    assert is_same(b"one", b"one")
    assert not is_same(b"one", b"two")
    assert not is_same(b"one", b"on")


@pytest.mark.slow
def test_loading_every_dialect_loads_no_hashes() -> None:
    modules = loaded_by("from rawproxy.dialects import DIALECTS\n[*DIALECTS.values()]")
    assert {f"rawproxy.dialects.{name}" for name in DIALECTS} <= modules
    assert {"hashlib", "hmac", "_ssl"} & modules == set()
