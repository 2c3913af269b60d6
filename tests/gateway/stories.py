"""What the gateway tests tell their stories with: a site, a request, and an upstream's answers."""

from collections.abc import Sequence
from typing import Any

from rawproxy.dialects.envelope import Vault
from rawproxy.gateway.access import ANYONE, Caller
from rawproxy.gateway.ask import Ask
from rawproxy.gateway.exchange import Exchange, Site
from rawproxy.gateway.face import FACES
from rawproxy.gateway.keys import Key, KeyPool, Secret
from rawproxy.gateway.limits import Limits
from rawproxy.gateway.liveness import Timing
from rawproxy.gateway.providers import Upstream
from rawproxy.gateway.route import Route, Router
from rawproxy.wire.http import Fields
from tests.net.world import CHAT, call

STREAM = [(b"content-type", b"text/event-stream; charset=utf-8")]
JSON = [(b"content-type", b"application/json")]


def up(name: str, dialect: str = CHAT, keys: Sequence[str] = ("",), **more: Any) -> Upstream:
    pool = KeyPool([Key(Secret(key)) for key in keys])
    return Upstream(name, "compatible", "http://up.example/v1", pool, (dialect,), **more)


def site(*upstreams: Upstream, timing: Timing | None = None, attempts: int = 4) -> Site:
    """Every model goes to all of `upstreams`, in order, as "m"."""
    named = {upstream.name: upstream for upstream in upstreams}
    routes = (Route("*", tuple(f"{name}/m" for name in named)),) if named else ()
    return Site(Router(routes, named), timing or Timing(), Limits(attempts=attempts))


def asked(
    dialect: str = CHAT,
    body: bytes | None = None,
    *,
    stream: bool = True,
    fields: Fields | None = None,
    caller: Caller = ANYONE,
    credential: str | None = None,
    counts: bool = False,
    query: bytes = b"",
) -> Ask:
    return Ask(
        "rp_0123456789", FACES[dialect], call(dialect, stream=stream) if body is None else body,
        1_800_000_000.0, fields=fields or [], query=query, caller=caller,
        credential=None if credential is None else Secret(credential),
        vault=Vault(b"key", caller.name), counts=counts,
    )  # fmt: skip


def exchange(where: Site, ask: Ask) -> Exchange:
    return Exchange(where, ask, 0.0)
