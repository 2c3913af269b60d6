"""docs/LIVENESS.md is made of the rows that `tests/faults` tells.

pytest tests/test_liveness_page.py --regen-golden
"""

from collections.abc import Iterable

from tests.conftest import ROOT
from tests.faults.story import CLIENTS, HTTP_VERSIONS, Case, Row, Sees
from tests.faults.table import ROWS

PAGE = ROOT / "docs" / "LIVENESS.md"

INTRO = """# What a client sees when something goes wrong

A client is never left without a word, and nothing that was cut off looks whole. This page is made by `tests/test_liveness_page.py` from the
table in `tests/faults/table.py`; `pytest tests/faults` tells each line of it: to clients of OpenAI Chat, OpenAI Responses and Anthropic
Messages, on HTTP/1.1 and on HTTP/2, with the reply passed and translated.

## Two rules

**A. Nothing has been sent yet:** the client gets a status and a body of JSON with the error, in its own dialect; `Retry-After` where waiting
helps. As long as nothing that bears output has been sent, every failure that the client did not cause moves on to the next candidate of the
route; the same upstream is asked again only where it cannot have done anything with the request, or with another key.

**B. Something has been sent:** a stream gets exactly one error in the form that its dialect has for it, and then ends as its framing
promised, but without the dialect's own terminator (`[DONE]`, `message_stop`). Where there is no such form (a body that is under way, a reply
whose bytes nobody reads) it ends uncleanly: on HTTP/1.1 the connection closes before the last chunk, on HTTP/2 the stream is reset
with `INTERNAL_ERROR`.

A keepalive is something that was sent, but no output: after it there is no other status, and still another candidate.

Whatever happens, one record is written, nothing runs on, and the upstream is left within a second.

## The clocks

Each is looked at four times a second, and none of them knows the time of day.
Where the proxy itself stood still (stopped, or asleep with its machine), what came meanwhile is read before one of them strikes.

| clock | runs | key |
|---|---|---|
| connect | while the name is looked up, the connection made and TLS greeted | `stream.connect_seconds` |
| first event | from the end of the request to the first byte of the reply | `stream.first_event_seconds` |
| silence | between two pieces of a reply | `stream.silence_seconds` |
| write | while bytes wait for the client and it takes none; the others stand meanwhile | `server.limits.write_seconds` |

A fifth one, `stream.total_seconds`, bounds all of an exchange; it is off by default. Keepalives run by the silence towards the client
(`stream.keepalive_seconds`), from the request on and whatever the upstream does, so the first one may come before the answer's head.

## The table

*Recorded* is the outcome in the record, *tries* how each attempt in it ended (`none`: none had), *key* what became of each key of the upstream, and *decided by*
the key of the configuration, or else the clock. "`/`" parts what is different for a client that streams and for one that does not.
"""
HEAD = """
| when | a client that streams gets | one that does not | recorded | tries | key | decided by |
|---|---|---|---|---|---|---|
"""
LATER = """
## Not told here

"""


def both(texts: Iterable[str]) -> str:
    """What holds for a stream and for a body: once where it is the same."""
    return " / ".join(dict.fromkeys(texts)) or "-"


def cell(seen: Iterable[Sees | None]) -> str:
    return both(str(one) for one in seen if one is not None)


def limit(case: Case) -> str:
    after = f" = {case.seconds:g}" if case.seconds and "." in case.limit else ""
    return f"`{case.limit}{after}`" if "." in case.limit else case.limit


def moment(case: Case) -> str:
    """When it happens, and to whom, where that is not everybody."""
    whom = [", ".join(case.clients)] if case.clients != CLIENTS else []
    whom += [f"HTTP/{version}" for version in case.over] if case.over != HTTP_VERSIONS else []
    kind = case.only if case.only and case.only not in case.when else ""
    more = "; ".join([*([kind] if kind else []), *whom])
    return f"{case.when} ({more})" if more and more not in case.when else case.when


def line(when: str, cases: list[Case]) -> str:
    """Those of one moment: one for streams and one for bodies, or one for both."""
    outcomes = [
        one.outcome for case in cases for one in (case.stream, case.blocking) if one is not None
    ]
    streaming = cell(case.stream for case in cases)
    blocking = cell(case.blocking for case in cases)
    cells = [
        when,
        streaming,
        "the same" if streaming == blocking else blocking,
        both(outcomes),
        both(", ".join(case.attempts) or "none" for case in cases),
        both(", ".join(case.keys) or "ready" for case in cases),
        both(dict.fromkeys(limit(case) for case in cases if case.limit)),
    ]
    return f"| {' | '.join(cells)} |\n"


def section(row: Row) -> str:
    told: dict[str, list[Case]] = {}
    for case in row.cases:
        told.setdefault(moment(case), []).append(case)
    lines = "".join(line(when, cases) for when, cases in told.items())
    notes = f"\n{row.notes}\n" if row.notes else ""
    title = row.fault[0].upper() + row.fault[1:]
    return f"\n### {row.number}. {title}\n\nInjected: {row.injected}.\n{HEAD}{lines}{notes}"


def page() -> str:
    later = "".join(f"- {row.number}, {row.fault}: {row.later}.\n" for row in ROWS if row.later)
    told = "".join(section(row) for row in ROWS if not row.later)
    return INTRO + told + LATER + later


def test_the_page_tells_every_row(*, regen: bool) -> None:
    text = page()
    if regen:
        PAGE.write_text(text)
    assert PAGE.read_text() == text


def test_the_rows_are_complete() -> None:
    assert [row.number for row in ROWS] == list(range(1, 35))
    for row in ROWS:
        assert bool(row.later) is (not row.cases), row.number


def test_every_row_is_told_to_every_client() -> None:
    for row in ROWS:
        scenes = [scene for case in row.cases for scene in case.scenes()]
        if not row.later:
            assert {(scene.client, scene.http) for scene in scenes} == {
                (client, http) for client in CLIENTS for http in HTTP_VERSIONS
            }, row.number


def test_a_moment_is_told_once() -> None:
    """Two cases of one moment are one for streams and one for bodies."""
    for row in ROWS:
        told = [str(scene) for case in row.cases for scene in case.scenes()]
        assert len(told) == len(set(told)), row.number
