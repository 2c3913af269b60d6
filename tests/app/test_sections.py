"""The sections and their page in the documentation say the same."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_origin

import msgspec
import pytest

from rawproxy.app.config import from_mapping
from rawproxy.app.sections import Config, ModelConfig
from rawproxy.dialects.models import Row, Takes

DOCS = Path(__file__).parents[2] / "docs" / "CONFIGURATION.md"
HEADINGS = {
    ("server",): "## `[server]`",
    ("server", "tls"): "## `[server.tls]`",
    ("server", "tls", "more"): "### `[[server.tls.more]]`",
    ("server", "limits"): "## `[server.limits]`",
    ("admin",): "## `[admin]`",
    ("access",): "## `[access]`",
    ("access", "callers"): "### `[[access.callers]]`",
    ("upstreams",): "## `[upstreams.NAME]`",
    ("routes",): "## `[[routes]]`",
    ("models",): "## `[[models]]`",
    ("stream",): "## `[stream]`",
}


def structs_in(kind: object) -> list[type[msgspec.Struct]]:
    kinds = get_args(kind) if get_origin(kind) else (kind,)
    return [one for one in kinds if isinstance(one, type) and issubclass(one, msgspec.Struct)]


def sections(
    kind: type[msgspec.Struct] = Config, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], type[msgspec.Struct]]]:
    """Yield every Struct that can be written in the file, and its keys' path."""
    if path:
        yield path, kind
    for field in msgspec.structs.fields(kind):
        for inner in structs_in(field.type):
            yield from sections(inner, (*path, field.name))


def spelled(field: msgspec.structs.FieldInfo) -> str:
    """Return the default as the documentation has to spell it."""
    if field.required:
        return "required"
    default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if default is None:
        return "not set"
    if field.name == "key":
        return "required"  # a caller's: empty only so that the Struct can stand for nobody
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    if isinstance(default, str):
        default = "" + default  # a Secret is no JSON
    return f"`{msgspec.json.encode(default).decode()}`"


def rows(heading: str) -> dict[str, list[str]]:
    """Return the rows of the table under `heading`, by key."""
    part = DOCS.read_text().split(f"\n{heading}\n", 1)[1]
    part = re.split(r"\n#+ ", part, maxsplit=1)[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in part.splitlines()
        if line.startswith("| `")
    ]
    return {row[0].strip("`"): row for row in cells}


def test_every_section_has_its_heading() -> None:
    assert {path for path, _ in sections()} == set(HEADINGS)


@pytest.mark.parametrize(("path", "kind"), list(sections()), ids=lambda value: str(value))
def test_every_key_is_documented_with_its_default(
    path: tuple[str, ...], kind: type[msgspec.Struct]
) -> None:
    expected = {
        field.name: spelled(field)
        for field in msgspec.structs.fields(kind)
        if not (isinstance(field.type, type) and issubclass(field.type, msgspec.Struct))
    }
    documented = rows(HEADINGS[path])
    assert {key: row[2] for key, row in documented.items()} == expected
    assert all(len(row) == 4 and row[3] for row in documented.values())


def test_the_example_is_a_whole_configuration() -> None:
    text = re.search(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert text is not None
    names = set(re.findall(r"env:(\w+)", text[1]))
    environ = {name: f"value-of-{name}" for name in names}
    config = from_mapping(tomllib.loads(text[1]), environ=environ)
    assert list(config.upstreams) == ["openai", "anthropic", "vllm", "local"]
    assert config.access.callers[1].key.endswith("NIGHTLY_KEY")
    assert config.stream.on_client_gone == "finish"


def test_a_row_of_models_says_only_what_is_set() -> None:
    given = ModelConfig("gpt-*", "openai_chat", sampling=False, limit=9)
    assert given.row() == Row("openai_chat", "gpt-*", {"sampling": False, "limit": 9})
    taken = {field.name for field in msgspec.structs.fields(Takes)}
    assert {field.name for field in msgspec.structs.fields(ModelConfig)[2:]} == taken
