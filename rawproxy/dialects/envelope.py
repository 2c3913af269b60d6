"""Seals: what a vendor signed or encrypted, and the envelope it travels in elsewhere.

Layer: dialects. Knows no dialect. The caller's name and the key come in as arguments.

A signature of thinking, redacted thinking, encrypted reasoning belong to whoever issued them. A
reader turns such an item into a `Seal`; a writer of the same dialect writes it as it was, a writer
of another one packs it into an envelope, which the client returns with its next call:

    rp1.<base64url of JSON>.<base64url of HMAC-SHA256 over the part before, and the caller>

One block, one envelope, one carrier. An envelope whose HMAC does not fit is foreign: it opens to
None.
"""

import base64
import json
from collections.abc import Sequence

import msgspec

from rawproxy.dialects.digest import hmac_sha256, is_same, sha256
from rawproxy.dialects.reading import decode

__all__ = ["PREFIX", "PREFIX_BASE64", "UNKNOWN", "Origin", "Seal", "Vault", "fits", "seal"]

PREFIX = "rp1."
PREFIX_BASE64 = "cnAxL"
"""How standard base64 of an envelope's bytes begins (Gemini carries it so)."""

SCOPED_ISSUERS = frozenset({"openai"})
"""Issuers whose seals open only inside the organisation that they were issued to."""


class Origin(msgspec.Struct, frozen=True):
    """Who issued a seal: the vendor, and the account and model where that is known."""

    issuer: str
    scope: str | None = None
    model: str | None = None


UNKNOWN = Origin("")
"""Nobody in particular: for replies that are read outside of any exchange."""


class Seal(msgspec.Struct, frozen=True, omit_defaults=True):
    """One item that only its issuer can read or verify.

    Attributes:
        origin: who issued it.
        form: the vendor's own type of the item, e.g. `thinking`, `redacted_thinking`.
        raw: the vendor's item without its texts, as exact JSON text.
        cuts: UTF-8 lengths of its texts, in bytes.
        sum: hex SHA-256 of its texts, joined; the texts themselves travel in the open.
        about: the tool id it belongs to, or `next` for the block that follows; None for its own.
    """

    origin: Origin
    form: str
    raw: str
    cuts: tuple[int, ...] = ()
    sum: str = ""
    about: str | None = None

    def covers(self, text: str) -> bool:
        """Return whether `text` is, byte for byte, what was sealed."""
        data = _utf8(text)
        return len(data) == sum(self.cuts) and self.sum == sha256(data)


def seal(
    origin: Origin, form: str, raw: str, texts: Sequence[str] = (), about: str | None = None
) -> Seal:
    """Return the seal of an item with these `texts`."""
    encoded = [_utf8(text) for text in texts]
    return Seal(
        origin, form, raw, tuple(len(data) for data in encoded), sha256(b"".join(encoded)), about
    )


def fits(origin: Origin, target: Origin) -> bool:
    """Return whether `target` can open what `origin` issued.

    An origin without an issuer was read raw, in the target's own dialect: it is let through,
    and the upstream decides. The same holds for a scope that nobody named.
    """
    if origin.issuer not in ("", target.issuer):
        return False
    scopes = {origin.scope, target.scope}
    return origin.issuer not in SCOPED_ISSUERS or None in scopes or len(scopes) == 1


class Vault:
    """Packs seals into envelopes for one caller, and opens the ones it packed.

    Args:
        key: the secret of this installation, the same for all its replicas.
        caller: whose conversation it is; an envelope of another caller stays shut.
    """

    __slots__ = ("_caller", "_key")

    def __init__(self, key: bytes = b"", caller: str = "") -> None:
        self._key = key
        self._caller = _utf8(caller)

    def pack(self, item: Seal) -> str:
        """Return `item` as an envelope: ASCII, `rp1.` first, no padding."""
        # The stdlib's JSON is ASCII, so half of a surrogate pair survives it; msgspec refuses one.
        text = json.dumps(msgspec.to_builtins(item), separators=(",", ":"))
        body = PREFIX + _base64(text.encode())
        return f"{body}.{self._mac(body)}"

    def open(self, text: str) -> Seal | None:
        """Return the seal in the envelope `text`; None when it is not ours, or another caller's."""
        body, _, mac = text.rpartition(".")
        if not body.startswith(PREFIX):
            return None
        # The MACs are compared as text: base64 spells the same 32 bytes in four ways.
        if not is_same(_utf8(mac), _utf8(self._mac(body))):
            return None
        try:
            return decode(_unbase64(body[len(PREFIX) :]), Seal)
        except ValueError:  # packed by another version of ours
            return None

    def _mac(self, body: str) -> str:
        message = _utf8(body) + b"\0" + self._caller
        return _base64(hmac_sha256(self._key, message))


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unbase64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
