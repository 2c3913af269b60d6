"""What a configuration has to keep beyond its types: names that exist, limits above zero, closed doors.

Layer: app. Notes every fault and raises nothing. No message quotes a secret.
"""

import ipaddress
import json
import math
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from rawproxy.app.address import Address, Tcp, parse_address
from rawproxy.app.sections import Config, ModelConfig, TlsConfig, UpstreamConfig
from rawproxy.app.shape import Faults, Path
from rawproxy.dialects import DIALECTS
from rawproxy.gateway.access import Caller, hashed
from rawproxy.gateway.keys import CHAINS, Secret, is_fetched
from rawproxy.gateway.providers import PROVIDERS
from rawproxy.gateway.route import Route
from rawproxy.wire.fields import HOP_BY_HOP, host_name, is_field_value, is_token
from rawproxy.wire.tls import Certificates, FileFault, client_context

__all__ = ["check", "is_own"]

UPSTREAM_NAME = re.compile(r"[a-z0-9][-_a-z0-9]*")

OWN_PATHS = frozenset({"v1", "v1beta", "model", "models", "projects", "api", "healthz"})
"""First segments of our own paths: an upstream's name stands in the same place."""

MAY_BE_ZERO = frozenset({
    "drain_seconds", "body_rate", "keepalive_seconds", "connect_seconds", "first_event_seconds",
    "silence_seconds", "total_seconds", "finish_seconds", "first_token_seconds", "grammar_sample",
})  # fmt: skip
"""Numbers whose zero means something: off, or at once. All others have to be above it."""

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_VISIBLE = re.compile(r"[!-~]+")
_DIGEST = re.compile(r"sha256:[0-9A-Fa-f]{64}")
_NOT_SET_HERE = HOP_BY_HOP | {b"content-length"}
_DEFAULT_PORTS = {"http": 80, "https": 443}

_ENGINE_ONLY = ("engine", "tokens_per_second", "first_token_seconds")
_HOST_ONLY = (
    "base_url", "keys", "dialects", "ca_file", "client_certificate", "client_key", "headers",
    "forward", "http2", "scope", "region", "project", "api_version", "text_field",
)  # fmt: skip
_ONE_PROVIDER = {
    # a key that means something to some providers only
    "region": ("bedrock", "vertex"), "project": ("vertex",), "api_version": ("azure",),
}  # fmt: skip
_WORD = re.compile(r"[A-Za-z0-9._-]+")
_SERVICE_ACCOUNT = ("client_email", "private_key", "token_uri")
_UNSET = UpstreamConfig("")


def check(config: Config, faults: Faults) -> None:
    """Note in `faults` all that is wrong with `config`."""
    _check_listeners(config, faults)
    _check_doors(config, faults)
    _check_access(config, faults)
    _check_networks(config.server.proxy_protocol, faults)
    if config.server.tls is not None:
        _check_tls(config.server.tls, faults)
    _check_numbers(config.server, ("server",), faults)
    _check_numbers(config.server.limits, ("server", "limits"), faults)
    limits = config.server.limits
    if limits.bodies_bytes < limits.body_bytes:
        what = f"is {limits.bodies_bytes}, must have room for one body ({limits.body_bytes} bytes)"
        faults.add(("server", "limits", "bodies_bytes"), what)
    _check_numbers(config.stream, ("stream",), faults)
    if config.stream.grammar_sample > 1:
        what = f"is {config.stream.grammar_sample}, must be a share from 0 to 1"
        faults.add(("stream", "grammar_sample"), what)
    for name, upstream in config.upstreams.items():
        _Upstream(name, upstream, faults).check(config.server.listen)
    for at, route in enumerate(config.routes):
        _check_route(route, ("routes", at), config, faults)
    for at, model in enumerate(config.models):
        _check_model(model, ("models", at), faults)


def _check_listeners(config: Config, faults: Faults) -> None:
    if not config.server.listen:
        faults.add(("server", "listen"), "is empty, must have at least one address")
    for at, text in enumerate(config.server.listen):
        local = 'in access mode "open"' if config.access.mode == "open" else ""
        _check_address(text, ("server", "listen", at), local, faults)
    if config.admin.listen:
        _check_address(config.admin.listen, ("admin", "listen"), "here", faults)


