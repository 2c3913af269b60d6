"""docs/LOSSES.md is made of the policy tables, and of what the golden calls lose on their way.

pytest tests/test_losses_page.py --regen-golden
"""

import json

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.losses import REFUSED, SILENT, Loss, policy
from tests.conftest import ROOT
from tests.dialects.test_golden import ASKED, CLIENTS

PAGE = ROOT / "docs" / "LOSSES.md"
LETTERS = {
    "no such thing there": "-", "narrower there": "n", "not this model": "m", "owned elsewhere": "o",
}  # fmt: skip

INTRO = """# What a translation loses

A dialect cannot say everything that another one can. What it could not say is never dropped without a word: each such field is a
**loss**, with the path that the client wrote, told in the header `x-rawproxy-loss` (fields without indexes), in the record of the exchange
and in the metric `rawproxy_losses_total`. With `x-rawproxy-strict: 1` a call that would lose something is a 400 that lists the fields.
Between two ends that speak one dialect nothing is translated, and nothing lost.

This page is made by `tests/test_losses_page.py` from the tables in `rawproxy/dialects/losses.py`, and from the calls under
`tests/golden/` (the cases `everything` have every field of an API). `rawproxy translate call --losses FILE` tells it for a call of yours.

## Refused

Leaving these out would corrupt the answer: the call is a 400 that names them, unless another candidate of the route can say them.

| field | why |
|---|---|
"""
SILENT_INTRO = """
## Without a word

These mean nothing to the answer, and are left out silently.

| field | why |
|---|---|
"""
TABLES_INTRO = """
## Field by field

Each table is a client's dialect; across are the upstreams that are asked in another one, each with a model of its vendor's newest kind.
`-` the upstream has no such thing, `n` it is narrower there, `m` this model does not take it, `o` it belongs to another vendor
(a signature, a file), `R` the call is refused. Empty: it is said, or enforced here (stop sequences).
"""


def letter(why: str, path: str) -> str:
    return "R" if policy(Loss(path, "no such thing there")) == "refuse" else LETTERS[why]


def table(client: str) -> str:
    """What is lost of a client's calls, field by field."""
    others = [name for name in DIALECTS if name != client]
    found: dict[str, dict[str, str]] = {}
    for case in ASKED:
        if case.parent.name != client:
            continue
        for other, lost in json.loads((case / "lost.json").read_bytes()).items():
            for path, why in lost.get("call", []):
                loss = Loss(path, why)
                if policy(loss) != "silent":
                    found.setdefault(loss.field, {})[other] = letter(why, path)
    lines = [
        f"\n### {client}\n",
        f"| field | {' | '.join(others)} |",
        "|---" * (len(others) + 1) + "|",
    ]
    for field in sorted(found):
        cells = [found[field].get(other, "") for other in others]
        lines.append(f"| `{field}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    refused = "".join(f"| `{field}` | {why} |\n" for field, why in sorted(REFUSED.items()))
    silent = "".join(f"| `{field}` | {why} |\n" for field, why in sorted(SILENT.items()))
    return INTRO + refused + SILENT_INTRO + silent + TABLES_INTRO + "".join(map(table, CLIENTS))


def test_the_page_tells_what_is_lost(*, regen: bool) -> None:
    text = page()
    if regen:
        PAGE.write_text(text)
    assert PAGE.read_text() == text


def test_a_field_has_one_policy() -> None:
    assert not REFUSED.keys() & SILENT.keys()
