"""Who hosts a dialect: addresses, paths, how a key is shown, what a request looks like there.

Layer: gateway. A new host of a known dialect is one row of `PROVIDERS`.
"""

from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, quote, urlsplit

import msgspec
from msgspec.structs import replace

from rawproxy.dialects.base import Target
from rawproxy.dialects.envelope import Origin
from rawproxy.dialects.models import Row, takes
from rawproxy.errors import Untranslatable
from rawproxy.gateway.engine import Engine
from rawproxy.gateway.face import (
    FACES,
    FIRST_VERSION,
    INVOKE_FACE,
    VERSION,
    VERTEX_FACE,
    Face,
    hosted,
)
from rawproxy.gateway.keys import KeyPool, Secret
from rawproxy.wire import ndjson, sigv4
from rawproxy.wire.http import Fields

__all__ = ["PROVIDERS", "Http2", "Provider", "Request", "TlsFiles", "Upstream", "Wanted", "Way"]

MESSAGES = "anthropic_messages"

Http2 = Literal["auto", "never", "prior_knowledge"]
"""Whether HTTP/2 is spoken to an upstream: where TLS agrees on it, never, or without asking."""

_OPENAI = ("openai_chat", "openai_responses", "openai_completions")
_ANTHROPIC = (MESSAGES, "anthropic_complete")


MOST_FORMS = 256
"""Forms of requests that an upstream remembers: of each model it is asked for, there are two or three."""

GLOBAL = "global"
"""The region of Vertex whose address has no region in it."""


class Provider(msgspec.Struct, frozen=True):
    """What all upstreams of one host have in common.

    Attributes:
        dialects: those it may speak, the preferred one first.
        base_url: where it is unless the configuration says otherwise, with the region in it where
            it has one; "" where the configuration has to say.
        issuer: whose seals its models make; "" for the upstream's own name.
        default: the dialects that it speaks where the configuration names none; () for all of them.
        needs: keys of the configuration that it cannot do without.
    """

    dialects: tuple[str, ...]
    base_url: str = ""
    issuer: str = ""
    default: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    @property
    def usual(self) -> tuple[str, ...]:
        """What it speaks where the configuration names nothing."""
        return self.default or self.dialects

    def url(self, region: str) -> str:
        """Return where it is in `region`."""
        if region == GLOBAL:
            return self.base_url.replace("{region}-", "")
        return self.base_url.replace("{region}", region)


PROVIDERS: dict[str, Provider] = {
    "openai": Provider(_OPENAI, "https://api.openai.com/v1", "openai"),
    "anthropic": Provider(_ANTHROPIC, "https://api.anthropic.com", "anthropic"),
    "gemini": Provider(("gemini",), "https://generativelanguage.googleapis.com", "gemini"),
    "bedrock": Provider(
        ("bedrock_converse", MESSAGES), "https://bedrock-runtime.{region}.amazonaws.com",
        "anthropic", needs=("region",),
    ),
    "vertex": Provider(
        ("gemini", MESSAGES), "https://{region}-aiplatform.googleapis.com",
        needs=("region", "project"),
    ),
    "azure": Provider(_OPENAI, issuer="openai"),
    "ollama": Provider(("ollama_chat",), "http://127.0.0.1:11434"),
    "compatible": Provider(
        (*_OPENAI, *_ANTHROPIC, "plain_text"), default=("openai_chat",)
    ),
    "engine": Provider(()),
}  # fmt: skip

BEDROCK_VERSION = "bedrock-2023-05-31"
VERTEX_VERSION = "vertex-2023-10-16"


class Wanted(msgspec.Struct, frozen=True):
    """What is asked of an upstream, as far as the address and the form of the request need it.

    Attributes:
        counts: the tokens of a call are asked for, not a reply.
        variant: the dialect's own, of a call that is passed.
        array: (gemini) the stream shall be a JSON array.
    """

    dialect: str
    model: str
    stream: bool = False
    counts: bool = False
    variant: str = ""
    array: bool = False


class Request(msgspec.Struct, frozen=True):
    """An HTTP request, Content-Length aside: its target, header and body."""

    target: bytes
    fields: Fields
    body: bytes


class _Form(NamedTuple):
    """What is the same in all requests for what is wanted. It is shared, so it stays as it is."""

    target: bytes
    fields: dict[bytes, bytes]
    hosted: bool


class TlsFiles(NamedTuple):
    """Files of certificates and keys (PEM) for TLS to an upstream; "" where there is none.

    Attributes:
        ca_file: the authorities to trust, instead of the system's.
        client_certificate: what is shown to an upstream that asks for a certificate.
        client_key: of that certificate.
    """

    ca_file: str = ""
    client_certificate: str = ""
    client_key: str = ""