def _check_address(text: str, path: Path, local: str, faults: Faults) -> None:
    """Note an address that is none; or, if `local` says where only those may be, not a local one."""
    try:
        address = parse_address(text)
    except ValueError as error:
        faults.add(path, str(error))
        return
    if local and not address.is_local:
        faults.add(path, f"is open to others, must be loopback or a unix socket {local}")


def _check_doors(config: Config, faults: Faults) -> None:
    for at, host in enumerate(config.server.hosts):
        if host_name(f"[{host}]".encode() if ":" in host else host.encode()) != host.encode():
            faults.add(
                ("server", "hosts", at),
                "is no host name, must be a name or address in lower case, without a port",
            )
    for at, origin in enumerate(config.server.origins):
        if not _ORIGIN.fullmatch(origin):
            faults.add(
                ("server", "origins", at),
                "is no origin, must be `scheme://host` or `scheme://host:port` in lower case",
            )
    _check_visible(config.server.seal_key, ("server", "seal_key"), faults, optional=True)


def _check_networks(networks: tuple[str, ...], faults: Faults) -> None:
    for at, text in enumerate(networks):
        try:
            ipaddress.ip_network(text)
        except ValueError:
            what = "is no network, must be an address, or one with a prefix, as `10.0.0.0/8`"
            faults.add(("server", "proxy_protocol", at), what)


def _check_tls(tls: TlsConfig, faults: Faults) -> None:
    path: Path = ("server", "tls")
    for at, pair in enumerate(tls.pairs):
        here: Path = path if at == 0 else (*path, "more", at - 1)
        try:
            Certificates([pair])
        except FileFault as error:
            faults.add((*here, error.option), str(error))
    if tls.client_ca:
        try:
            client_context(tls.client_ca)
        except FileFault as error:
            faults.add((*path, "client_ca"), str(error))


def _check_visible(secret: Secret, path: Path, faults: Faults, *, optional: bool = False) -> None:
    if not (optional and not secret) and not _VISIBLE.fullmatch(secret):
        state = "holds other characters" if secret else "is empty"
        faults.add(path, f"{state}, must be visible ASCII")


def _check_access(config: Config, faults: Faults) -> None:
    if config.access.mode == "callers" and not config.access.callers:
        faults.add(("access", "callers"), 'is empty, mode "callers" must have at least one')
    names: set[str] = set()
    keys: set[str] = set()
    for at, caller in enumerate(config.access.callers):
        path: Path = ("access", "callers", at)
        _check_caller(caller, path, faults)
        if caller.name in names:
            faults.add((*path, "name"), "is the name of a caller before it, must be its own")
        names.add(caller.name)
        if caller.key.isascii():
            digest = hashed(caller.key)
            if digest in keys:
                faults.add((*path, "key"), "is the key of a caller before it, must be its own")
            keys.add(digest)


def _check_caller(caller: Caller, path: Path, faults: Faults) -> None:
    if not caller.name:
        faults.add((*path, "name"), "is empty, must be text")
    _check_visible(caller.key, (*path, "key"), faults)
    if caller.key.startswith("sha256:") and not _DIGEST.fullmatch(caller.key):
        faults.add((*path, "key"), "is no digest, must be `sha256:` and 64 hexadecimal digits")
    if not caller.models:
        faults.add(
            (*path, "models"), 'is empty, must have at least one glob; `["*"]` is every model'
        )


