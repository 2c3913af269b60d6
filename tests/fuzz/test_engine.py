"""Making inputs, judging them, making them smaller."""

from itertools import islice
from pathlib import Path
from random import Random

import pytest

from fuzz.base import MAX_PIECES, READ, held, pick, pieces, reads
from fuzz.engine import SLOW, Finding, Lane, Report, check, inputs, run_lane, save, shrink
from fuzz.targets import TARGETS
from rawproxy.wire.http1 import Limits, RequestReader
from tests.fuzz.planted import MAGIC, SEED
from tests.fuzz.planted import TARGETS as PLANTED


@pytest.mark.parametrize("name", ["h1_request", "h2_server", "sse", "openai_chat.call"])
def test_a_seed_gives_the_same_inputs_each_time(name: str) -> None:
    count = len(TARGETS[name].seeds()) + 50
    first, second, other = (
        list(islice(inputs(TARGETS[name], Random(seed)), count)) for seed in (1, 1, 2)
    )
    assert first == second != other


@pytest.mark.parametrize("size", [0, 1, MAX_PIECES, MAX_PIECES + 1, READ - 1, READ, READ + 1])
def test_pieces_and_reads_lose_nothing(size: int) -> None:
    data = bytes(at % 251 for at in range(size))
    for cut in (pieces(data), pieces(data, 1), reads(data)):
        assert b"".join(cut) == data
        assert all(0 < len(part) <= READ for part in cut)


def test_an_input_decides_what_is_picked() -> None:
    assert {pick(bytes([at]), "abc") for at in range(50)} == set("abc")
    assert pick(b"x", range(1000)) == pick(b"x", range(1000)) != pick(b"x", range(1000), 1)


def test_held_counts_what_a_reader_keeps() -> None:
    reader = RequestReader(Limits())
    before = held(reader)
    reader.feed(b"GET /" + b"x" * 500)
    assert 500 <= held(reader) - before < 600


def test_a_failure_is_made_small() -> None:
    _, found = check(PLANTED["fails"], b"x" * 500 + MAGIC + b"y" * 500)
    assert found is not None
    assert shrink(PLANTED["fails"], found).data == MAGIC
    assert shrink(PLANTED["fails"], found, 0.0).data == found.data


def test_the_same_fault_has_the_same_key() -> None:
    found = [check(PLANTED["fails"], MAGIC * count)[1] for count in (1, 2)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].text != found[1].text
    assert found[0].key == found[1].key


def test_what_is_slow_each_time_is_a_finding() -> None:
    spent, found = check(PLANTED["slow"], MAGIC)
    assert found is not None
    assert spent > 0.1
    assert found.key == SLOW
    assert shrink(PLANTED["slow"], found) == found
    assert check(PLANTED["slow"], b"")[1] is None


def test_a_lane_tells_what_it_finds_and_how_far_it_is() -> None:
    said: list[Report | Finding] = []
    begun: list[bytes] = []
    lane = Lane("fails", 1, 0, 60.0, 300)
    run_lane(lane, PLANTED["fails"], said.append, begun.append)
    assert begun[0] == SEED
    assert len(begun) == 300
    found = [one for one in said if isinstance(one, Finding)]
    assert [len(one.data) > len(MAGIC) for one in found] == [True, False]
    last = said[-1]
    assert isinstance(last, Report)
    assert (last.lane, last.runs, last.done) == (lane, 300, True)


def test_a_finding_is_kept_under_its_content(tmp_path: Path) -> None:
    path = save(Finding("fails", MAGIC, "", ""), tmp_path / "new")
    assert path.read_bytes() == MAGIC
    assert path.name.startswith("fails-")
    assert save(Finding("fails", MAGIC, "", ""), path.parent) == path
