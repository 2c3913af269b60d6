"""The sections of the configuration: every key, its type and its default.

Layer: app. Declarations only; `docs/CONFIGURATION.md` says the same in words, and a test compares them.
"""

from typing import Literal

import msgspec

from rawproxy.dialects.models import Row
from rawproxy.gateway.access import Caller
from rawproxy.gateway.keys import Secret
from rawproxy.gateway.limits import Limits
from rawproxy.gateway.liveness import Timing
from rawproxy.gateway.providers import Http2
from rawproxy.gateway.route import Route

__all__ = [
    "AccessConfig", "AdminConfig", "CertificateConfig", "Config", "ModelConfig", "ServerConfig",
    "TlsConfig", "UpstreamConfig",
]  # fmt: skip


class CertificateConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[server.tls.more]]`: files of a certificate with its chain, and of its key (PEM)."""

    certificate: str
    key: str


class TlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section `[server.tls]`. Files are PEM.

    Attributes:
        certificate: with its chain; shown to clients that ask for no name that another one has.
        key: of that certificate.
        client_ca: authorities; a client must show a certificate of one of them. "": no client needs one.
        more: certificates for other names.
    """

    certificate: str
    key: str
    client_ca: str = ""
    more: tuple[CertificateConfig, ...] = ()

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every certificate with its key, the first one first."""
        more = [(given.certificate, given.key) for given in self.more]
        return [(self.certificate, self.key), *more]


class ServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section `[server]`.

    Attributes:
        listen: addresses for clients.
        hosts: names, besides the loopback ones, that a loopback listener answers to.
        origins: web pages that may call, as `scheme://host[:port]`.
        workers: processes that share the listeners.
        drain_seconds: how long running exchanges may take to end when the server stops.
        proxy_protocol: networks whose connections begin with a PROXY header.
        seal_key: signs the envelopes that vendors' seals travel in; "" derives it from the keys.
        tls: certificates; None: clients speak plain HTTP.
    """

    listen: tuple[str, ...] = ("127.0.0.1:8080",)
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    workers: int = 1
    drain_seconds: float = 30.0
    proxy_protocol: tuple[str, ...] = ()
    seal_key: Secret = Secret()
    tls: TlsConfig | None = None
    limits: Limits = Limits()


class AdminConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section `[admin]`: health and metrics, read-only. An empty `listen` switches it off."""

    listen: str = "127.0.0.1:8081"


class AccessConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section `[access]`: who may call."""

    mode: Literal["open", "callers", "forward"] = "open"
    callers: tuple[Caller, ...] = ()


class UpstreamConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[upstreams.NAME]`.

    Attributes:
        provider: a name in `rawproxy.gateway.providers.PROVIDERS`.
        base_url: where it is, as the vendor's own SDK has it; "" for the provider's own.
        keys: its credentials; several are a pool.
        dialects: what it speaks, the preferred one first; none for the provider's first.
        ca_file: PEM file of the authorities to trust; "" for the system's.
        client_certificate: PEM file, shown to it when it asks for one.
        client_key: PEM file, of that certificate.
        headers: fields added to each request.
        models: the client's name of a model -> the upstream's.
        http2: `auto` where TLS agrees on it, `never`, or `prior_knowledge` without asking.
        forward: in access mode `forward`, the client's own credential may go here.
        scope: the account whose seals it opens; None for not known.
        region: of AWS or Google Cloud (providers `bedrock` and `vertex` only).
        project: of Google Cloud (provider `vertex` only).
        api_version: date of the API that has deployments in its path (provider `azure` only).
        text_field: field of each line that holds the text (dialect `plain_text` only).
        engine: the model that runs in this process (provider `engine` only, as the next two).
        tokens_per_second: how fast it speaks.
        first_token_seconds: how long it thinks before.
    """

    provider: str
    base_url: str = ""
    keys: tuple[Secret, ...] = ()
    dialects: tuple[str, ...] = ()
    ca_file: str = ""
    client_certificate: str = ""
    client_key: str = ""
    headers: dict[str, Secret] = {}
    models: dict[str, str] = {}
    http2: Http2 = "auto"
    forward: bool = False
    scope: str | None = None
    region: str = ""
    project: str = ""
    api_version: str = ""
    text_field: str = ""
    engine: Literal["ngram"] = "ngram"
    tokens_per_second: float = 60.0
    first_token_seconds: float = 0.05


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[models]]`: what the models of a glob accept, where the built-in table says otherwise.

    All but `model` and `dialect` are members of `rawproxy.dialects.models.Takes`; None: as it was.
    """

    model: str
    dialect: str = ""
    sampling: bool | None = None
    stop: bool | None = None
    prefill: bool | None = None
    middle_system: bool | None = None
    reasoning: Literal["none", "effort", "budget", "adaptive"] | None = None
    limit_field: Literal["max_tokens", "max_completion_tokens"] | None = None
    limit: int | None = None
    most: int | None = None
    developer: bool | None = None
    reasoning_text: bool | None = None
    schema: bool | None = None
    breakpoints: bool | None = None
    freeform: bool | None = None

    def row(self) -> Row:
        """Return it as a row of the table."""
        said = {name: getattr(self, name) for name in self.__struct_fields__[2:]}
        return Row(
            self.dialect,
            self.model,
            {name: value for name, value in said.items() if value is not None},
        )


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole configuration. `rawproxy.app.config` makes one from a file or a dict, and checks it."""

    server: ServerConfig = ServerConfig()
    admin: AdminConfig = AdminConfig()
    access: AccessConfig = AccessConfig()
    upstreams: dict[str, UpstreamConfig] = {}
    routes: tuple[Route, ...] = ()
    models: tuple[ModelConfig, ...] = ()
    stream: Timing = Timing()
