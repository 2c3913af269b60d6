"""What every driver of an SDK does and prints, so that replies compare whatever SDK read them.

Run in the environment of each SDK, the oldest included: the standard library, and nothing of ours.

    text, image  {"text", "thinking", "tools", "stop", "input", "cached", "output"}: see `seen`
    tools        {"first": ..., "second": ..., "ids_unique": bool}
    thinking     {"first": ..., "second": ...}; the second turn returns what the first one gave
    stops        {"stop:end": stop, "stop:length": stop, "stop:blocked": stop}
    errors       {"error:429": [status, message], "error:500": ..., "error:400": ...}
    broken       the error's text, or "no error": a reply that ends before its stop
    mid_error    the same of an error inside a reply
    count        tokens
"""

import json
import sys
from collections.abc import Callable
from typing import Any, Protocol

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SYSTEM = "be brief"
SECONDS = 20.0
"""No answer takes longer."""

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "exact": {"type": "number"}},
    "required": ["city"],
}
TOOLS: list[tuple[str, str, dict[str, Any]]] = [
    ("weather", "The weather in a city.", WEATHER),
    ("clock", "The time.", {"type": "object", "properties": {}}),
]
"""Name, description, schema of the arguments."""

NOTHING = "no error"


class Driver(Protocol):
    """One SDK, asking one dialect. Turns and replies are whatever the SDK takes and gives.

    Attributes:
        failures: the exceptions by which the SDK tells an HTTP error.
        extra: scenarios of its own.
    """

    failures: tuple[type[Exception], ...]
    extra: dict[str, Callable[[], Any]]

    def ask(self, turns: list[Any], *, tools: bool = False, thinks: bool = False) -> Any:
        """Return the reply."""

    def seen(self, reply: Any) -> dict[str, Any]:
        """Return what the module's function of this name returns."""

    def user(self, text: str) -> list[Any]:
        """Return a user's turn."""

    def picture(self, text: str) -> list[Any]:
        """Return a user's turn with an image in it."""

    def returned(self, reply: Any) -> list[Any]:
        """Return a reply as the application sends it back: by the SDK's own means."""

    def results(self, reply: Any) -> list[Any]:
        """Return the turns that answer each of its calls."""

    def ids(self, reply: Any) -> list[Any]:
        """Return the ids of its calls, None where there are none."""

    def error(self, failure: Any) -> list[Any]:
        """Return the status and the message of one of `failures`."""

    def count(self) -> int:
        """Return the tokens of a short call."""


def seen(
    text: str | None,
    *,
    thinking: str | None = "",
    tools: Any = (),
    stop: str | None = None,
    usage: Any = (None, None, None),
) -> dict[str, Any]:
    """Return what a reply means.

    Args:
        text: all of it.
        thinking: all of it.
        tools: name and arguments, as an object, of each call.
        stop: `end`, `length`, `tools` or `filter`; None where nothing told that it is over.
        usage: tokens in, those of them that were cached, tokens out.
    """
    found = {
        "text": text or "", "thinking": thinking or "", "tools": [list(one) for one in tools],
        "stop": stop,
    }  # fmt: skip
    return found | dict(zip(("input", "cached", "output"), usage, strict=True))


def _text(driver: Driver) -> Any:
    return driver.seen(driver.ask(driver.user("say hello")))


def _tools(driver: Driver) -> Any:
    turns = driver.user("weather in Oslo, and the time?")
    first = driver.ask(turns, tools=True)
    ids = driver.ids(first)
    turns = [*turns, *driver.returned(first), *driver.results(first)]
    second = driver.ask(turns, tools=True)
    given = [one for one in ids if one is not None]
    unique = len(set(given)) == len(given) and len(given) in (0, len(ids))
    return {"first": driver.seen(first), "second": driver.seen(second), "ids_unique": unique}


def _thinking(driver: Driver) -> Any:
    turns = driver.user("think")
    first = driver.ask(turns, thinks=True)
    turns = [*turns, *driver.returned(first), *driver.user("go on")]
    second = driver.ask(turns, thinks=True)
    return {"first": driver.seen(first), "second": driver.seen(second)}


def _image(driver: Driver) -> Any:
    return driver.seen(driver.ask(driver.picture("what is it?")))


def _stops(driver: Driver) -> Any:
    words = ("stop:end", "stop:length", "stop:blocked")
    return {word: driver.seen(driver.ask(driver.user(word)))["stop"] for word in words}


def _errors(driver: Driver) -> Any:
    found = {}
    for word in ("error:429", "error:500", "error:400"):
        try:
            driver.ask(driver.user(word))
        except driver.failures as error:
            found[word] = driver.error(error)
    return found


def _trouble(word: str) -> Callable[[Driver], Any]:
    def scenario(driver: Driver) -> Any:
        try:
            driver.ask(driver.user(word))
        except Exception as error:  # whatever an SDK raises when JSON ends in the middle
            return f"{type(error).__name__}: {error}"
        return NOTHING

    return scenario


SCENARIOS: dict[str, Callable[[Driver], Any]] = {
    "text": _text,
    "tools": _tools,
    "thinking": _thinking,
    "image": _image,
    "stops": _stops,
    "errors": _errors,
    "broken": _trouble("break"),
    "mid_error": _trouble("fail-in-stream"),
    "count": lambda driver: driver.count(),
}


def main(make: Callable[[str, str], Driver]) -> None:
    """Run the scenarios that the command line names; print what was seen as JSON.

    The first argument is the base URL, with `=` and a comma-separated list of scenarios behind it
    where there are several: starting an SDK costs more than using it. Then what was seen is told for
    each of them, in order, or the words of the exception that nobody expected.

    Args:
        make: takes the base URL and the mode (stream, blocking, or accumulate: a stream that the
            SDK itself puts together) and returns the driver.
    """
    mode = sys.argv[2]
    if "=" not in sys.argv[1]:
        sys.stdout.write(json.dumps(_run(make(sys.argv[1], mode), sys.argv[3:])) + "\n")
        return
    for job in [sys.argv[1], *sys.argv[3:]]:
        url, _, names = job.partition("=")
        found: dict[str, Any] = {}
        for name in names.split(","):
            try:
                found |= _run(make(url, mode), [name])
            except Exception as error:
                found[name] = f"{type(error).__name__}: {error}"
        sys.stdout.write(json.dumps(found) + "\n")


def _run(driver: Driver, names: list[str]) -> dict[str, Any]:
    return {
        name: driver.extra[name]() if name in driver.extra else SCENARIOS[name](driver)
        for name in names
    }
