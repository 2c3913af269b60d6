"""Names of fields: the API takes each in camelCase and in snake_case.

Layer: dialects. Used by every part of `gemini` that reads or writes a request.
Source: https://protobuf.dev/programming-guides/json/ (a parser has to take both).
"""

import re

from msgspec import Raw

from rawproxy.dialects.making import Item, said
from rawproxy.dialects.reading import Fields, begins
from rawproxy.errors import ClientError

__all__ = ["GEMINI", "Item", "Object", "camel", "missing", "said"]

GEMINI = "gemini"
"""The dialect's name, and who issues its seals."""


_SNAKE = re.compile(r"(?<=[a-z0-9])_([a-z0-9])")


def camel(name: str) -> str:
    """Return a field's name, or a path of names, as the API itself spells it."""
    return _SNAKE.sub(lambda match: match[1].upper(), name) if "_" in name else name


def missing(path: str) -> ClientError:
    """Return the error that says that the field at `path` has to be there."""
    return ClientError(f"{path}: field required", param=path)


class Object(Fields):
    """An object of a request. Its fields are asked for in camelCase; paths are the client's own.

    Of a field in both spellings, the one in snake_case is unknown.
    """

    __slots__ = ("_spelled",)

    def __init__(self, members: dict[str, Raw], path: str = "") -> None:
        self._spelled: dict[str, str] = {}
        known: dict[str, Raw] = {}
        if "_" not in "".join(members):  # camelCase, as nearly always
            super().__init__(members, path)
            return
        for name, raw in members.items():
            plain = camel(name)
            if plain != name and plain not in members:
                self._spelled[plain] = name
            else:
                plain = name
            known[plain] = raw
        super().__init__(known, path)

    def at(self, name: str) -> str:
        """Return the path of the field `name`, as the client spells it."""
        return super().at(self._spelled.get(name, name))

    def raws(self, name: str) -> list[tuple[str, Raw]]:
        """Take a list; return each element with its path. One alone stands for a list of one."""
        path = self.at(name)
        if begins(self._members.get(name, Raw()), b"{"):
            return [(path, self.raw(name))]
        found = self.take(name, list[Raw], "a list of objects")
        return [(f"{path}[{at}]", item) for at, item in enumerate(found or ())]

    def several(self, name: str) -> list["Object"]:
        """Take a list of objects, to be read further; [] when absent."""
        if begins(self._members.get(name, Raw()), b"["):
            return self.objects(name)
        return [Object.of(raw, path) for path, raw in self.raws(name)]

    def word(self, name: str) -> str | None:
        """Take a string that stands for one of a set: they are told apart without their case."""
        value = self.text(name)
        return None if value is None else value.upper()

    def left(self) -> dict[str, bytes]:
        """Return what was not asked for: the name in camelCase -> raw JSON, without nulls."""
        return {name: bytes(raw) for name, raw in self._members.items() if bytes(raw) != b"null"}