def _check_numbers(section: msgspec.Struct, path: Path, faults: Faults) -> None:
    for name in section.__struct_fields__:
        value = getattr(section, name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        if name in MAY_BE_ZERO:
            if not 0 <= value < math.inf:
                faults.add((*path, name), f"is {value}, must be 0 or more")
        elif not 0 < value < math.inf:
            faults.add((*path, name), f"is {value}, must be above 0")


class _Upstream:
    """Checks one `[upstreams.NAME]`."""

    def __init__(self, name: str, given: UpstreamConfig, faults: Faults) -> None:
        self._name = name
        self._given = given
        self._faults = faults

    def check(self, listen: tuple[str, ...]) -> None:
        given = self._given
        if not UPSTREAM_NAME.fullmatch(self._name):
            self._faults.add(
                ("upstreams", self._name),
                "is no name for an upstream, must be of a-z, 0-9, `-` and `_`, a letter or digit first",
            )
        elif self._name in OWN_PATHS:
            self._faults.add(
                ("upstreams", self._name), "is the head of a path of our own, must be another name"
            )
        for asked, own in given.models.items():
            if not asked or not own:
                self._wrong("models", asked, what="is empty, must be the name of a model")
        _check_numbers(given, ("upstreams", self._name), self._faults)
        if given.provider == "engine":
            self._leave_out(_HOST_ONLY, 'has no meaning for provider "engine", must be left out')
        else:
            self._leave_out(_ENGINE_ONLY, 'is for provider "engine", must be left out')
            self._check_provider()
            self._check_host(listen)

    def _wrong(self, *path: str | int, what: str) -> None:
        self._faults.add(("upstreams", self._name, *path), what)

    def _leave_out(self, names: tuple[str, ...], what: str) -> None:
        for name in names:
            if getattr(self._given, name) != getattr(_UNSET, name):
                self._wrong(name, what=what)

    def _check_provider(self) -> None:
        given = self._given
        provider = PROVIDERS.get(given.provider)
        if provider is None:
            self._wrong("provider", what=f"is not known, must be one of: {', '.join(PROVIDERS)}")
            return
        needed = [*provider.needs, *([] if provider.base_url else ["base_url"])]
        for name in needed:
            if not getattr(given, name):
                self._wrong(name, what=f'is missing, provider "{given.provider}" must have one')
        for name, providers in _ONE_PROVIDER.items():
            value = getattr(given, name)
            if value and given.provider not in providers:
                listed = " and ".join(f'"{one}"' for one in providers)
                self._wrong(name, what=f"is for provider {listed}, must be left out")
            elif value and not _WORD.fullmatch(value):
                self._wrong(name, what="holds other characters, must be of A-Z, 0-9, `.`, `-`, `_`")
        if given.text_field and "plain_text" not in given.dialects:
            self._wrong("text_field", what='is for dialect "plain_text", must be left out')
        for at, dialect in enumerate(given.dialects):
            if dialect not in provider.dialects:
                listed = ", ".join(provider.dialects)
                self._wrong(
                    "dialects", at,
                    what=f'is not one of provider "{given.provider}", must be one of: {listed}',
                )  # fmt: skip

    def _check_host(self, listen: tuple[str, ...]) -> None:
        given = self._given
        if given.base_url and (wrong := _wrong_url(given.base_url, listen)):
            self._wrong("base_url", what=wrong)
        for at, key in enumerate(given.keys):
            self._check_key(at, key)
        self._check_files()
        self._check_headers(given.headers)

    def _check_files(self) -> None:
        given = self._given
        missing = "is missing, a certificate and its key must both be there"
        if given.client_certificate and not given.client_key:
            self._wrong("client_key", what=missing)
        elif given.client_key and not given.client_certificate:
            self._wrong("client_certificate", what=missing)
        elif given.ca_file or given.client_key:
            try:
                client_context(given.ca_file, given.client_certificate, given.client_key)
            except FileFault as error:
                self._wrong(error.option, what=str(error))

    def _check_key(self, at: int, key: Secret) -> None:
        provider = self._given.provider
        if key in CHAINS and CHAINS[key] != provider:
            self._wrong("keys", at, what=f'is for provider "{CHAINS[key]}", must be a key')
        elif key.startswith("{") and is_fetched(provider, key):
            if not _is_service_account(key):
                listed = ", ".join(_SERVICE_ACCOUNT)
                what = f"is no service account, must be a JSON object with text for {listed}"
                self._wrong("keys", at, what=what)
        else:
            _check_visible(key, ("upstreams", self._name, "keys", at), self._faults)

    def _check_headers(self, headers: Mapping[str, Secret]) -> None:
        for name, value in headers.items():
            if not is_token(name.encode()):
                self._wrong("headers", name, what="is no name of a header field, must be a token")
            elif name.lower().encode() in _NOT_SET_HERE:
                self._wrong("headers", name, what="is set by rawproxy itself, must be left out")
            elif not value.isascii() or not is_field_value(value.encode()):
                self._wrong(
                    "headers", name, what="is no value of a header field, must be visible ASCII"
                )


def _is_service_account(text: str) -> bool:
    try:
        found = json.loads(text)
    except ValueError:
        return False
    # What begins with a brace and is JSON is an object.
    return all(isinstance(value := found.get(name), str) and value for name in _SERVICE_ACCOUNT)


def _wrong_url(text: str, listen: tuple[str, ...]) -> str:
    """Return what is wrong with a base URL; "" when nothing is."""
    allowed = "must be `http://` or `https://`, a host, and maybe a port and a path"
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return f"is no URL, {allowed}"
    if url.scheme not in _DEFAULT_PORTS or not url.hostname or not _VISIBLE.fullmatch(text):
        return f"is no HTTP URL, {allowed}"
    if "@" in url.netloc:
        return "has a user or password in it, must have none; use `keys`"
    if "?" in text or "#" in text:
        return f"has a query or fragment, {allowed}"
    if port == 0:
        return f"has port 0, {allowed}"
    return "is a listener of this proxy, must be another server" if is_own(text, listen) else ""


def is_own(base_url: str, listen: tuple[str, ...]) -> bool:
    """Return whether `base_url` leads to one of the addresses `listen`: calls would go in circles."""
    try:
        url = urlsplit(base_url)
        called = Tcp(url.hostname or "", url.port or _DEFAULT_PORTS.get(url.scheme, 0))
    except ValueError:
        return False
    return any(_is_same(called, address) for text in listen if (address := _parsed(text)))


def _is_same(called: Tcp, listener: Address) -> bool:
    if not isinstance(listener, Tcp) or called.port != listener.port:
        return False
    return called.host == listener.host or (called.is_local and listener.is_local)


def _parsed(text: str) -> Address | None:
    try:
        return parse_address(text)
    except ValueError:
        return None


def _check_model(model: ModelConfig, path: Path, faults: Faults) -> None:
    if not model.model:
        faults.add((*path, "model"), "is empty, must be a name or a glob")
    if model.dialect and model.dialect not in DIALECTS:
        faults.add((*path, "dialect"), f"is not known, must be one of: {', '.join(DIALECTS)}")
    if model.limit is not None or model.most is not None:
        _check_numbers(model, path, faults)


def _check_route(route: Route, path: Path, config: Config, faults: Faults) -> None:
    if not route.model:
        faults.add((*path, "model"), "is empty, must be a name or a glob")
    if not route.to:
        faults.add((*path, "to"), "is empty, must have at least one `upstream/model`")
    found = []
    for at, to in enumerate(route.to):
        name, _, model = to.partition("/")
        if not model or ("*" in model and model != "*"):
            what = (
                "names no model, must be `upstream/model`, or `upstream/*` for the asked-for name"
            )
            faults.add((*path, "to", at), what)
        elif name not in config.upstreams:
            listed = ", ".join(config.upstreams) or "none is configured"
            what = f"names no upstream, must begin with one of: {listed}"
            faults.add((*path, "to", at), what)
        else:
            found.append((at, config.upstreams[name]))
    if config.access.mode == "forward":
        _check_forwarding(found, path, faults)


def _check_forwarding(found: list[tuple[int, UpstreamConfig]], path: Path, faults: Faults) -> None:
    # An engine is in this process: no credential goes there.
    asked = [(at, upstream) for at, upstream in found if upstream.provider != "engine"]
    for at, upstream in asked:
        if not upstream.forward:
            what = 'leads to an upstream that must have `forward = true` in access mode "forward"'
            faults.add((*path, "to", at), what)
    if len({upstream.provider for _, upstream in asked}) > 1:
        what = 'mixes providers, must have one in access mode "forward": a credential is for one of them'
        faults.add((*path, "to"), what)
