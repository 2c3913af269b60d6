"""What a client has asked, as far as a decision needs it: model, stream, who, and the bytes.

Layer: gateway. In a pass the body is looked at for a few fields only and goes on as it came; it is
read whole (`Ask.call`) the first time that a candidate speaks another dialect.
"""

from dataclasses import dataclass, field

from rawproxy.dialects.base import NOTHING_GIVEN, Dialect, Given
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Vault
from rawproxy.gateway.access import ANYONE, Caller
from rawproxy.gateway.counting import COUNTERS
from rawproxy.gateway.face import Face
from rawproxy.gateway.keys import Secret
from rawproxy.gateway.providers import Way
from rawproxy.wire.fields import get
from rawproxy.wire.http import Fields
from rawproxy.wire.http1 import RequestStart

__all__ = ["Ask"]


@dataclass(slots=True)
class Ask:
    """One client request.

    Attributes:
        id: the exchange's id.
        face: the dialect the client speaks, as it shows itself at the door that it came to.
        body: as it came; b"" once the reply goes out.
        size: bytes of the body.
        wall: when it came, Unix seconds.
        given: what its path and header say of the call.
        counts: it asks for a count of its tokens, not for a reply.
        sequence: how many requests this process had with it: wall clocks can be set back.
        credential: the client's own, in access mode `forward` only.
        vault: opens and packs the envelopes of this caller.
        client: the address it comes from, or `unix`.
        starts: what requests with the same header were begun with; None where nobody expects another one.
    """

    id: str
    face: Face
    body: bytes
    wall: float
    fields: Fields = field(default_factory=list)
    query: bytes = b""
    caller: Caller = ANYONE
    credential: Secret | None = None
    vault: Vault = field(default_factory=Vault)
    given: Given = NOTHING_GIVEN
    counts: bool = False
    sequence: int = 0
    client: str = ""
    starts: dict[Way, RequestStart] | None = None
    model: str = field(init=False, default="")
    stream: bool = field(init=False, default=False)
    choices: int = field(init=False, default=1)
    size: int = field(init=False, default=0)
    _call: Call | None = field(init=False, default=None)

    def look(self) -> None:
        """Read model, stream and the number of answers off the request.

        Raises:
            ClientError: it is no JSON object, or names one of them twice.
        """
        face = self.face
        if face.hosted:
            self.body, self.fields = face.arrived(self.body, self.given, self.fields)
        self.size = len(self.body)
        seen = face.dialect.glance(self.body, self.given)
        self.model, self.choices = seen.model, seen.choices
        self.stream = seen.stream and not self.counts

    def forget(self) -> None:
        """Let go of what was asked: the reply goes out, so nobody else will be asked any more.

        A stream may last for minutes, and an agent's request has 60 KB.
        """
        self.body = b""
        self.fields = []
        self._call = None

    @property
    def dialect(self) -> Dialect:
        """What the client speaks."""
        return self.face.dialect

    @property
    def strict(self) -> bool:
        """Whether the client would rather have no answer than one with losses."""
        return get(self.fields, b"x-rawproxy-strict") == b"1"

    def sampled(self, share: float) -> bool:
        """Return whether this is one of `share` of all exchanges (0 to 1): its random id decides."""
        return int(self.id[-4:], 16) < share * 65536

    @property
    def call(self) -> Call:
        """The whole call, read once.

        Raises:
            ClientError: it is not a call of its dialect.
        """
        if self._call is None:
            given = self.given
            self._call = (
                COUNTERS[self.dialect.NAME].read_count(self.body, self.vault, given)
                if self.counts
                else self.dialect.read_call(self.body, self.vault, given)
            )
        return self._call
