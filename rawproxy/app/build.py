"""What a configuration makes of the server: upstreams with their keys, routes, access.

Layer: app. Opens nothing and runs nothing.
"""

import hashlib
import ipaddress
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from rawproxy.app.config import Config, ServerConfig, UpstreamConfig
from rawproxy.dialects.models import Row
from rawproxy.errors import ConfigError
from rawproxy.gateway.access import Access, Doors
from rawproxy.gateway.exchange import Site
from rawproxy.gateway.keys import CHAINS, Key, KeyPool, Secret, is_fetched
from rawproxy.gateway.providers import PROVIDERS, TlsFiles, Upstream
from rawproxy.gateway.route import Router
from rawproxy.net.server import Setup
from rawproxy.net.welcome import PROTOCOLS, Entrance
from rawproxy.wire.tls import Certificates

if TYPE_CHECKING:
    from rawproxy.services.credentials import Fetcher

__all__ = [
    "Source", "doors_of", "embedded_models", "entrances_of", "keys_of", "pools_of", "setup_of",
    "sources_of",
]  # fmt: skip


def entrances_of(server: ServerConfig) -> tuple[Entrance, Entrance]:
    """Return what clients of TCP listeners have to pass, and those of unix sockets: these stay plain.

    Raises:
        ConfigError: a file of certificates cannot be read, or holds something else.
    """
    plain = Entrance(seconds=server.limits.handshake_seconds)
    certificates = None
    if server.tls is not None:
        certificates = Certificates(server.tls.pairs, server.tls.client_ca, PROTOCOLS)
    networks = tuple(ipaddress.ip_network(text) for text in server.proxy_protocol)
    return Entrance(certificates, networks, plain.seconds), plain


def doors_of(config: Config) -> dict[bool, Doors]:
    """Return the doors of listeners, by whether they are guarded against web pages."""
    hosts, origins = tuple(config.server.hosts), tuple(config.server.origins)
    return {guarded: Doors(hosts, origins, guarded) for guarded in (True, False)}


def setup_of(config: Config, pools: Mapping[str, KeyPool] | None = None) -> Setup:
    """Return what `config` makes of the server: upstreams with their keys, routes, access.

    Args:
        config: a checked one.
        pools: the keys of each upstream, where somebody else has to know them too.
    """
    rows = tuple(given.row() for given in config.models)
    pools = pools or pools_of(config)
    upstreams = {
        name: _upstream(name, given, pools[name], rows) for name, given in config.upstreams.items()
    }
    site = Site(Router(tuple(config.routes), upstreams), config.stream, config.server.limits)
    access = Access(config.access.mode, tuple(config.access.callers))
    return Setup(site, access, _seal_key(config))


def pools_of(config: Config) -> dict[str, KeyPool]:
    """Return the keys of each upstream."""
    # An upstream without keys has one empty one, which is never shown and never rests.
    return {
        name: KeyPool([_key(given, secret) for secret in given.keys or [Secret()]])
        for name, given in config.upstreams.items()
    }


def _key(given: UpstreamConfig, secret: Secret) -> Key:
    key = Key(secret)
    if is_fetched(given.provider, secret):
        key.secret = Secret()  # what is written there is nothing to show to an upstream
        key.await_renewal()
    return key


class Source(NamedTuple):
    """A key whose secret is fetched.

    Attributes:
        path: of the key in the configuration.
        written: the provider, and what stands there for the secret.
    """

    path: str
    written: tuple[str, Secret]
    key: Key
    fetch: "Fetcher"


def sources_of(config: Config, pools: Mapping[str, KeyPool]) -> list[Source]:
    """Return the keys whose secrets are fetched.

    Raises:
        ConfigError: what fetches them is not installed, or cannot read what is written.
    """
    found = []
    for name, given in config.upstreams.items():
        for at, secret in enumerate(given.keys):
            if is_fetched(given.provider, secret):
                path = f"upstreams.{name}.keys[{at}]"
                fetch = _fetcher(path, given.provider, secret)
                found.append(Source(path, (given.provider, secret), pools[name].keys[at], fetch))
    return found


def _fetcher(path: str, provider: str, secret: Secret) -> "Fetcher":
    from rawproxy.services.credentials import fetcher

    try:
        return fetcher(provider, secret)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _upstream(name: str, given: UpstreamConfig, pool: KeyPool, rows: tuple[Row, ...]) -> Upstream:
    provider = PROVIDERS[given.provider]
    engine = None
    if given.provider == "engine":
        from rawproxy.engines.ngram import NgramEngine

        engine = NgramEngine(given.tokens_per_second, given.first_token_seconds)
    return Upstream(
        name,
        given.provider,
        given.base_url or provider.url(given.region),
        pool,
        tuple(given.dialects or provider.usual),
        TlsFiles(given.ca_file, given.client_certificate, given.client_key),
        given.headers,
        given.models,
        given.forward,
        given.scope,
        engine,
        given.region,
        given.project,
        given.api_version,
        given.text_field,
        rows,
        given.http2,
    )


def _seal_key(config: Config) -> bytes:
    """Return the key that envelopes are signed with: equal configurations have equal ones.

    Without any upstream key there is nothing secret to derive it from: it is made anew at each start.
    """
    if config.server.seal_key:
        return config.server.seal_key.encode()
    keys = keys_of(config)
    if not keys:
        return secrets.token_bytes()
    return hashlib.sha256(b"\0".join([b"rawproxy seal", *(key.encode() for key in keys)])).digest()


def embedded_models(router: Router) -> list[str]:
    """Return the names by which engines in this process can be asked, the shortest first."""
    names = [name for name in router.names() if "*" not in name]
    return sorted(
        (name for name in names if router.find(name)[0].upstream.engine is not None), key=len
    )


def keys_of(config: Config) -> list[Secret]:
    """Return the keys of all upstreams that are secrets."""
    written = [key for _, upstream in sorted(config.upstreams.items()) for key in upstream.keys]
    return [key for key in written if key not in CHAINS]  # `aws:` is no secret
