"""Our own envelopes in a body that would otherwise be passed unread.

Layer: dialects. A seal that came from this upstream goes back as its native value; the block of any
other one is taken out, with a loss: a vendor refuses what it did not sign.
"""

import base64
import re

from rawproxy.dialects.base import Target
from rawproxy.dialects.envelope import PREFIX, PREFIX_BASE64, Seal, Vault, fits
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.reading import Fields, encode
from rawproxy.errors import ClientError, WireError
from rawproxy.wire import splice

__all__ = ["UNSIGNED", "holds_envelope", "unseal"]

_PREFIXES = (PREFIX.encode(), PREFIX_BASE64.encode())

_ON_PARTS = frozenset({"thoughtSignature", "thought_signature"})
"""Members that sign a part which has to stay, such as a call of a tool: Gemini's, but on thoughts."""

UNSIGNED = "skip_thought_signature_validator"
"""What Gemini wants on a call that another model made, in place of a signature: newer models refuse a
call without one."""

_THOUGHT = re.compile(rb'"thought"\s*:\s*true')

# The shortest envelope has 100 characters; what is shorter, or has a space in it, is just text.
_ENVELOPE = re.compile(re.escape(PREFIX) + r"[!-~]{40,}")


def holds_envelope(body: bytes) -> bool:
    """Return whether `body` may hold an envelope of ours."""
    return max(map(body.rfind, _PREFIXES)) >= 0  # `rfind` takes a third of the time of `in`


def unseal(body: bytes, vault: Vault, target: Target) -> tuple[bytes, list[Loss]]:
    """Return `body` without our envelopes, and what was lost with them.

    An envelope that does not fit goes together with the innermost object around it that is an
    element of an array: its block. Where that is no more than signed by it (a call of a tool, in
    Gemini), only the signature goes. Every other byte stays as it is.

    Args:
        body: a call in the target's own dialect.
        vault: opens this caller's envelopes.
        target: where the call goes.

    Raises:
        ClientError: `body` is not JSON, or nested too deep.
    """
    natives: list[tuple[splice.StringAt, str]] = []
    removed: dict[splice.Span, str] = {}  # block -> its path
    stripped: list[str] = []
    for hit in _envelopes(body):
        native = _native(hit, vault, target)
        if native is None and _stays(hit, body):
            natives.append((hit, UNSIGNED))
            stripped.append(_path(hit.path))
        elif native is None and hit.elements:
            removed[hit.elements[-1]] = _path(hit.path[: _block_depth(hit.path)])
        else:
            natives.append((hit, native or ""))
    edits = splice.removals(body, removed)
    lost = [*removed.values(), *stripped]
    for hit, native in natives:
        if removed.keys().isdisjoint(hit.elements):
            edits.append((hit.start, hit.end, encode(native)))
            if not native:
                lost.append(_path(hit.path))
    return splice.edit(body, edits), [Loss(path, "owned elsewhere") for path in lost]


def _envelopes(body: bytes) -> list[splice.StringAt]:
    try:
        found = [hit for prefix in _PREFIXES for hit in splice.find_strings(body, prefix)]
    except WireError as error:
        raise ClientError(f"the body cannot be read: {error}") from error
    return [hit for hit in found if _ENVELOPE.fullmatch(_plain(hit.text))]


def _plain(text: str) -> str:
    """Return an envelope as it was packed, whatever its carrier made of it."""
    if text.startswith(PREFIX):
        return text
    try:  # google-genai answers standard base64 with the URL-safe alphabet
        standard = text.translate(str.maketrans("-_", "+/")).rstrip("=")
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True).decode()
    except ValueError:
        return ""


def _native(hit: splice.StringAt, vault: Vault, target: Target) -> str | None:
    """Return what the vendor had where the envelope stands; None where it is not the vendor's."""
    seal = vault.open(_plain(hit.text))
    member = hit.path[-1] if hit.path else None
    if seal is None or not isinstance(member, str) or not fits(seal.origin, target.origin):
        return None
    return _member(seal, member)


def _stays(hit: splice.StringAt, body: bytes) -> bool:
    if not hit.path or hit.path[-1] not in _ON_PARTS or not hit.elements:
        return False
    start, end = hit.elements[-1]
    return _THOUGHT.search(body, start, end) is None


def _member(seal: Seal, name: str) -> str | None:
    item = Fields.of(seal.raw.encode())
    if name == "thought_signature":  # google-genai takes both spellings
        name = "thoughtSignature"
    return item.text(name) if item.is_text(name) else None


def _block_depth(path: tuple[str | int, ...]) -> int:
    """Return how many steps of `path` lead to its innermost object that is an array's element."""
    return max(at for at in range(1, len(path)) if _is_element(path, at))


def _is_element(path: tuple[str | int, ...], at: int) -> bool:
    return isinstance(path[at - 1], int) and isinstance(path[at], str)


def _path(steps: tuple[str | int, ...]) -> str:
    """Return a path as clients write it: `messages[1].content[0].signature`."""
    words = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return "".join(words).removeprefix(".")
