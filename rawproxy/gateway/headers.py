"""Which header fields may go upstream, and which may come back.

Layer: gateway.
"""

from functools import lru_cache
from itertools import compress
from operator import itemgetter

from rawproxy.wire.fields import HOP_BY_HOP, hop_by_hop
from rawproxy.wire.http import Fields

__all__ = ["kept_of_reply", "kept_of_request"]

_name = itemgetter(0)

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
_OPENAI = (b"openai-", b"x-openai-", b"x-codex-", b"x-stainless-")
_ANTHROPIC = (b"anthropic-", b"x-stainless-", b"x-claude-", b"x-app")
_OWN_PREFIX: dict[str, tuple[bytes, ...]] = {
    "openai_chat": _OPENAI,
    "openai_completions": _OPENAI,
    "openai_responses": _OPENAI,
    "anthropic_messages": _ANTHROPIC,
    "anthropic_complete": _ANTHROPIC,
    "gemini": (b"x-goog-",),
    "bedrock_converse": (b"x-amzn-",),
    "ollama_chat": (),
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

    A field that came several times is one, its values joined (RFC 9110 5.3), empty ones left out.
    """
    if client != upstream:
        return []
    names = tuple(map(_name, fields))
    connection = hop_by_hop(fields) if b"connection" in names else HOP_BY_HOP
    kept: dict[bytes, bytes] = {}
    for name, value in compress(fields, _may_go(names, client, own_credential)):
        if name not in connection:
            kept[name] = (
                b", ".join(filter(None, (kept.get(name), value))) if name in kept else value
            )
    return list(kept.items())


# A program sends the same fields all the time: what may become of them is decided once.
@lru_cache(64)
def _may_go(names: tuple[bytes, ...], client: str, own_credential: bool) -> tuple[bool, ...]:
    """Return for each of `names` whether such a field of a client's may go upstream."""
    own = _OWN_PREFIX[client]
    return tuple(
        not (
            name in _NEVER
            or name.startswith(_NEVER_PREFIX)
            or (name.startswith(_ALL_OWN) and not name.startswith(own))
            or (name in _ORGANISATION and not own_credential)
        )
        for name in names
    )


_NOT_BACK = HOP_BY_HOP | frozenset({
    b"set-cookie", b"set-cookie2", b"content-length", b"date", b"server",
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

    Request ids, rate limits and `retry-after` always; when nothing was translated all others too
    (Content-Type, and the coding of a body that nobody may look into), but hop-by-hop fields, cookies
    and organisation ids.
    """
    names = tuple(map(_name, fields))
    back = compress(fields, _may_come_back(names, translated))
    if b"connection" not in names:
        return list(back)
    connection = hop_by_hop(fields)
    return [field for field in back if field[0] not in connection]


@lru_cache(64)
def _may_come_back(names: tuple[bytes, ...], translated: bool) -> tuple[bool, ...]:
    """Return for each of `names` whether such a field of an upstream's may go on to the client."""
    return tuple(
        name not in _NOT_BACK
        and not name.startswith(_NOT_BACK_PREFIX)
        and (not translated or name in _BACK_ALWAYS or name.startswith(_BACK_ALWAYS_PREFIX))
        for name in names
    )