class Upstream(msgspec.Struct, frozen=True, eq=False, dict=True):
    """One configured upstream, ready to be asked. What every request has of it is written once.

    Attributes:
        dialects: what it speaks, the preferred one first.
        models: the client's name -> its own.
        headers: fields that the operator adds to each request; they win.
        forward: in access mode `forward`, the client's credential may go here.
        tls: what is trusted there, and what it is shown of us.
        scope: the account its seals belong to, where the operator named it.
        region: of AWS or Google Cloud.
        project: of Google Cloud.
        api_version: (azure) the date of the API that names deployments in the path; "" for v1.
        text_field: (plain_text) the field of each line that holds the text; "" for bare text.
        rows: what the operator says of models, before our own table.
        http2: whether HTTP/2 is spoken: where TLS agrees on it, never, or without asking.
    """

    name: str
    provider: str
    base_url: str = ""
    pool: KeyPool = KeyPool([])
    dialects: tuple[str, ...] = ()
    tls: TlsFiles = TlsFiles()
    headers: Mapping[str, str] = {}
    models: dict[str, str] = {}
    forward: bool = False
    scope: str | None = None
    engine: Engine | None = None
    region: str = ""
    project: str = ""
    api_version: str = ""
    text_field: str = ""
    rows: tuple[Row, ...] = ()
    http2: Http2 = "auto"

    @property
    def serves(self) -> tuple[str, ...]:
        """The model names that it can tell by itself: an engine's."""
        return self.engine.models if self.engine else ()

    @cached_property
    def url(self) -> SplitResult:
        """Its base URL, in parts."""
        return urlsplit(self.base_url)

    @cached_property
    def _host(self) -> bytes:
        host = self.url.netloc.rpartition("@")[2]
        return host.encode("ascii" if host.isascii() else "idna")

    @cached_property
    def _headers(self) -> dict[bytes, bytes]:
        return {name.lower().encode(): value.encode() for name, value in self.headers.items()}

    @cached_property
    def _base_path(self) -> str:
        return self.url.path.rstrip("/")

    def issuer(self, dialect: str) -> str:
        """Return whose seals its models make, asked in `dialect`."""
        if self.provider == "vertex":
            return "anthropic" if dialect == MESSAGES else "gemini"
        return PROVIDERS[self.provider].issuer or self.name

    def dialect_for(self, client: str, model: str) -> str:
        """Return the dialect to ask `model` in: the client's own where it is spoken there."""
        spoken = self.dialects
        if self.provider in ("bedrock", "vertex") and len(spoken) > 1:
            # Both host the models of many; Messages is what Claude speaks there, and only Claude.
            claude = "claude" in model
            if self.provider == "vertex":
                return MESSAGES if claude else "gemini"
            spoken = spoken if claude else tuple(one for one in spoken if one != MESSAGES)
        return client if client in spoken else spoken[0]

    def face(self, dialect: str) -> Face:
        """Return how `dialect` shows itself there."""
        if dialect == MESSAGES and self.provider == "bedrock":
            return INVOKE_FACE
        if dialect == MESSAGES and self.provider == "vertex":
            return VERTEX_FACE
        if dialect == "plain_text" and self.text_field:
            return replace(FACES[dialect], framing=ndjson)
        return FACES[dialect]

    def counts(self, dialect: str) -> bool:
        """Return whether it can be asked for the tokens of a call in `dialect`."""
        return dialect != MESSAGES or self.provider not in ("bedrock", "vertex")

    def target(self, dialect: str, model: str) -> Target:
        """Return whom a call to `model` is written for."""
        compatible = self.provider == "compatible"
        return Target(
            model,
            takes(dialect, model, compatible=compatible, rows=self.rows),
            Origin(self.issuer(dialect), self.scope, model),
            self.text_field,
        )

    def path(self, wanted: Wanted) -> str:
        """Return the request target of what is wanted. Untranslatable where no path can name the model."""
        base = self._base_path
        match self.provider:
            case "vertex":
                owner = "anthropic" if wanted.dialect == MESSAGES else "google"
                place = f"/v1/projects/{self.project}/locations/{self.region}/publishers/{owner}"
                return f"{base}{place}/models/{_segment(wanted.model)}:{_verb(wanted)}"
            case "bedrock" if wanted.dialect == MESSAGES:
                verb = "invoke-with-response-stream" if wanted.stream else "invoke"
                return f"{base}/model/{_segment(wanted.model)}/{verb}"
            case "azure" if self.api_version:
                there = f"/openai/deployments/{_segment(wanted.model)}"
                if wanted.dialect == "openai_responses":  # it has no deployment in its path
                    there = "/openai"
                query = f"?api-version={quote(self.api_version, safe='')}"
                return f"{base}{there}{_PATHS[wanted.dialect](wanted)}{query}"
        # Anthropic's own base URL has no version in it, as its SDKs write it.
        version = "/v1" if self.provider == "anthropic" else ""
        return f"{base}{version}{_PATHS[wanted.dialect](wanted)}"

    def credentials(self, dialect: str, key: Secret) -> Fields:
        """Return the header fields that show `key`; none for an empty one."""
        if not key:
            return []
        if self.provider == "azure":
            return [(b"api-key", key.encode())]
        if dialect in _ANTHROPIC and not self.face(dialect).hosted:
            return [(b"x-api-key", key.encode())]
        if dialect == "gemini" and self.provider != "vertex":
            return [(b"x-goog-api-key", key.encode())]
        return [(b"authorization", b"Bearer " + key.encode())]

    def varies(self, face: Face) -> bool:
        """Return whether a request's start may change with its body or with time, `Way` and header being the same."""
        return face.hosted or self.provider == "bedrock"

    def request(
        self, wanted: Wanted, body: bytes, kept: Fields, key: Secret, now: float
    ) -> Request:
        """Return the request that carries `body` there.

        Args:
            wanted: what is asked.
            body: as its dialect has it.
            kept: what `kept_of_request` left of the client's header.
            key: the credential to show.
            now: Unix seconds; AWS signs it.
        """
        form = self._form(wanted)
        if form.hosted:
            vertex = self.provider == "vertex"
            version = VERTEX_VERSION if vertex else BEDROCK_VERSION
            body, kept = hosted(body, kept, version, streams=vertex)
        fields = form.fields | dict(kept)
        fields.update(self.credentials(wanted.dialect, key))
        fields.update(self._headers)
        if self.provider == "bedrock" and ":" in key:
            del fields[b"authorization"]
            fields |= dict(self._signed(form.target, list(fields.items()), body, key, now))
        return Request(form.target, list(fields.items()), body)

    @cached_property
    def _form(self) -> "Callable[[Wanted], _Form]":
        return lru_cache(MOST_FORMS)(self._formed)

    def _formed(self, wanted: Wanted) -> "_Form":
        face = self.face(wanted.dialect)
        fields = {
            b"host": self._host,
            b"content-type": b"application/json",
            b"accept": face.framing.TYPE if wanted.stream else b"application/json",
            b"accept-encoding": b"identity",
        }
        if wanted.dialect in _ANTHROPIC and not face.hosted:
            fields[VERSION] = FIRST_VERSION
        return _Form(self.path(wanted).encode(), fields, face.hosted)

    def _signed(
        self, target: bytes, fields: Fields, body: bytes, key: Secret, now: float
    ) -> Fields:
        access, secret, *token = key.split(":", 2)
        return sigv4.sign(
            b"POST", target, fields, body, access_key=access, secret_key=secret,
            session_token=token[0] if token else None, region=self.region, service="bedrock",
            now=now,
        )  # fmt: skip


