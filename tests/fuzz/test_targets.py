"""Every target holds for its first inputs, and for some changed ones: `make fuzz` in small."""

from itertools import islice
from random import Random

import pytest

from fuzz.base import MAX_INPUT
from fuzz.engine import check, inputs
from fuzz.fleet import HEADROOM
from fuzz.targets import TARGETS
from rawproxy.dialects import DIALECTS

SEEDS = 40
CHANGED = 20

PARSERS = {
    "h1_request", "h1_response", "h2_server", "h2_client", "sse", "eventstream", "ndjson",
    "jsonarray", "text", "splice", "fields", "proxy_protocol", "client_hello",
}  # fmt: skip


def test_every_parser_has_a_target() -> None:
    of_dialects = {name.split(".")[0] for name in TARGETS if "." in name}
    assert of_dialects == set(DIALECTS)
    assert {name for name in TARGETS if "." not in name} == PARSERS


@pytest.mark.parametrize("name", TARGETS)
def test_target(name: str) -> None:
    target = TARGETS[name]
    seeds = target.seeds()
    assert seeds
    chosen = seeds[:: max(1, len(seeds) // SEEDS)][:SEEDS]
    changed = islice(inputs(target, Random(name)), len(seeds), len(seeds) + CHANGED)
    for data in [*chosen, *changed]:
        assert len(data) <= MAX_INPUT * HEADROOM
        _, found = check(target, data)
        assert found is None, f"{found.text}\n{data!r}"
