"""Makes waits of chosen tasks end with an exception: any await may fail, so each one has to.

It is a trio Instrument: just before a task goes on after a wait, what it would have got is replaced
by an exception. So the exception comes out of the innermost await, as one of trio's or of the
operating system's would. Trio's nurseries themselves are left alone: their own waits cannot fail.
"""

import ast
import inspect
from pathlib import Path
from types import FrameType

from trio.abc import Instrument
from trio.lowlevel import Task

from tests.conftest import ROOT

PACKAGE = ROOT / "rawproxy"
Place = tuple[str, int]
"""A file of the package, and a line."""


class Injector(Instrument):
    """Fails the n-th wait of the tasks that `chosen` names, once it is armed.

    Args:
        roots: parts of names of tasks. The first of such a name that is spawned after `arm` is
            chosen, and all below it.
        standing: parts of names of tasks that are chosen wherever they are.
    """

    def __init__(self, roots: tuple[str, ...], standing: tuple[str, ...] = ()) -> None:
        self._roots = roots
        self._standing = standing
        self._root: Task | None = None
        self._error: BaseException | None = None
        self._left = self._times = 0
        self.fired: tuple[Place, ...] = ()
        """Where the exception was thrown: the lines of the package that waited, the outer ones first."""

    def arm(self, at: int, error: Exception, times: int = 1) -> None:
        """Fail the `at`-th wait from now on with `error`, and those after it until it was `times`."""
        self._root, self._error, self._left, self.fired = None, error, at, ()
        self._times = times

    def disarm(self) -> tuple[Place, ...]:
        """Leave every task alone; return where the exception was thrown, () when it was not."""
        self._error = None
        return self.fired

    def task_spawned(self, task: Task) -> None:
        if self._error is not None and self._root is None and _named(task, self._roots):
            self._root = task

    def before_task_step(self, task: Task) -> None:
        if self._error is None or not self._times or not self._is_chosen(task):
            return
        if inspect.getcoroutinestate(task.coro) == inspect.CORO_CREATED:
            return  # it waits for nothing yet
        waits = list(task.iter_await_frames())
        if any(frame.f_code.co_name == "_nested_child_finished" for frame, _ in waits):
            return
        self._left -= 1
        if self._left <= 0:
            self._times -= 1
            self.fired += tuple(place for wait in waits if (place := _place(*wait))) or (("?", 0),)
            task._next_send_fn, task._next_send = task.coro.throw, self._error

    def _is_chosen(self, task: Task) -> bool:
        if _named(task, self._standing):
            return True
        above: Task | None = task
        while above is not None and above is not self._root:
            above = above.parent_nursery.parent_task if above.parent_nursery else None
        return above is not None


def _named(task: Task, names: tuple[str, ...]) -> bool:
    return any(name in task.name for name in names)


def _place(frame: FrameType, line: int) -> Place | None:
    path = Path(frame.f_code.co_filename)
    return (path.relative_to(PACKAGE).as_posix(), line) if PACKAGE in path.parents else None


def awaits(path: str) -> list[tuple[str, frozenset[Place]]]:
    """Return every `await` of a file of the package: the function it is in, and its lines."""
    found: list[tuple[str, frozenset[Place]]] = []

    def walk(node: ast.AST, function: str) -> None:
        for child in ast.iter_child_nodes(node):
            name = function
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{function}.{child.name}".lstrip(".")
            elif isinstance(child, ast.Await):
                lines = range(child.lineno, (child.end_lineno or child.lineno) + 1)
                found.append((name, frozenset((path, line) for line in lines)))
            walk(child, name)

    walk(ast.parse((PACKAGE / path).read_text()), "")
    return found
