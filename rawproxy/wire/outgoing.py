"""What may go out: the one place that every method, target, status and field passes.

Layer: wire. Knows the grammar of parts that are about to be sent. Knows no framing.
Spec:  https://www.rfc-editor.org/rfc/rfc9110#section-5.5

A part that holds a line end would be read as two, and the second one is an attacker's to write.
HTTP/2 could carry it as it is, but somebody behind may speak HTTP/1.1. So no version lets it out.
"""

import re
from functools import lru_cache
from operator import itemgetter

from rawproxy.errors import HttpError
from rawproxy.wire.fields import is_token
from rawproxy.wire.http import Fields

__all__ = ["check_request", "check_status", "write_fields"]

_FIRST_STATUS, _LAST_STATUS = 100, 999

# Names in lower case, as `Fields` has them, so that no other spelling slips past a comparison.
_NAME_BYTES = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_VALUE_BYTES = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_name = itemgetter(0)
_put_together = b": ".join
_TARGET = re.compile(rb"/[!\"$-~]*+|\*")


def check_request(method: bytes, target: bytes) -> None:
    """Refuse a request whose method is no token, or whose target is neither origin-form nor `*`.

    Raises:
        HttpError: 500.
    """
    if not is_token(method) or not _TARGET.fullmatch(target):
        raise HttpError("a request line that must not be sent", status=500)


def check_status(status: int) -> None:
    """Refuse a status outside of 100 to 999.

    Raises:
        HttpError: 500.
    """
    if not _FIRST_STATUS <= status <= _LAST_STATUS:
        raise HttpError("a status that HTTP does not have", status=500)


def write_fields(fields: Fields) -> tuple[tuple[bytes, ...], bytes]:
    """Return the names and the lines of `fields`, each line with its CRLF.

    All are checked in one go: what is not allowed in a name, or in a line, is what is left of all
    of them once the bytes that are allowed there are taken out.

    Raises:
        HttpError: 500, a field would not be read as what it is.
    """
    names = tuple(map(_name, fields))
    lines = b"\r\n".join([*map(_put_together, fields), b""])
    if not _are_names(names) or lines.translate(None, _VALUE_BYTES) != b"\r\n" * len(names):
        raise HttpError("a header field that must not be sent", status=500)
    return names, lines


@lru_cache(64)
def _are_names(names: tuple[bytes, ...]) -> bool:
    """Return whether all are names; the same ones are sent again and again."""
    return b"" not in names and not b"".join(names).translate(None, _NAME_BYTES)
