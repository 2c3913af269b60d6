"""Who is asking, and may they: callers' keys, model lists, and the rules against web pages.

Layer: gateway. Knows no sockets: whether a listener is loopback comes in as an argument.
"""

import hashlib
from fnmatch import fnmatchcase
from typing import Literal
from urllib.parse import unquote_to_bytes

import msgspec

from rawproxy.errors import Forbidden, Unauthorized
from rawproxy.gateway.keys import Secret
from rawproxy.wire.fields import get, host_name, is_loopback, read_bearer
from rawproxy.wire.http import Fields

__all__ = ["ANYONE", "Access", "Caller", "Doors", "credential", "hashed"]


class Caller(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who may call us. `key` is `sha256:` and the hex digest of their key, or the key itself."""

    name: str
    key: Secret = Secret()
    models: tuple[str, ...] = ("*",)

    def may_use(self, model: str) -> bool:
        """Return whether one of the caller's globs matches `model`."""
        return "*" in self.models or any(fnmatchcase(model, glob) for glob in self.models)


ANYONE = Caller("anyone")
"""The caller of an open door."""


def hashed(key: str) -> str:
    """Return the lower-case hex SHA-256 of a caller's key; a `sha256:` value is one already."""
    if key.startswith("sha256:"):
        return key[7:].lower()
    return hashlib.sha256(key.encode()).hexdigest()


_CREDENTIALS = frozenset({b"x-api-key", b"x-goog-api-key", b"api-key", b"authorization"})


def credential(fields: Fields, query: bytes = b"") -> Secret | None:
    """Return the credential a request came with.

    `x-api-key`, else `x-goog-api-key`, `api-key`, `?key=`, else `Authorization: Bearer`.
    """
    # Of several fields of one name the first one counts.
    sent = {name: value for name, value in reversed(fields) if name in _CREDENTIALS}
    named = sent.get(b"x-api-key", sent.get(b"x-goog-api-key", sent.get(b"api-key")))
    key = named or (_in_query(query) if query else None)
    if key is None:
        bearer = sent.get(b"authorization")
        key = None if bearer is None else read_bearer(bearer)
    return Secret(key.decode("latin-1")) if key else None


def _in_query(query: bytes) -> bytes | None:
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if name == b"key" and value:
            return unquote_to_bytes(value)
    return None


class Access:
    """Tells callers apart. Keys are compared by their digest, so that time tells nothing about them.

    Args:
        mode: `open` (everyone), `callers` (those listed), `forward` (the client's credential goes upstream).
        callers: who may call, in mode `callers`.
    """

    def __init__(
        self, mode: Literal["open", "callers", "forward"], callers: tuple[Caller, ...] = ()
    ) -> None:
        self.mode = mode
        self._callers = {hashed(caller.key): caller for caller in callers}

    def identify(self, fields: Fields, query: bytes = b"") -> Caller:
        """Return who asks.

        Raises:
            Unauthorized: no credential, or one we do not know. The message never quotes it.
        """
        if self.mode == "open":
            return ANYONE
        presented = credential(fields, query)
        if presented is None:
            raise Unauthorized("no API key: send `Authorization: Bearer` or `x-api-key`")
        # What a client presents is a key, never a digest, whatever it looks like.
        digest = hashlib.sha256(presented.encode()).hexdigest()
        if self.mode == "forward":
            return Caller(f"forwarded-{digest[:32]}", presented)
        caller = self._callers.get(digest)
        if caller is None:
            raise Unauthorized("the API key is not known here", code="invalid_api_key")
        return caller


class Doors(msgspec.Struct, frozen=True):
    """Which `Host` and `Origin` a listener answers to.

    On a loopback listener any web page the user looks at could send requests, and by DNS rebinding
    read the replies. So there `Host` has to be a loopback name or listed, and an `Origin` listed.
    """

    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    guarded: bool = True

    def check(self, fields: Fields) -> None:
        """Raise Forbidden when a request may come from a web page that nobody allowed."""
        if not self.guarded:
            return
        origin = get(fields, b"origin")
        host = host_name(get(fields, b"host") or b"")
        if host is None or not (is_loopback(host) or host.decode("latin-1") in self.hosts):
            raise Forbidden("this Host is not one of `server.hosts`")
        if origin is not None and not self.allows(origin):
            raise Forbidden("this Origin is not one of `server.origins`")

    def allows(self, origin: bytes) -> bool:
        """Return whether pages of `origin` were let in by the operator."""
        return origin.decode("latin-1") in self.origins
