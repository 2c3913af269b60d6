"""rawproxy.dialects.gemini.partial_args: arguments that come in pieces."""

import json
from typing import Any

import pytest

from rawproxy.dialects.gemini.partial_args import PartialArg, PartialArgs
from rawproxy.dialects.reading import decode


def build(*pieces: dict[str, Any]) -> tuple[Any, list[bool]]:
    arguments = PartialArgs()
    taken = [arguments.add(decode(json.dumps(piece).encode(), PartialArg)) for piece in pieces]
    return json.loads(arguments.text()), taken


@pytest.mark.parametrize(
    ("pieces", "built"),
    [
        ([], {}),
        ([{"jsonPath": "$.a", "stringValue": "x", "willContinue": True},
          {"jsonPath": "$.a", "stringValue": "y"}], {"a": "xy"}),
        ([{"jsonPath": "$.a.b", "numberValue": 5}, {"jsonPath": "$.a.c", "boolValue": False}],
         {"a": {"b": 5, "c": False}}),
        ([{"jsonPath": "$.a", "nullValue": "NULL_VALUE"}], {"a": None}),
        ([{"jsonPath": "$.l[1].x", "stringValue": "s"}, {"jsonPath": "$.l[0]", "numberValue": 1.5},
          {"jsonPath": "$.l[1].y", "stringValue": "t"}],
         {"l": [1.5, {"x": "s", "y": "t"}]}),
        ([{"jsonPath": "$['a b']", "stringValue": "s"}], {"a b": "s"}),
        ([{"jsonPath": "$.a", "stringValue": "s"}, {"jsonPath": "$.a.b", "stringValue": "t"}],
         {"a": {"b": "t"}}),
    ],
)  # fmt: skip
def test_pieces_come_together(pieces: list[dict[str, Any]], built: Any) -> None:
    found, taken = build(*pieces)
    assert found == built
    assert all(taken)


@pytest.mark.parametrize("path", ["", "$", "a.b", "$..a", "$.a[*]", "$[0]", "$.a[99999999]"])
def test_a_path_that_is_more_than_a_place_is_not_followed(path: str) -> None:
    assert build({"jsonPath": path, "stringValue": "x"})[1] == [False]


def test_a_name_in_a_list_is_not_followed() -> None:
    first = {"jsonPath": "$.l[0]", "stringValue": "x"}
    found, taken = build(first, {"jsonPath": "$.l.x", "numberValue": 1})
    assert (found, taken) == ({"l": ["x"]}, [True, False])
