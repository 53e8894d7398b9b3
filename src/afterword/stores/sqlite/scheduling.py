"""Where schedules have got to; what they make of it is in `afterword.scheduler`."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from afterword.records import ScheduleRecord
from afterword.store import Declared, Due
from afterword.stores.rows import schedule_record
from afterword.stores.sqlite.writing import Writing


class Scheduling(Writing):
    """The part of the SQLite store that knows the schedules."""

    def now(self) -> float:
        """The clock of this machine, which all processes of the store share."""
        return self._clock.now()

    def declare(self, schedules: Sequence[Declared]) -> None:
        """Make schedules known, or say that they are still there."""
        now = self._clock.now()
        with self.transaction():
            for each in schedules:
                self._database.write("declare", {**asdict(each), "now": now})

    def due(self, names: Sequence[str]) -> Sequence[Due]:
        """Those with an occurrence to be dealt with, the earliest first."""
        now = self._clock.now()
        rows = self._database.write("due", {"names": json.dumps(list(names)), "now": now})
        return [Due(name, next_at, now) for name, next_at in rows]

    def advance(self, due: Due, next_at: float, last_at: float | None) -> bool:
        """Move a schedule on, unless somebody else has."""
        values = {"name": due.name, "seen_at": due.next_at, "next_at": next_at, "last_at": last_at}
        with self.transaction():
            return bool(self._database.write("advance", values))

    def schedules(self) -> Sequence[ScheduleRecord]:
        """All of them, by name."""
        return [schedule_record(row) for row in self._database.read("schedules", {})]

    def pause_schedule(self, name: str, paused: bool) -> bool:
        """Let a schedule make no jobs, or make them again."""
        with self.transaction():
            return bool(self._database.write("pause_schedule", {"name": name, "paused": paused}))
