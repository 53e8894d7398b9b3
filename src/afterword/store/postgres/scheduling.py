"""The positions of schedules, by the server's clock."""

from collections.abc import Mapping, Sequence

from afterword.model.audit import Actor
from afterword.model.records import ScheduleRecord
from afterword.store.parts import UNSEEN, advance_row
from afterword.store.postgres.actions import note_action
from afterword.store.postgres.people import PeopleConnection, repeated
from afterword.store.postgres.rows import columns
from afterword.store.postgres.writer import Writer
from afterword.store.protocol import Declared, Due
from afterword.store.records import schedule_record


class Scheduling:
    """Keeps the schedules, and the time."""

    def __init__(self, writer: Writer, people: PeopleConnection) -> None:
        self._writer = writer
        self._people = people

    def now(self) -> float:
        """The clock of the server, which all processes of the store share."""
        ((now,),) = self._writer.ask("now")
        return float(now)

    def declare(self, schedules: Sequence[Declared]) -> None:
        """Declare schedules, or note that they still exist."""
        last = {each.name: each for each in schedules}
        rows = (
            (each.name, each.task, each.rule, each.words, each.next_at) for each in last.values()
        )
        values = {**columns("names tasks rules words next_ats", rows), "unseen": UNSEEN}
        with self._writer.transaction():
            self._writer.execute("declare_cursors", values)
            self._writer.execute("declare", values)

    def due(self, rules: Mapping[str, str]) -> Sequence[Due]:
        """Return those with a due occurrence, the earliest first."""
        values = {"names": list(rules), "rules": list(rules.values())}
        with self._writer.transaction():
            return [Due(*row) for row in self._writer.execute("due", values)]

    def advance(self, due: Due, next_at: float, last_at: float | None) -> bool:
        """Move a schedule on, unless another process has."""
        with self._writer.transaction():
            return bool(self._writer.execute("advance", advance_row(due, next_at, last_at)))

    @repeated
    def schedules(self) -> Sequence[ScheduleRecord]:
        """All of them, by name."""
        with self._people.looking() as session:
            return [schedule_record(row) for row in session.execute("schedules")]

    @repeated
    def pause_schedule(self, name: str, paused: bool, by: Actor | None = None) -> bool:
        """Stop a schedule from creating jobs, or let it create them again."""
        with self._people.acting() as session:
            known = bool(session.execute("pause_schedule", {"name": name, "paused": paused}))
            action = "pause schedule" if paused else "resume schedule"
            note_action(session, action, [name], int(known), by)
        return known
