"""The store of points: an SQLite file that several runs may write to, one after the other or at the same time.

A point is in it once its values are complete or it is skipped, each in a transaction of its own. So a killed run loses
only the points that it was at.
"""

from __future__ import annotations

import json
import math
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tightc.errors import OutputError

APPLICATION = 0x74677463  # "tgtc", in the header of the file
SCHEMA = 1
_WAIT = 60.0  # seconds for the lock of another run, which holds it for milliseconds
_OTHER_FILE = "give another file with --store"
_TABLES = (
    "CREATE TABLE points (key TEXT PRIMARY KEY, status TEXT NOT NULL, label TEXT NOT NULL, content TEXT NOT NULL)",
    "CREATE TABLE accuracies (key TEXT PRIMARY KEY, accuracy REAL NOT NULL)",
    "CREATE TABLE claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL)",
)

# what a record holds at least, by its status
_NUMBERS = ("cycles", "energy_pj", "packed_bytes", "dense_cycles", "dense_energy_pj")
_KINDS: Mapping[str, Mapping[str, Any]] = {
    "done": dict.fromkeys(_NUMBERS, int | float),
    "skipped": {"by": str, "bound": dict, "layers": int},
    "unfit": {"reason": str},
}


@dataclass(frozen=True)
class Record:
    """What the store knows of a point: `status` is done, skipped or unfit, `content` its values or the reason."""

    status: str
    content: Mapping[str, Any]


@dataclass
class Store:
    """The points by their keys. Each method is one transaction, or an OutputError where the file fails."""

    path: str
    _connection: sqlite3.Connection
    _owner: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    @contextmanager
    def opened(cls, path: Path | None) -> Iterator[Store]:
        """The store at `path`, made where there is none; in memory where `path` is None.

        OutputError for a file of another kind, a damaged one, and one of another version.
        """
        where = ":memory:" if path is None else str(path)
        if path is not None and not path.parent.is_dir():
            raise OutputError(f"{path}: there is no folder {path.parent}", "make the folder first")
        with _errors(where):
            connection = sqlite3.connect(where, timeout=_WAIT, isolation_level=None)
        try:
            with _errors(where):
                _prepare(connection, where)
            yield cls(where, connection)
        finally:
            connection.close()

    def record(self, key: str) -> Record | None:
        """What is known of a point; None where nothing is."""
        with _errors(self.path):
            row = self._connection.execute(
                "SELECT status, content FROM points WHERE key = ?", (key,)
            ).fetchone()
            return None if row is None else _record(*row)

    def keep(self, key: str, label: str, record: Record) -> None:
        """Keeps what is known of a point; a point that is done stays as it is."""
        row = (key, record.status, label, json.dumps(record.content))
        with _errors(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            known = self._connection.execute("SELECT status FROM points WHERE key = ?", (key,)).fetchone()
            if known is None or known[0] != "done":
                self._connection.execute("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?)", row)
            self._connection.execute("DELETE FROM claims WHERE key = ?", (key,))
            self._connection.execute("COMMIT")

    def claim(self, key: str) -> bool:
        """Whether no other run is at this point, as far as is known: one that was killed never says that it ended."""
        with _errors(self.path):
            self._connection.execute("INSERT OR IGNORE INTO claims VALUES (?, ?)", (key, self._owner))
            found = self._connection.execute("SELECT owner FROM claims WHERE key = ?", (key,)).fetchone()
            return found is not None and found[0] == self._owner

    def release(self) -> None:
        """Gives up the points that this run claimed and did not end."""
        with suppress(sqlite3.Error):
            self._connection.execute("DELETE FROM claims WHERE owner = ?", (self._owner,))

    def accuracy(self, key: str) -> float | None:
        """The accuracy of a network on data; None where it is not known."""
        with _errors(self.path):
            row = self._connection.execute("SELECT accuracy FROM accuracies WHERE key = ?", (key,)).fetchone()
            return None if row is None else float(row[0])

    def keep_accuracy(self, key: str, accuracy: float) -> None:
        """Keeps the accuracy of a network on data."""
        with _errors(self.path):
            self._connection.execute("INSERT OR REPLACE INTO accuracies VALUES (?, ?)", (key, accuracy))


def _record(status: object, text: str | bytes) -> Record:
    """The record of a row; ValueError where tightc wrote no such row."""
    content = json.loads(text) if isinstance(text, str | bytes) else None
    kinds = _KINDS.get(str(status))
    if kinds is None or not isinstance(content, dict):
        raise ValueError("a point has no content")
    for name, kind in kinds.items():
        value = content.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"a point has no {name}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} of a point is not finite")
    return Record(str(status), content)


def _prepare(connection: sqlite3.Connection, where: str) -> None:
    """Makes the tables of an empty file; OutputError where it holds anything but a store of this version."""
    connection.execute("BEGIN IMMEDIATE")
    application, schema = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if empty and not application:
        for table in _TABLES:
            connection.execute(table)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
    elif application != APPLICATION:
        raise OutputError(
            f"{where}: expected a store of tightc explore, got another SQLite database", _OTHER_FILE
        )
    elif schema != SCHEMA:
        than = "an older" if schema < SCHEMA else "a newer"
        raise OutputError(
            f"{where}: expected a store of version {SCHEMA}, got version {schema}, of {than} tightc",
            f"{_OTHER_FILE}, or use that tightc",
        )
    connection.execute("COMMIT")
    fault = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if fault != "ok":
        raise OutputError(f"{where}: the store is damaged ({fault})", f"remove it, or {_OTHER_FILE}")


@contextmanager
def _errors(where: str) -> Iterator[None]:
    """OutputError in place of the errors of SQLite and of content that is not JSON."""
    try:
        yield
    except sqlite3.OperationalError as fault:
        raise OutputError(
            f"{where}: the store cannot be used ({fault})",
            f"check the path and its permissions, or {_OTHER_FILE}",
        ) from None
    except sqlite3.DatabaseError as fault:
        raise OutputError(
            f"{where}: expected a store of tightc explore, got a damaged one or another file ({fault})",
            f"remove it, or {_OTHER_FILE}",
        ) from None
    except ValueError as fault:
        raise OutputError(
            f"{where}: the store is damaged ({fault})", f"remove it, or {_OTHER_FILE}"
        ) from None
