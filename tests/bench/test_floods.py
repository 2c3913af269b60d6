"""The floods of HTTP/2: that each is made as it is meant, and cut as it is promised."""

import pytest

from bench.floods import ATTACKS, MOST_FRAMES, MOST_GROWTH, MOST_SECONDS, Outcome, main


@pytest.mark.slow
def test_a_server_cuts_each_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(ATTACKS)


@pytest.mark.parametrize("name", ATTACKS)
def test_each_is_whole_frames_but_those_that_never_end(name: str) -> None:
    made = ATTACKS[name](0) + ATTACKS[name](1)
    at = 0
    while at + 9 <= len(made):
        at += 9 + int.from_bytes(made[at : at + 3], "big")
    assert (at > len(made)) if name == "huge_frame" else (at == len(made))


def outcome(**given: object) -> Outcome:
    known: dict[str, object] = {
        "frames": 100, "seconds": 0.1, "growth": 0, "latencies": [0.001] * 5, "failed": 0,
    }  # fmt: skip
    return Outcome(**(known | given))  # type: ignore[arg-type]


def test_what_is_promised() -> None:
    assert not outcome().faults("ping")
    assert not outcome(frames=MOST_FRAMES + 1).faults("ping")
    assert not outcome(frames=None).faults("table_growth")
    assert outcome(frames=None).faults("ping")
    assert outcome(frames=MOST_FRAMES + 1, seconds=MOST_SECONDS + 0.1).faults("ping")
    assert outcome(failed=1).faults("ping")
    assert outcome(growth=MOST_GROWTH + 1).faults("ping")
    assert outcome().p99 == pytest.approx(0.001)


def test_an_attack_that_nobody_knows_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--only", "ping,sneeze"])
    assert left.value.code == 2
    assert "no such attack: sneeze" in capsys.readouterr().err
