"""What is sent upstream for a request: passed bytes, or another dialect's; and with what header."""

import json
from collections.abc import Callable

import pytest

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.base import Given, StreamWriter
from rawproxy.dialects.envelope import Origin, Vault, seal
from rawproxy.dialects.events import Delta, Fail, Open, Start
from rawproxy.errors import Untranslatable
from rawproxy.gateway.ask import Ask
from rawproxy.gateway.attempt import MOST_STARTS, Attempt, _LateVoice, attempt, voice
from rawproxy.gateway.face import INVOKE_FACE
from rawproxy.gateway.keys import Key, Secret
from rawproxy.gateway.liveness import Timing
from rawproxy.gateway.providers import Upstream, Way
from rawproxy.gateway.route import Candidate
from rawproxy.wire.http1 import RequestStart
from tests.gateway.stories import asked, up
from tests.net.world import CHAT, MESSAGES, call

KEY = Key(Secret("upstream-key"))


def made(ask: Ask, upstream: Upstream, model: str = "m") -> Attempt:
    ask.look()
    return attempt(ask, Candidate(upstream, model), KEY, Timing())


def test_a_pass_changes_nothing() -> None:
    body = b'{ "model":"m" ,"x":1.50,"messages":[{"role":"user","content":"\\u00e9"}] }'
    assert made(asked(body=body), up("u")).body == body


def test_a_pass_to_another_name_changes_the_name_only() -> None:
    body = b'{ "model" : "asked" , "x":1.50, "messages":[{"model":"asked"}]}'
    sent = made(asked(body=body), up("u"), 'gpt "x"').body
    assert sent == body.replace(b'"asked"', b'"gpt \\"x\\""', 1)


@pytest.mark.parametrize(("client", "upstream"), [(CHAT, MESSAGES), (MESSAGES, CHAT)])
def test_a_translated_call_is_the_upstreams(client: str, upstream: str) -> None:
    sent = made(asked(client), up("u", upstream))
    body = json.loads(sent.body)
    assert body["model"] == "m"
    assert ("max_tokens" in body) or upstream == CHAT
    assert sent.target == (b"/v1/messages" if upstream == MESSAGES else b"/v1/chat/completions")
    assert sent.back.seed == "23456789"


@pytest.mark.parametrize(
    ("query", "target"),
    [
        (b"", b"/v1/messages"),
        (b"beta=true", b"/v1/messages?beta=true"),
        (b"key=canary&beta=true", b"/v1/messages?beta=true"),
        (b"KEY=canary", b"/v1/messages"),
    ],
)
def test_the_query_goes_on_without_its_key(query: bytes, target: bytes) -> None:
    assert made(asked(MESSAGES, query=query), up("u", MESSAGES)).target == target


def test_a_translated_call_has_no_query() -> None:
    assert b"?" not in made(asked(MESSAGES, query=b"beta=true"), up("u", CHAT)).target


CLIENTS = [
    (b"authorization", b"Bearer canary"), (b"x-api-key", b"canary"), (b"cookie", b"canary"),
    (b"anthropic-beta", b"some-beta"), (b"openai-beta", b"other-beta"),
]  # fmt: skip


@pytest.mark.parametrize("client", [CHAT, MESSAGES])
@pytest.mark.parametrize("upstream", [CHAT, MESSAGES])
def test_the_clients_credential_stays_here(client: str, upstream: str) -> None:
    fields = dict(made(asked(client, fields=CLIENTS), up("u", upstream)).start.fields)
    assert b"canary" not in b"".join(fields.values())
    shown = fields.get(b"authorization", b"") + fields.get(b"x-api-key", b"")
    assert shown.endswith(b"upstream-key")
    assert (b"anthropic-beta" in fields) is (client == upstream == MESSAGES)
    assert (b"openai-beta" in fields) is (client == upstream == CHAT)


def test_our_own_envelopes_are_never_passed() -> None:
    packed = Vault(b"key", "anyone").pack(seal(Origin("elsewhere"), "thinking", "{}", ["hm"]))
    block = {"type": "thinking", "thinking": "hm", "signature": packed}
    messages = [{"role": "assistant", "content": [block, {"type": "text", "text": "hi"}]}]
    body = call(MESSAGES, messages=messages)
    sent = made(asked(MESSAGES, body), up("u", MESSAGES))
    assert b"rp1." not in sent.body
    assert [loss.path for loss in sent.losses] == ["messages[0].content[0]"]


