"""One client request, from arrival to record, as a machine that does no I/O.

Layer: gateway. Its driver is net/drive.py. Time is an argument (`now`, seconds on any steady clock).

Ask for a step, do it, say how it went, until the step is Done:

    start()     -> Attempt | Answer
    on_head()   -> Preview | Attempt | Answer        the reply's head has come
    on_data()   -> Preview | Commit | Attempt | ...  more of the reply, before the commit
    on_end()    -> Finish | Commit | Attempt | ...   the reply's bytes ended
    on_failed() -> Attempt | Answer | Break          the attempt broke before its end
    on_quiet()  -> Commit | bytes                    the client has heard nothing for too long
    on_left()                                        the client has left
    on_sent()   -> Done                              the last byte was handed over, or nobody was there

**The commit point.** Until the first output goes downstream an exchange may move to another upstream;
frames that come before it are held while there is another one to move to. After it only Finish or Break
follow. A keepalive may have sent the head before: then a failure has no status any more, but the
exchange may still move on.
"""

import math

import msgspec

from rawproxy.dialects.base import StreamWriter
from rawproxy.dialects.estimate import estimate_tokens
from rawproxy.dialects.events import Fail
from rawproxy.dialects.losses import header, told
from rawproxy.dialects.pipe import Pipe, TranslatePipe
from rawproxy.dialects.tally import Tally
from rawproxy.errors import ClientError, Forbidden, UpstreamError, UpstreamNonsense
from rawproxy.gateway.ask import Ask
from rawproxy.gateway.attempt import Attempt, attempt, voice
from rawproxy.gateway.counting import COUNTERS
from rawproxy.gateway.headers import kept_of_reply
from rawproxy.gateway.keys import Key, Outcome, without_secret
from rawproxy.gateway.limits import Limits
from rawproxy.gateway.liveness import Timing
from rawproxy.gateway.record import AttemptNote, Record, estimated
from rawproxy.gateway.record import Outcome as RecordOutcome
from rawproxy.gateway.route import Candidate, Router
from rawproxy.gateway.verdict import (
    client_fail,
    fail_of,
    retry_after,
    shown,
    verdict,
    with_retry_after,
)
from rawproxy.wire.fields import get
from rawproxy.wire.http import Fields

__all__ = [
    "ERROR_BYTES", "HELD_BYTES", "Answer", "Attempt", "Break", "Commit", "Done", "Exchange", "Finish",
    "Preview", "Site", "Step",
]  # fmt: skip

HELD_BYTES = 65536
"""Bytes of preamble that are held for the sake of failover; more, and the reply is let through."""

ERROR_BYTES = 65536
"""Bytes of an upstream's error body that are read."""

JSON: Fields = [(b"content-type", b"application/json")]

# A body that comes with one of them, as HTTP/2 lets it, would be read as the client's next response.
_BODILESS = frozenset({204, 205})
_CLIENTS_FAULT = frozenset({"invalid", "overflow", "too_large"})


class Site(msgspec.Struct, frozen=True):
    """What every exchange needs to know of the configuration."""

    router: Router
    timing: Timing
    limits: Limits


class Answer(msgspec.Struct, frozen=True):
    """Answer with this body, and be done: an error, or something we know ourselves."""

    status: int
    fields: Fields
    body: bytes


class Preview(msgspec.Struct, frozen=True):
    """Read more of the reply, and hand it to `on_data`."""


class Commit(msgspec.Struct, frozen=True):
    """Send the head (unless it went already) and these parts in one write; relay the rest through `pipe`.

    `pipe` None: nothing to relay yet (a keepalive). `last`: these parts are all there is.
    """

    status: int
    fields: Fields
    parts: list[bytes]
    pipe: Pipe | None = None
    last: bool = False


class Finish(msgspec.Struct, frozen=True):
    """Send these last parts and end the body cleanly."""

    parts: list[bytes]


class Break(msgspec.Struct, frozen=True):
    """The reply broke off: send these last parts, the client's dialect for it, and end the body.

    No parts: there are no words for it, so the body must end uncleanly.
    """

    parts: list[bytes]


class Done(msgspec.Struct, frozen=True):
    """Nothing left but to keep the record."""

    record: Record


Step = Attempt | Answer | Preview | Commit | Finish | Break | Done


class _Reply(msgspec.Struct):
    """The upstream's answer to the current attempt, before the commit."""

    status: int
    fields: Fields
    pipe: Pipe | None  # None: an error body, to be read
    held: list[bytes] = []
    size: int = 0
    fed: bool = False


