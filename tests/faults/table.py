"""The fault matrix, put together."""

from tests.faults import answering, clients, connecting, machine, streaming
from tests.faults.story import Row

ROWS: tuple[Row, ...] = tuple(
    sorted([*connecting.ROWS, *answering.ROWS, *streaming.ROWS, *clients.ROWS, *machine.ROWS], key=lambda row: row.number)
)