Way = tuple[Upstream, str, bool, Secret]
"""What decides, beside a client's header, how a request begins: upstream, model, whether it streams, key."""


def _segment(model: str) -> str:
    """Return the model's name as one segment of a path.

    Raises:
        Untranslatable: it is a dot segment, which no escape keeps from being taken out of the path.

    Source: https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4
    """
    if model in (".", ".."):
        raise Untranslatable("model: expected the name of a model", param="model")
    return quote(model, safe="")


def _verb(wanted: Wanted) -> str:
    """Return what stands behind the model's name in a path of Google's."""
    if wanted.dialect == MESSAGES:
        return "streamRawPredict" if wanted.stream else "rawPredict"
    if wanted.counts:
        return "countTokens"
    if not wanted.stream:
        return "generateContent"
    return "streamGenerateContent" if wanted.array else "streamGenerateContent?alt=sse"


def _converse(wanted: Wanted) -> str:
    verb = "converse-stream" if wanted.stream else "converse"
    return f"/model/{_segment(wanted.model)}/{'count-tokens' if wanted.counts else verb}"


_PATHS: dict[str, Callable[[Wanted], str]] = {
    "openai_chat": lambda _: "/chat/completions",
    "openai_completions": lambda _: "/completions",
    "openai_responses": lambda wanted: "/responses" + ("/input_tokens" if wanted.counts else ""),
    MESSAGES: lambda wanted: "/messages" + ("/count_tokens" if wanted.counts else ""),
    "anthropic_complete": lambda _: "/complete",
    "gemini": lambda wanted: f"/v1beta/models/{_segment(wanted.model)}:{_verb(wanted)}",
    "bedrock_converse": _converse,
    "ollama_chat": lambda wanted: "/api/generate" if wanted.variant == "generate" else "/api/chat",
    "plain_text": lambda _: "",
}
