"""Who hosts a dialect: addresses, paths, how a key is shown, which header fields may go there and back.

Layer: gateway. A new host of a known dialect is one row of `PROVIDERS`.
"""

from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

import msgspec

from rawproxy.dialects.base import Target
from rawproxy.dialects.envelope import Origin
from rawproxy.dialects.models import takes
from rawproxy.gateway.engine import Engine
from rawproxy.gateway.keys import KeyPool, Secret
from rawproxy.wire.fields import HOP_BY_HOP, hop_by_hop
from rawproxy.wire.http import Fields

__all__ = ["PROVIDERS", "Provider", "Upstream", "kept_of_reply", "kept_of_request"]


class Provider(msgspec.Struct, frozen=True):
    """What all upstreams of one host have in common.

    Attributes:
        dialects: those it may speak, the first by default.
        base_url: where it is unless the configuration says otherwise; "" where it has to.
        issuer: whose seals its models make; "" for the upstream's own name.
    """

    dialects: tuple[str, ...]
    base_url: str = ""
    issuer: str = ""


PROVIDERS: dict[str, Provider] = {
    "openai": Provider(("openai_chat",), "https://api.openai.com/v1", "openai"),
    "anthropic": Provider(("anthropic_messages",), "https://api.anthropic.com", "anthropic"),
    "compatible": Provider(("openai_chat", "anthropic_messages")),
    "engine": Provider(()),
}

_PATHS = {"openai_chat": "/chat/completions", "anthropic_messages": "/messages"}

ANTHROPIC_VERSION = b"2023-06-01"
"""Sent where the client named none: it still takes sampling parameters, which 2026-10-21 refuses."""


class Upstream(msgspec.Struct, frozen=True, eq=False):
    """One configured upstream, ready to be asked.

    Attributes:
        dialects: what it speaks, the preferred one first.
        models: the client's name -> its own.
        headers: fields that the operator adds to each request; they win.
        forward: in access mode `forward`, the client's credential may go here.
        scope: the account its seals belong to, where the operator named it.
    """

    name: str
    provider: str
    base_url: str = ""
    pool: KeyPool = KeyPool([])
    dialects: tuple[str, ...] = ()
    ca_file: str = ""
    headers: Mapping[str, str] = {}
    models: dict[str, str] = {}
    forward: bool = False
    scope: str | None = None
    engine: Engine | None = None

    @property
    def serves(self) -> tuple[str, ...]:
        """The model names that it can tell by itself: an engine's."""
        return self.engine.models if self.engine else ()

    @property
    def issuer(self) -> str:
        """Whose seals its models make."""
        return PROVIDERS[self.provider].issuer or self.name

    @property
    def url(self) -> SplitResult:
        """Its base URL, in parts."""
        return urlsplit(self.base_url)

    def dialect_for(self, client: str) -> str:
        """Return the dialect to ask in: the client's own where it speaks it."""
        return client if client in self.dialects else self.dialects[0]

    def target(self, dialect: str, model: str) -> Target:
        """Return whom a call to `model` is written for."""
        compatible = self.provider == "compatible"
        return Target(
            model,
            takes(dialect, model, compatible=compatible),
            Origin(self.issuer, self.scope, model),
        )

    def path(self, dialect: str, suffix: str = "") -> str:
        """Return the request target of `dialect`, `suffix` being e.g. `/count_tokens`."""
        # Anthropic's own base URL has no version in it, as its SDKs write it; OpenAI's ends in /v1.
        version = "/v1" if self.provider == "anthropic" else ""
        return f"{self.url.path.rstrip('/')}{version}{_PATHS[dialect]}{suffix}"

    def credentials(self, dialect: str, key: Secret) -> Fields:
        """Return the header fields that show `key`; none for an empty one."""
        if not key:
            return []
        if dialect == "anthropic_messages":
            return [(b"x-api-key", key.encode())]
        return [(b"authorization", b"Bearer " + key.encode())]

    def fields(self, dialect: str, key: Secret, kept: Fields, *, stream: bool) -> Fields:
        """Return the header of a request, Content-Length aside.

        Args:
            dialect: what the body is written in.
            key: the credential to show.
            kept: what `kept_of_request` left of the client's.
            stream: whether a stream is asked for.
        """
        accept = b"text/event-stream" if stream else b"application/json"
        fields: dict[bytes, bytes] = {
            b"host": self.url.netloc.rpartition("@")[2].encode(
                "idna" if not self.url.netloc.isascii() else "ascii"
            ),
            b"content-type": b"application/json",
            b"accept": accept,
            b"accept-encoding": b"identity",
        }
        if dialect == "anthropic_messages":
            fields[b"anthropic-version"] = ANTHROPIC_VERSION
        fields |= dict(kept)
        fields |= dict(self.credentials(dialect, key))
        fields |= {name.lower().encode(): value.encode() for name, value in self.headers.items()}
        return list(fields.items())


