"""The fault matrix, put together."""

from tests.faults import answering, clients, connecting, machine, shared, streaming
from tests.faults.story import Row

_PARTS = (connecting, answering, streaming, shared, clients, machine)

ROWS: tuple[Row, ...] = tuple(
    sorted((row for part in _PARTS for row in part.ROWS), key=lambda row: row.number)
)
