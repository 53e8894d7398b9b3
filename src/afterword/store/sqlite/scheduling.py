"""The positions of schedules; `afterword.schedules.scheduler` makes the jobs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from afterword.model.audit import Actor
from afterword.model.clock import Clock
from afterword.model.records import ScheduleRecord
from afterword.store.parts import UNSEEN, advance_row
from afterword.store.protocol import Declared, Due
from afterword.store.records import schedule_record
from afterword.store.sqlite.actions import note_action
from afterword.store.sqlite.reader import Reader
from afterword.store.sqlite.writer import Writer


class Scheduling:
    """Keeps the schedules, and the time."""

    def __init__(self, writer: Writer, reader: Reader, clock: Clock) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock

    def now(self) -> float:
        """The clock of this machine, which all processes of the store share."""
        return self._clock.now()

    def declare(self, schedules: Sequence[Declared]) -> None:
        """Declare schedules, or note that they still exist."""
        now = self._clock.now()
        with self._writer.transaction():
            for each in schedules:
                values = {**asdict(each), "now": now, "unseen": UNSEEN}
                self._writer.write("declare_cursor", values)
                self._writer.write("declare", values)

    def due(self, rules: Mapping[str, str]) -> Sequence[Due]:
        """Return those with a due occurrence, the earliest first."""
        values = {"rules": json.dumps(dict(rules)), "now": self._clock.now()}
        return [Due(*row) for row in self._writer.write("due", values)]

    def advance(self, due: Due, next_at: float, last_at: float | None) -> bool:
        """Move a schedule on, unless another process has."""
        values = advance_row(due, next_at, last_at)
        with self._writer.transaction():
            if not self._writer.write("advance", values):
                return False
            self._writer.write("advance_shown", values)
        return True

    def schedules(self) -> Sequence[ScheduleRecord]:
        """All of them, by name."""
        return [schedule_record(row) for row in self._reader.read("schedules", {})]

    def pause_schedule(self, name: str, paused: bool, by: Actor | None = None) -> bool:
        """Stop a schedule from creating jobs, or let it create them again."""
        with self._writer.transaction():
            known = bool(self._writer.write("pause_schedule", {"name": name, "paused": paused}))
            action = "pause schedule" if paused else "resume schedule"
            note_action(self._writer, self._clock, action, [name], int(known), by)
        return known
