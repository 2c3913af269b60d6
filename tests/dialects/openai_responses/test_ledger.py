"""rawproxy.dialects.openai_responses.ledger: what goes back as it was, and what is lost."""

from msgspec import Raw

from rawproxy.dialects.call import Call
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.openai_responses.ledger import Ledger, said
from rawproxy.dialects.openai_responses.reasoning import RESPONSES

EXTRA = {"truncation": b'"auto"', "input[0].id": b'"msg_1"', "text.x": b"1"}


def test_said_leaves_out_what_nobody_said() -> None:
    assert said(a=None, b=False, c=0) == {"b": False, "c": 0}


def test_in_its_own_dialect_every_field_is_put_back() -> None:
    ledger = Ledger(Call(RESPONSES, "m", extra=EXTRA), own=True)
    assert ledger.whole({"role": "user"}, "input[0]") == {"role": "user", "id": Raw(b'"msg_1"')}
    assert ledger.whole({}, "input[0]") == {}  # once
    assert ledger.body({"model": "m"}) == {"model": "m", "truncation": Raw(b'"auto"')}
    assert ledger.close() == [Loss("text.x", "no such thing there")]


def test_what_has_no_path_takes_nothing_of_the_body() -> None:
    ledger = Ledger(Call(RESPONSES, "m", extra=EXTRA), own=True)
    assert ledger.whole({"role": "user"}, "") == {"role": "user"}
    assert "truncation" in ledger.body({})


def test_elsewhere_every_field_is_a_loss() -> None:
    ledger = Ledger(Call("openai_chat", "m", extra=EXTRA, unopened=("m[1]",)), own=False)
    ledger.lose("m[2]", "narrower there")
    ledger.lose("m[2]", "not this model")
    assert ledger.whole({"a": 1}, "input[0]") == {"a": 1}
    assert ledger.body({"a": 1}) == {"a": 1}
    assert ledger.close() == [
        Loss("m[1]", "owned elsewhere"),
        Loss("m[2]", "narrower there"),
        Loss("truncation", "no such thing there"),
        Loss("input[0].id", "no such thing there"),
        Loss("text.x", "no such thing there"),
    ]
