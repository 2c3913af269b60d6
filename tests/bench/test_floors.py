"""The targets: that each is found in a result, held to its bounds, and missed where it is missing."""

from typing import Any

import pytest

from bench.floors import TARGETS, Target, judge


def spread(*values: float) -> dict[str, Any]:
    return {"values": list(values)}


def side(cpu: float, **more: float) -> dict[str, Any]:
    return {"cpu_us": spread(cpu, cpu), **{name: spread(one, one) for name, one in more.items()}}


def runs(*counts: int, **figures: float) -> list[dict[str, float]]:
    return [{"streams": count, **figures} for count in counts]


GOOD: dict[str, Any] = {
    "scenarios": {
        "S1": {
            "rawproxy": side(30), "nginx": side(20), "LiteLLM": side(9000), "Portkey": side(900),
        },
        "S1m": {"rawproxy": side(40), "LiteLLM": side(9000)},
        "S3a": {"rawproxy": side(15, late_p99_ms=0.5), "nginx": side(12, late_p99_ms=0.5)},
        "S3b": {"direct": {"per_second": spread(80e3)}, "rawproxy": side(15, per_second=79e3)},
        "S3lo": {"rawproxy": side(28, added_p50_ms=0.1), "nginx": side(18, added_p50_ms=0.1)},
        "S5": {
            "rawproxy": side(6), "claude-code-router": side(41), "LiteLLM": side(700),
        },
    },
    "memory": {
        "rawproxy": [
            *runs(100, event_us=10, open_us=50),
            *runs(1000, 9000, event_us=10, open_us=50, kib_per_stream=2, idle_mib=25,
                  cpu_ms_after=1, hang_up_ms=50),
        ],
    },
    "start": {"import_ms": [30.0], "gateways": {"rawproxy": [{"answered_ms": 200.0}]}},
    "tls": {"ratios": {"upstream": [1.3], "both": [1.3]}},
    "http2": {"ratios": {"event": [1.4]}},
}  # fmt: skip


def test_a_result_that_is_all_that_is_wanted() -> None:
    for one in judge(GOOD):
        assert one.measured != "not measured", one.name
        assert one.holds_floor == "yes", one.name
        assert one.holds_moonshot == ("yes" if one.moonshot != "-" else "-"), one.name


def test_what_is_not_there_is_told_so() -> None:
    for empty in ({}, {"scenarios": {"S1": {"direct": {}}}, "memory": {"direct": []}}):
        assert {(one.measured, one.holds_floor, one.holds_moonshot) for one in judge(empty)} == {
            ("not measured", "-", "-")
        }
    without = {**GOOD, "scenarios": {**GOOD["scenarios"], "S1": {"rawproxy": side(30)}}}
    missing = [one.name for one in judge(without) if one.measured == "not measured"]
    assert missing == [target.name for target in TARGETS if "(S1)" in target.name]


def test_ratios_are_of_the_same_round() -> None:
    scenarios = {
        "S1": {
            "rawproxy": {"cpu_us": spread(20, 90, 40)},
            "nginx": {"cpu_us": spread(10, 30, 10)},
        }
    }
    [found] = [one for one in judge({"scenarios": scenarios}) if one.measured != "not measured"]
    assert (found.measured, found.holds_floor, found.holds_moonshot) == ("3x", "yes", "**no**")


def test_a_delay_is_compared_by_medians() -> None:
    def asked(*theirs: float) -> str:
        sides = {
            "rawproxy": {"added_p50_ms": spread(0.1, 0.3, 0.2)},
            "nginx": {"added_p50_ms": spread(*theirs)},
        }
        judged = judge({"scenarios": {"S3lo": sides}})
        return next(one.measured for one in judged if one.name.startswith("added delay"))

    assert asked(-0.1, 0.1, 0.4) == "2x"
    assert asked(-0.1, -0.1, 0.4) == "not measured"


@pytest.mark.parametrize("target", TARGETS, ids=lambda one: one.name)
def test_no_floor_asks_for_more_than_its_moonshot(target: Target) -> None:
    if target.floor is not None and target.moonshot is not None:
        assert target.holds(target.moonshot, target.floor)
        assert not target.holds(target.floor, target.moonshot)
    assert target.holds(None, target.floor) is None


def test_more_is_better_where_it_says_so() -> None:
    more = Target("x", lambda _: 5, 4, 6, at_least=True)
    less = Target("y", lambda _: 5, 6, 4)
    assert [more.holds(5, bound) for bound in (4, 5, 6)] == [True, True, False]
    assert [less.holds(5, bound) for bound in (4, 5, 6)] == [False, True, True]
    assert len({target.name for target in TARGETS}) == len(TARGETS)
