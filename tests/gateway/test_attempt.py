"""What is sent upstream for a request: passed bytes, or another dialect's; and with what header."""

import json
from collections.abc import Callable

import pytest

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.base import StreamWriter
from rawproxy.dialects.envelope import Origin, Vault, seal
from rawproxy.dialects.events import Delta, Fail, Open, Start
from rawproxy.errors import Untranslatable
from rawproxy.gateway.ask import Ask
from rawproxy.gateway.attempt import Attempt, _LateVoice, attempt, voice
from rawproxy.gateway.keys import Key, Secret
from rawproxy.gateway.liveness import Timing
from rawproxy.gateway.providers import Upstream
from rawproxy.gateway.route import Candidate
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
    fields = dict(made(asked(client, fields=CLIENTS), up("u", upstream)).fields)
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
