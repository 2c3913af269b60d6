"""What a client has asked, as far as a decision needs it: model, stream, who, and the bytes.

Layer: gateway. In a pass the body is looked at for a few fields only and goes on as it came; it is
read whole (`Ask.call`) the first time that a candidate speaks another dialect.
"""

from dataclasses import dataclass, field

from rawproxy.dialects.anthropic_messages import read_count
from rawproxy.dialects.base import Dialect
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.reading import decode
from rawproxy.errors import ClientError, WireError
from rawproxy.gateway.access import ANYONE, Caller
from rawproxy.gateway.keys import Secret
from rawproxy.wire import splice
from rawproxy.wire.fields import get
from rawproxy.wire.http import Fields

__all__ = ["LONGEST_MODEL", "Ask"]

LONGEST_MODEL = 256
"""Characters. Names are kept in records and shown in headers; an ARN has 150."""


@dataclass(slots=True)
class Ask:
    """One client request.

    Attributes:
        id: the exchange's id.
        dialect: the dialect the client speaks.
        body: as it came.
        wall: when it came, Unix seconds.
        counts: it asks for a count of its tokens, not for a reply.
        credential: the client's own, in access mode `forward` only.
        vault: opens and packs the envelopes of this caller.
    """

    id: str
    dialect: Dialect
    body: bytes
    wall: float
    fields: Fields = field(default_factory=list)
    query: bytes = b""
    caller: Caller = ANYONE
    credential: Secret | None = None
    vault: Vault = field(default_factory=Vault)
    counts: bool = False
    model: str = field(init=False, default="")
    stream: bool = field(init=False, default=False)
    choices: int = field(init=False, default=1)
    _call: Call | None = field(init=False, default=None)

    def look(self) -> None:
        """Read model, stream and n off the body.

        Raises:
            ClientError: it is no JSON object, names one of them twice, or has no model.
        """
        try:
            model, stream, n = (splice.value(self.body, name) for name in ("model", "stream", "n"))
        except WireError as error:
            raise ClientError(f"the body cannot be read: {error}") from error
        try:
            self.model = decode(model or b"null", str)
        except ValueError:
            raise ClientError("model: expected a string", param="model") from None
        if len(self.model) > LONGEST_MODEL:
            raise ClientError(f"model: longer than {LONGEST_MODEL} characters", param="model")
        self.stream = not self.counts and (stream or b"").strip(b'"') == b"true"
        self.choices = int(n) if n is not None and n.isdigit() and len(n) < 4 else 1

    @property
    def strict(self) -> bool:
        """Whether the client would rather have no answer than one with losses."""
        return get(self.fields, b"x-rawproxy-strict") == b"1"

    @property
    def call(self) -> Call:
        """The whole call, read once.

        Raises:
            ClientError: it is not a call of its dialect.
        """
        if self._call is None:
            read = read_count if self.counts else self.dialect.read_call
            self._call = read(self.body, self.vault)
        return self._call
