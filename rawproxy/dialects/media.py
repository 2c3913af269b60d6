"""Data URLs, and other small spellings that several dialects share.

Layer: dialects. Sources: RFC 2397 (data URLs); the tool id and name rules of the vendors' APIs.
"""

import re

from rawproxy.dialects.call import Base64, Source, Url
from rawproxy.dialects.digest import sha256

__all__ = ["data_url", "read_url", "safe_id"]

_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*?);base64,(.*)", re.DOTALL | re.IGNORECASE)
_UNSAFE = re.compile(r"[^a-zA-Z0-9_-]")


def data_url(mime: str, data: str) -> str:
    """Return base64 `data` as a data URL."""
    return f"data:{mime};base64,{data}"


def read_url(url: str) -> tuple[Source, str | None]:
    """Return what a URL field says: content and its type for a data URL, else the address."""
    match = _DATA_URL.fullmatch(url)
    if match is None:
        return Url(url), None
    return Base64(match[3]), match[1].lower() or None


def safe_id(wanted: str, longest: int) -> str:
    """Return `wanted` if it is `[a-zA-Z0-9_-]` and at most `longest` characters, else a stand-in.

    Equal ids give equal stand-ins, so that a call and its result still find each other.
    """
    if 0 < len(wanted) <= longest and not _UNSAFE.search(wanted):
        return wanted
    digest = sha256(wanted.encode("utf-8", "surrogatepass"))[:16]
    return f"{_UNSAFE.sub('_', wanted)[: longest - 17]}_{digest}"