def test_a_strict_client_is_told_every_field() -> None:
    body = call(CHAT, seed=1, logit_bias={"1": 1})
    strict = asked(body=body, fields=[(b"x-rawproxy-strict", b"1")])
    with pytest.raises(Untranslatable) as caught:
        made(strict, up("u", MESSAGES))
    assert "seed" in str(caught.value)
    assert "logit_bias" in str(caught.value)


SAYS: dict[str, Callable[[StreamWriter], bytes]] = {
    "nothing": lambda _: b"",
    "a keepalive": lambda voice: voice.keepalive(),
    "an error": lambda voice: voice.write(Fail("server", "it broke", status=502)),
    "what a writer may say": lambda voice: (
        voice.write(Start("id", "m"))
        + voice.write(Open(0, "text"))
        + voice.write(Delta(0, "x"))
        + repr(voice.losses).encode()
        + repr(voice.carry(0) is None).encode()
    ),
}


@pytest.mark.parametrize("said", SAYS)
@pytest.mark.parametrize("joined", ["never", "before", "after"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_voice_that_is_made_late_says_the_same(dialect: str, joined: str, said: str) -> None:
    ask = asked(dialect)
    heard = []
    for one in (_LateVoice(ask, None), voice(ask)):
        speaker: StreamWriter = one
        if joined == "before":
            speaker.joined()
        parts = [SAYS[said](speaker)]
        if joined == "after":
            speaker.joined()
        parts += [SAYS["a keepalive"](speaker), SAYS["an error"](speaker)]
        heard.append(parts)
    assert heard[0] == heard[1]


# -- a client that says the same again

FIRST = up("first", MESSAGES)
OTHER = up("other", MESSAGES)
HEADER = [(b"anthropic-beta", b"some-beta"), (b"user-agent", b"a/1")]
Starts = dict[Way, RequestStart]


def again(
    starts: Starts | None,
    upstream: Upstream,
    model: str = "m",
    key: str = "k",
    *,
    stream: bool = True,
) -> Attempt:
    ask = asked(MESSAGES, stream=stream, fields=HEADER, query=b"beta=true")
    ask.starts = starts
    ask.look()
    return attempt(ask, Candidate(upstream, model), Key(Secret(key)), Timing())


def test_what_a_header_comes_to_is_remembered() -> None:
    starts: Starts = {}
    first = again(starts, FIRST)
    assert again(starts, FIRST).start is first.start
    assert again(None, FIRST).start is not first.start


def test_whatever_else_decides_is_never_mixed_up() -> None:
    starts: Starts = {}
    for _ in range(2):
        for upstream in (FIRST, OTHER):
            for model in ("m", "n"):
                for key in ("k", "l"):
                    for stream in (True, False):
                        way = upstream, model, key
                        kept = again(starts, *way, stream=stream)
                        fresh = again(None, *way, stream=stream)
                        assert kept.start.write(kept.body) == fresh.start.write(fresh.body)
    assert len(starts) == 16


@pytest.mark.parametrize("models", [MOST_STARTS - 1, MOST_STARTS, MOST_STARTS + 1])
def test_only_so_much_is_remembered(models: int) -> None:
    starts: Starts = {}
    for number in range(models):
        again(starts, FIRST, f"m{number}")
    assert len(starts) == (models if models <= MOST_STARTS else 1)


def hosted(provider: str) -> Upstream:
    return Upstream("u", provider, "http://up", dialects=(MESSAGES,), region="r", project="p")


@pytest.mark.parametrize("provider", ["bedrock", "vertex"])
def test_a_start_that_hangs_on_the_body_is_not_remembered(provider: str) -> None:
    starts: Starts = {}
    again(starts, hosted(provider), "claude-x")
    assert starts == {}


def test_nor_one_that_hangs_on_the_body_of_a_hosted_client() -> None:
    starts: Starts = {}
    body = b'{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"messages":[{"role":"user","content":"x"}]}'
    ask = Ask("rp_1", INVOKE_FACE, body, 0.0, given=Given("claude-x", stream=True), starts=starts)
    ask.look()
    attempt(ask, Candidate(FIRST, "m"), KEY, Timing())
    assert starts == {}