# Never sent upstream, whatever it is: the client's credentials, where it sits, who relayed for it.
_NEVER = HOP_BY_HOP | frozenset({
    b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key", b"cookie", b"cookie2", b"forwarded",
    b"host", b"content-length", b"content-type", b"content-encoding", b"accept", b"accept-encoding",
    b"expect", b"origin", b"referer", b"via", b"x-real-ip", b"cf-connecting-ip", b"true-client-ip",
})  # fmt: skip
_NEVER_PREFIX = (
    b"x-forwarded-", b"x-rawproxy-", b"tailscale-", b"sec-", b"proxy-", b"access-control-", b"x-amz-",
)  # fmt: skip
# A vendor's own header fields mean something to its own dialect only.
_OWN_PREFIX = {
    "openai_chat": (b"openai-", b"x-stainless-"),
    "anthropic_messages": (b"anthropic-", b"x-stainless-", b"x-claude-", b"x-app"),
}
_ALL_OWN = tuple({prefix for prefixes in _OWN_PREFIX.values() for prefix in prefixes})


# They name an account.
_ORGANISATION = (b"openai-organization", b"anthropic-organization-id", b"openai-project")


def kept_of_request(
    fields: Fields, client: str, upstream: str, *, own_credential: bool = False
) -> Fields:
    """Return those of a client's header fields that may go upstream.

    Args:
        fields: all of them.
        client: the dialect that the client speaks.
        upstream: the dialect that the upstream is asked in. Another one: nothing is kept.
        own_credential: the client's own credential goes with it. Else fields that name an account
            stay here: with our key they are refused, and the key would be blamed for it.

    A field that came several times is one, its values joined (RFC 9110 5.3).
    """
    if client != upstream:
        return []
    own = _OWN_PREFIX[client]
    connection = hop_by_hop(fields)
    kept: dict[bytes, bytes] = {}
    for name, value in fields:
        if (
            name in _NEVER
            or name in connection
            or name.startswith(_NEVER_PREFIX)
            or (name.startswith(_ALL_OWN) and not name.startswith(own))
            or (name in _ORGANISATION and not own_credential)
        ):
            continue
        kept[name] = kept[name] + b", " + value if name in kept else value
    return list(kept.items())


_NOT_BACK = HOP_BY_HOP | frozenset({
    b"set-cookie", b"set-cookie2", b"content-length", b"content-type", b"content-encoding", b"date", b"server",
    b"alt-svc", b"strict-transport-security", b"vary", b"cache-control", b"www-authenticate", b"location",
    *_ORGANISATION,
})  # fmt: skip
_NOT_BACK_PREFIX = (b"x-rawproxy-", b"access-control-")
_BACK_ALWAYS = frozenset(
    {b"request-id", b"x-request-id", b"retry-after", b"retry-after-ms", b"x-should-retry"}
)
_BACK_ALWAYS_PREFIX = (b"x-ratelimit-", b"anthropic-ratelimit-")


def kept_of_reply(fields: Fields, *, translated: bool) -> Fields:
    """Return those of an upstream's header fields that go on to the client.

    Request ids, rate limits and `retry-after` always; when nothing was translated all others too,
    but hop-by-hop fields, cookies and organisation ids.
    """
    connection = hop_by_hop(fields)
    return [
        (name, value)
        for name, value in fields
        if name not in _NOT_BACK
        and name not in connection
        and not name.startswith(_NOT_BACK_PREFIX)
        and (not translated or name in _BACK_ALWAYS or name.startswith(_BACK_ALWAYS_PREFIX))
    ]