class Exchange:
    """The state of one request.

    Args:
        site: the configuration.
        ask: the request.
        now: seconds; the clock of TTFT and duration starts here.
    """

    __slots__ = (
        "_attempt", "_began", "_begun", "_candidates", "_failure", "_pipe", "_reply", "_site",
        "_spoken", "_tried", "_tries", "_voice", "ask", "output_sent", "record",
    )  # fmt: skip

    def __init__(self, site: Site, ask: Ask, now: float) -> None:
        self._site = site
        self.ask = ask
        self._began = now
        self._candidates: list[Candidate] = []
        self._tried: list[Key] = []
        self._tries = 0
        self._attempt: Attempt | None = None
        self._reply: _Reply | None = None
        self._pipe: Pipe | None = None
        self._voice: StreamWriter | None = None  # speaks after an early commit, until output comes
        self._spoken = 0  # keepalives of that voice
        self._begun = False  # the beginning of an upstream's reply went downstream with one
        self.output_sent = False
        """Whether output went downstream: the commit."""
        self._failure: tuple[Fail, Answer | None] | None = None
        self.record = Record(
            ask.id, ask.wall, ask.sequence, client=ask.client, caller=ask.caller.name,
            client_dialect=ask.dialect.NAME,
        )  # fmt: skip

    @property
    def head_sent(self) -> bool:
        """Whether a status went downstream: from then on there is no other one."""
        return self.record.status != 0

    # -- the way up to an attempt

    def start(self, now: float) -> Step:
        """Return the first attempt, or the answer to a request that has none."""
        record = self.record
        try:
            self.ask.look()
            record.model_asked, record.stream = self.ask.model, self.ask.stream
            self._candidates = self._allowed()
            return self._next(now)
        except ClientError as error:
            return self.refuse(error)

    def _allowed(self) -> list[Candidate]:
        caller, asked = self.ask.caller, self.ask.model
        if not caller.may_use(asked):
            raise Forbidden(f"the model `{asked[:100]}` is not open to this caller", param="model")
        found = self._site.router.find(asked)
        allowed = [one for one in found if one.model == asked or caller.may_use(one.model)]
        if self.ask.credential is not None:
            allowed = [candidate for candidate in allowed if candidate.upstream.forward]
        if not allowed:
            raise Forbidden(f"the model `{asked[:100]}` is not open to this caller", param="model")
        return allowed

    def _next(self, now: float) -> Step:
        """Return the next attempt; with nothing left to try, the answer that tells the last failure."""
        while self._candidates and self._tries < self._site.limits.attempts:
            candidate = self._candidates[0]
            key = self._pick(candidate, now)
            if isinstance(key, float):
                self._none_ready(candidate, key - now)
                self._leave_candidate()
                continue
            try:
                made = attempt(self.ask, candidate, key, self._site.timing)
            except ClientError as error:
                self._failure = self._failure or (client_fail(error), None)
                self._leave_candidate()
                continue
            return self._try(made)
        return self._give_up()

    def _pick(self, candidate: Candidate, now: float) -> Key | float:
        if self.ask.credential is None:
            return candidate.upstream.pool.pick(now, candidate.model, self._tried)
        # The client's own credential: one try at each candidate.
        return Key(self.ask.credential)

    def _leave_candidate(self) -> None:
        """Go on to the next candidate; it may be another model behind the same keys."""
        self._candidates.pop(0)
        self._tried.clear()

    def _none_ready(self, candidate: Candidate, wait: float) -> None:
        """Note that no key of `candidate` can be used now; `wait` is seconds until one can."""
        if self._failure is not None:
            return
        if math.isinf(wait):
            fail = Fail("server", f"no usable key is left for {candidate.name}", status=502)
        else:
            fail = Fail(
                "rate_limit", f"every key for {candidate.name} is resting", retry_after=wait
            )
        self._failure = (fail, None)

    def _try(self, made: Attempt) -> Step:
        self._tries += 1
        self._attempt, self._reply, self._pipe = made, None, None
        self._tried.append(made.key)
        record = self.record
        record.upstream, record.model_used = made.candidate.upstream.name, made.candidate.model
        record.upstream_dialect = made.face.dialect.NAME if made.face else "events"
        record.losses = [loss.path for loss in told(made.losses)] if made.losses else []
        if self.ask.counts and not made.target:
            return self._count(made)
        return made

    def _count(self, made: Attempt) -> Step:
        """Answer a question for tokens ourselves, where the upstream has no such question."""
        engine = made.candidate.upstream.engine
        call = self.ask.call
        tokens = engine.count_tokens(call) if engine else estimate_tokens(call)
        self.record.usage_from = "reported" if engine else "estimated"
        self.record.input_tokens = tokens
        source = (b"x-rawproxy-usage", self.record.usage_from.encode())
        fields = [*self._own_fields(), *JSON, source]
        self.record.outcome = "ok"
        return self._answer(200, fields, COUNTERS[self.ask.dialect.NAME].write_count(tokens))

    # -- what the upstream says

    def on_head(self, status: int, fields: Fields, now: float) -> Step:
        """Learn the reply's head."""
        made = self._made()
        if 300 <= status < 400:
            return self.on_failed(UpstreamNonsense(f"the upstream redirected ({status})"), now)
        if status in _BODILESS:
            return self.on_failed(UpstreamNonsense(f"a reply without a body ({status})"), now)
        if status >= 400:
            self._reply = _Reply(status, fields, None)
            return Preview()
        if self.head_sent and get(fields, b"content-encoding") not in (None, b"", b"identity"):
            # The head went with a keepalive, and said nothing of a coding.
            return self.on_failed(UpstreamNonsense("the upstream's reply is coded"), now)
        try:
            self._pipe = made.pipe(self.ask, fields, self._site.timing, self._spoken)
        except UpstreamError as error:
            return self.on_failed(error, now)
        except ClientError as error:  # the upstream took the call, we cannot read it
            return self._failed(client_fail(error), None, now)
        self._reply = _Reply(status, fields, self._pipe)
        return Preview()

    def on_engine(self) -> TranslatePipe:
        """Learn that an engine has begun; return the pipe that its events go through."""
        made = self._made()
        self._pipe = pipe = made.engine_pipe(self.ask, self._site.timing, self._spoken)
        self._reply = _Reply(200, [], pipe)
        return pipe

    def on_data(self, data: bytes, now: float) -> Step:
        """Learn more of the reply, before the commit."""
        reply = self._reply
        assert reply is not None
        if reply.pipe is None:
            reply.held.append(data)
            reply.size += len(data)
            # More than we read of it: it may have no end at all.
            return Preview() if reply.size <= ERROR_BYTES else self._refused_upstream(reply, now)
        reply.fed = True
        try:
            parts = reply.pipe.feed(data)
        except UpstreamError as error:
            return self.on_failed(error, now)
        if not (parts or reply.held or reply.pipe.tally.failure or reply.pipe.broken):
            return Preview()  # a body that is not whole yet
        if reply.pipe.broken and reply.pipe.tally.failure is None:
            reply.held += parts
            return self.on_end(now)  # a stop sequence ended it before its upstream did
        return self.on_parts(parts, now)

    def on_parts(self, parts: list[bytes], now: float) -> Step:
        """Decide whether what the reply said so far goes downstream."""
        reply = self._reply
        assert reply is not None
        assert reply.pipe is not None
        tally = reply.pipe.tally
        reply.held += parts
        reply.size += sum(map(len, parts))
        if (fail := self._early_failure(tally)) is not None:
            return self._failed(fail, None, now)
        if not reply.held:
            return Preview()
        if not tally.bearing and reply.size < HELD_BYTES and self._has_alternative(now):
            return Preview()
        return self._commit(reply, now)

    def on_end(self, now: float) -> Step:
        """Learn that the reply's bytes have ended, or that nobody waits for more of them."""
        reply = self._reply
        assert reply is not None
        if reply.pipe is None:
            return self._refused_upstream(reply, now)
        try:
            parts = reply.pipe.close()
        except UpstreamError as error:
            return self._failed(fail_of(error), None, now)
        tally = reply.pipe.tally
        if self.output_sent:
            return self._finish(parts)
        if (fail := self._early_failure(tally)) is not None:
            return self._failed(fail, None, now)
        reply.held += parts
        return self._commit(reply, now, last=True)

    def on_failed(self, error: UpstreamError, now: float, *, final: bool = False) -> Step:
        """Learn that the attempt broke before its end; `final`: there is no time for another one."""
        if self._pipe is not None and self._pipe.tally.whole:
            return self.on_end(now)  # after Stop a broken connection takes nothing away
        if self._reply is not None and self._reply.pipe is None:
            return self._refused_upstream(self._reply, now, cut=True)
        if final:
            del self._candidates[1:]
        return self._failed(fail_of(error), None, now)

    def on_quiet(self, now: float) -> Commit | bytes:
        """Say that we are still here: the head and a keepalive, or a keepalive (perhaps b"")."""
        if self.output_sent:
            assert self._pipe is not None
            return self._pipe.keepalive()
        said = self._keepalive()
        if self.head_sent:
            return said
        return Commit(200, self._head(200, self.ask.face.kind(stream=True), now), [said])

    def _keepalive(self) -> bytes:
        """Return what says that we are still here, before any output."""
        reply = self._reply if self.ask.dialect.KEEPALIVE_BEGINS else None
        pipe = reply.pipe if reply else None
        if reply is not None and pipe is not None and (reply.held or self._begun):
            # What the upstream said so far goes first. No other one's beginning can follow it.
            self._begun = True
            said, reply.held = b"".join(reply.held), []
            return said + pipe.keepalive()
        fed = reply is not None and reply.fed
        if fed and not self._spoken:
            return b""  # a frame is under way
        if self._voice is None:
            self._voice = voice(self.ask)
        self._spoken += 1
        if reply is not None and pipe is not None and fed:
            pipe.keepalive()  # it goes on from what our voice says
        elif reply is not None and pipe is not None:
            fields, timing = reply.fields, self._site.timing
            reply.pipe = self._pipe = self._made().pipe(self.ask, fields, timing, self._spoken)
        return self._voice.keepalive()

    def on_crash(self) -> Step:
        """Learn that a fault of ours ended the exchange."""
        self.record.outcome = "internal"
        fail = Fail("server", "internal error", status=500)
        if self.head_sent:
            return Break(self._terminal(fail))
        return self._reject(fail, 500)

    def on_left(self) -> bool:
        """Learn that the client has left; return whether it had been sent everything by then."""
        pipe = self._pipe
        if not (self.output_sent and self.ask.stream and pipe is not None and pipe.tally.ended):
            return False
        self._ended(pipe)
        return True

    def on_sent(self, now: float, outcome: RecordOutcome | None = None) -> Done:
        """Learn that the last byte was handed over, or (`outcome`) that the client was not there for it."""
        record = self.record
        record.duration_ms = round((now - self._began) * 1000, 3)
        if outcome is not None:
            record.outcome = outcome
        pipe = self._pipe
        if pipe is not None:
            usage = pipe.tally.usage
            if usage is None and pipe.tally.deltas:
                usage = estimated(self.ask.size, pipe.tally.deltas)
            record.use(usage)
            record.unknown_frames = pipe.tally.unknown
            record.stop = pipe.tally.stop.reason if pipe.tally.stop else ""
            if pipe.losses:
                record.losses += [loss.path for loss in told(pipe.losses)]
            if self._attempt is not None and self._attempt.checked is not None:
                record.violations = self._attempt.checked.violations
        return Done(record)

    def _early_failure(self, tally: Tally) -> Fail | None:
        """Return an error inside a 200 that can still be mended: no output came before it.

        A blocking reply is sent whole or not at all, so there none was ever sent.
        """
        committed = self._begun or (tally.bearing and self.ask.stream)
        return None if committed else tally.failure

    # -- commit and after

    def _commit(self, reply: _Reply, now: float, *, last: bool = False) -> Step:
        made, pipe = self._attempt, reply.pipe
        assert made is not None
        assert pipe is not None
        self.output_sent = True
        self._note_attempt("ok", reply.status)
        made.key.note(Outcome.OK, now)
        self._voice = None
        made.forget()
        self.ask.forget()
        passed = made.passed and not isinstance(pipe, TranslatePipe)
        kept = kept_of_reply(reply.fields, translated=not passed)
        kind = [] if passed else self.ask.face.kind(stream=self.ask.stream)
        status = reply.status if passed else 200
        fields = self._head(status, [*kind, *kept], now)
        if last:
            self._ended(pipe)
        parts = reply.held
        reply.held, reply.fields = [], []  # they go out now, and a stream may take minutes
        return Commit(status, fields, parts, pipe, last)

    def _head(self, status: int, kept: Fields, now: float) -> Fields:
        """Return the header of a reply with `status`, which begins at `now`."""
        record = self.record
        if record.status == 0:
            record.status = status
            record.ttft_ms = round((now - self._began) * 1000, 3)
        fields = [*self._own_fields(), *kept]
        if self.ask.stream:
            fields += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
        return fields

    def _finish(self, parts: list[bytes]) -> Finish:
        assert self._pipe is not None
        self._ended(self._pipe)
        return Finish(parts)

    def _ended(self, pipe: Pipe) -> None:
        tally = pipe.tally
        if tally.failure is not None:
            self.record.outcome, self.record.why = "broken", tally.failure.kind
        else:
            self.record.outcome = "repaired" if tally.repaired else "ok"

    # -- failure

    def _failed(self, fail: Fail, answer: Answer | None, now: float) -> Step:
        """Decide what follows a failure of the current attempt."""
        made = self._made()
        found = verdict(fail, own_credential=self.ask.credential is not None)
        if made.key.secret:  # an upstream without keys has nothing that could rest
            made.key.note(found.key, now, model=made.candidate.model, retry_after=fail.retry_after)
        if self.output_sent or self._begun:
            if not self.output_sent:  # at the commit it was noted
                self._note_attempt(fail.kind, fail.status)
            self.record.outcome, self.record.why = "broken", fail.kind
            assert self._pipe is not None
            return Break(self._pipe.fail(shown(fail, found)))
        self._note_attempt(fail.kind, fail.status)
        self._failure = (shown(fail, found), None if found.hidden else answer)
        if found.then == "answer":
            self._candidates.clear()
        elif found.then == "candidate":
            self._leave_candidate()
        return self._next(now)

    def _refused_upstream(self, reply: _Reply, now: float, *, cut: bool = False) -> Step:
        """Decide on a reply with an error status; its body was read, or as much of it as came."""
        made = self._made()
        assert made.face is not None
        body = without_secret(b"".join(reply.held), made.key.secret)
        fail = made.face.dialect.read_error(reply.status, body)
        fail = with_retry_after(fail, retry_after(reply.fields, self.ask.wall))
        kept = kept_of_reply(reply.fields, translated=True)
        answer = None
        passes = made.face is self.ask.face and not get(reply.fields, b"content-encoding")
        if passes and not cut and reply.size <= ERROR_BYTES:
            # The client's own dialect: it knows the vendor's words better than ours.
            kind = [field for field in reply.fields if field[0] == b"content-type"]
            answer = Answer(reply.status, [*kind, *kept], body)
        else:
            said = self.ask.face.errors(fail)
            answer = Answer(said.status, [*JSON, *said.fields, *kept], said.body)
        return self._failed(fail, answer, now)

    def _give_up(self) -> Step:
        """Answer with the last failure, in whatever way is still possible."""
        fail, answer = self._failure or (Fail("server", "no upstream was tried", status=502), None)
        self.record.outcome = "refused" if fail.kind in _CLIENTS_FAULT else "failed"
        self.record.why = fail.kind
        if self.head_sent:
            return Break(self._terminal(fail))
        if answer is not None:
            return self._answer(answer.status, [*self._own_fields(), *answer.fields], answer.body)
        return self._reject(fail, fail.status)

    def refuse(self, error: ClientError) -> Step:
        """Answer a request that cannot be served as it stands."""
        self.record.outcome, self.record.why = "refused", type(error).__name__
        return self._reject(client_fail(error), error.status)

    def _reject(self, fail: Fail, status: int | None) -> Answer:
        said = self.ask.face.errors(fail)
        fields = [*self._own_fields(), *JSON, *said.fields]
        if fail.retry_after is not None:
            fields.append((b"retry-after", str(math.ceil(fail.retry_after)).encode()))
        return self._answer(status or said.status, fields, said.body)

    def _answer(self, status: int, fields: Fields, body: bytes) -> Answer:
        self.record.status = status
        return Answer(status, fields, body)

    def _terminal(self, fail: Fail) -> list[bytes]:
        """Return the client's words for a reply that broke off before any output."""
        if self.output_sent or self._begun:
            assert self._pipe is not None
            return self._pipe.fail(fail)
        return [(self._voice or voice(self.ask)).write(fail)] if self.ask.stream else []

    # -- small things

    def _own_fields(self) -> Fields:
        fields = [(b"x-rawproxy-exchange", self.ask.id.encode())]
        if self._attempt is not None:
            fields.append((b"x-rawproxy-upstream", self._attempt.candidate.shown))
            losses = self._attempt.losses
            if losses and (lost := header(losses)):
                fields.append((b"x-rawproxy-loss", lost))
        return fields

    def _has_alternative(self, now: float) -> bool:
        if self._begun or self._tries >= self._site.limits.attempts:
            return False
        if len(self._candidates) > 1:
            return True
        candidate = self._made().candidate
        if self.ask.credential is not None:
            return False
        left = [key for key in candidate.upstream.pool.keys if key not in self._tried]
        return any(key.ready_at(candidate.model) <= now for key in left)

    def _made(self) -> Attempt:
        assert self._attempt is not None
        return self._attempt

    def _note_attempt(self, ended: str, status: int | None) -> None:
        self.record.attempts = [
            *self.record.attempts, AttemptNote(self._made().candidate.name, ended, status)
        ]  # fmt: skip
