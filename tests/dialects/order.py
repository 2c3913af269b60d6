"""The rules of `rawproxy.dialects.events`, as a checker."""

from rawproxy.dialects.events import (
    Close,
    Delta,
    End,
    Event,
    Fail,
    Note,
    Open,
    Sealed,
    Start,
    Stop,
    Usage,
    Whole,
)

__all__ = ["Order"]


class Order:
    """Shown the events of one reply, it asserts that each may stand where it does."""

    def __init__(self) -> None:
        self.opened: dict[int, Open] = {}  # open ones
        self.choice_of: dict[int, int] = {}  # block -> choice
        self.ids: list[str] = []
        self.choices: set[int] = set()
        self.stopped: set[int] = set()
        self.sealed: set[int] = set()
        self.called: set[int] = set()
        self.begun = self.over = False

    def check(self, event: Event) -> None:
        assert not self.over
        assert self.begun or isinstance(event, Start | Fail)
        match event:
            case Start():
                assert not self.begun
                self.begun = True
            case Open():
                self.open(event)
            case Delta(block=block, text=text, logprobs=logprobs):
                assert block in self.opened
                assert text or logprobs
            case Sealed(block=block):
                assert self.opened[block].kind == "thinking"
                assert block not in self.sealed
                self.sealed.add(block)
            case Close(block=block):
                del self.opened[block]
            case Stop():
                self.stop(event)
            case Usage():
                assert event != Usage()
            case End():
                assert self.stopped
                assert self.choices <= self.stopped
                self.over = True
            case Fail():
                self.over = True
            case Note(block=block):
                assert self.choice_of[block] not in self.stopped
            case Whole(choice=choice):
                assert choice not in self.stopped
                self.choices.add(choice)

    def open(self, event: Open) -> None:
        assert event.block == len(self.choice_of)
        assert event.choice not in self.stopped
        self.choice_of[event.block] = event.choice
        self.choices.add(event.choice)
        if event.kind == "tool":
            assert event.id
            assert event.name
            assert event.id not in self.ids
            self.ids.append(event.id)
            self.called.add(event.choice)
        else:
            assert self.texts(event.choice) == []
        self.opened[event.block] = event

    def stop(self, event: Stop) -> None:
        assert event.choice not in self.stopped
        assert [one for one in self.opened.values() if one.choice == event.choice] == []
        if event.reason in ("end", "tools"):
            assert (event.reason == "tools") is (event.choice in self.called)
        self.stopped.add(event.choice)

    def texts(self, choice: int) -> list[Open]:
        return [one for one in self.opened.values() if one.choice == choice and one.kind != "tool"]
