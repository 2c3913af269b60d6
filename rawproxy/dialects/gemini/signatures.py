"""Thought signatures: what seals a part, and the envelopes of ours that travel in their place.

Layer: dialects. Used by readers and writers of `gemini`.
Source: https://ai.google.dev/gemini-api/docs/thought-signatures

A signature is bytes, in base64. So an envelope travels as base64 of its own bytes; google-genai
returns it in the URL-safe alphabet. A signature may stand on a thought, on a text, and on a tool
call, and has to come back on the same; the seal's raw says whether it was a thought.
"""

import base64
import binascii

import msgspec

from rawproxy.dialects.envelope import PREFIX, PREFIX_BASE64, Origin, Seal, Vault, seal
from rawproxy.dialects.gemini.spelling import Item
from rawproxy.dialects.reading import decode, encode

__all__ = ["SIGNATURE", "carrier", "envelope_of", "is_thought", "native", "standard"]

SIGNATURE = "thoughtSignature"
"""The form of these seals, and the field that holds them."""

_STANDARD = str.maketrans("-_", "+/")


def standard(text: str) -> str:
    """Return base64 of either alphabet in the standard one, padded: other vendors take no other."""
    if "-" in text or "_" in text:
        text = text.translate(_STANDARD)
    return text + "=" * (-len(text) % 4)


def envelope_of(signature: str) -> str | None:
    """Return the envelope that a signature is; None for one of the vendor's own."""
    if not signature.startswith(PREFIX_BASE64):
        return None
    try:
        text = base64.b64decode(standard(signature), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    return text if text.startswith(PREFIX) else None


def native(
    origin: Origin, signature: str, *, text: str | None = None, about: str | None = None
) -> Seal:
    """Return the seal of a part.

    Args:
        origin: who issued it.
        signature: as the vendor spelled it.
        text: of a thought, which the seal covers; None for any other part.
        about: the tool id it belongs to, or `next`.
    """
    item: Item = {SIGNATURE: signature} if text is None else {"thought": True, SIGNATURE: signature}
    return seal(origin, SIGNATURE, encode(item).decode(), [text] if text else (), about)


class _Native(msgspec.Struct, rename="camel"):
    thought_signature: str = ""
    thought: bool = False


def carrier(sealed: Seal, vault: Vault) -> str:
    """Return what goes into `thoughtSignature`: the vendor's own value, or an envelope."""
    if sealed.form == SIGNATURE:
        return decode(sealed.raw.encode(), _Native).thought_signature
    return base64.b64encode(vault.pack(sealed).encode()).decode()


def is_thought(sealed: Seal) -> bool:
    """Return whether the sealed part was a thought, or has to be written as one."""
    return sealed.form != SIGNATURE or decode(sealed.raw.encode(), _Native).thought
