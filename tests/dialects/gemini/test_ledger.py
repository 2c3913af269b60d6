"""rawproxy.dialects.gemini.ledger: what is lost, and what goes back."""

from rawproxy.dialects.call import Cache, Call, Refusal, Text
from rawproxy.dialects.gemini.ledger import Ledger
from rawproxy.dialects.losses import Loss

CALL = Call(
    "gemini", "m", extra={"tool_config.odd_one": b"1", "store": b"true"}, unopened=("contents[0]",)
)  # fmt: skip


def test_fields_go_back_where_they_were() -> None:
    ledger = Ledger(CALL, own=True)
    assert ledger.whole({"a": 1}, "toolConfig").keys() == {"a", "odd_one"}
    assert ledger.whole({}, "toolConfig") == {}
    assert ledger.whole({}, "").keys() == {"store"}
    assert ledger.close() == [Loss("contents[0]", "owned elsewhere")]


def test_fields_that_nobody_wrote_are_lost() -> None:
    ledger = Ledger(CALL, own=False)
    assert ledger.whole({"a": 1}, "toolConfig") == {"a": 1}
    ledger.lose("x", "narrower there")
    ledger.lose("x")
    assert ledger.close() == [
        Loss("contents[0]", "owned elsewhere"),
        Loss("x", "narrower there"),
        Loss("tool_config.odd_one", "no such thing there"),
        Loss("store", "no such thing there"),
    ]


def test_cache_breakpoints_are_lost_by_the_client_s_name() -> None:
    ledger = Ledger(Call("x", "m", names={"cache": "cachePoint"}), own=False)
    ledger.lose_cache(Text("a", "p", cache=Cache()))
    ledger.lose_cache(Text("a", "q"))
    ledger.lose_cache(Refusal("a", "r"))
    assert [loss.path for loss in ledger.close()] == ["p.cachePoint"]
