"""A writer that is watched."""

from rawproxy.dialects import openai_chat
from rawproxy.dialects.base import Carry
from rawproxy.dialects.call import Call
from rawproxy.dialects.checked import Checked
from rawproxy.dialects.events import Close, Delta, End, Event, Open, Start, Stop
from rawproxy.dialects.losses import Loss
from rawproxy.wire import sse

SAID: list[Event] = [Start(), Open(0, "text"), Delta(0, "hi"), Close(0), Stop("end"), End()]


class Wrong:
    """A writer of a chat stream that says the role twice, and never ends."""

    def __init__(self) -> None:
        self.losses: list[Loss] = []

    def write(self, event: Event) -> bytes:
        if isinstance(event, End):
            return sse.comment(b"bye")
        chunk = (
            b'{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[%b]}'
        )
        return sse.write(chunk % b'{"index":0,"delta":{"role":"assistant"},"finish_reason":null}')

    def carry(self, block: int) -> Carry | None:
        raise NotImplementedError

    def keepalive(self) -> bytes:
        return b"data: nonsense\n\n"

    def joined(self) -> None:
        pass


def test_a_stream_that_keeps_the_rules() -> None:
    writer = openai_chat.stream_writer(Call("openai_chat", "m", stream=True), "id", 0)
    plain = openai_chat.stream_writer(Call("openai_chat", "m", stream=True), "id", 0)
    checked = Checked(writer, openai_chat)
    checked.joined()
    assert checked.keepalive() == plain.keepalive()
    assert [checked.write(event) for event in SAID] == [plain.write(event) for event in SAID]
    assert (checked.violations, checked.losses) == ({}, [])


def test_each_broken_rule_is_counted() -> None:
    checked = Checked(Wrong(), openai_chat)
    for event in SAID:
        checked.write(event)
    assert checked.violations
    before = sum(checked.violations.values())
    checked.keepalive()
    assert sum(checked.violations.values()) > before


def test_no_piece_goes_out_unwatched() -> None:
    writer = openai_chat.stream_writer(Call("openai_chat", "m", stream=True), "id", 0)
    checked = Checked(writer, openai_chat)
    for event in SAID[:3]:
        checked.write(event)
    assert writer.carry(0) is not None
    assert checked.carry(0) is None
