"""Schedules: their states in words."""

from afterword.admin.duration import show_instant
from afterword.admin.health import is_forgotten, is_overdue
from afterword.model.records import ScheduleRecord


def schedule_state(schedule: ScheduleRecord, now: float) -> str:
    """Return the most important fact about a schedule, in one word."""
    if is_forgotten(schedule, now):
        return "forgotten"
    if schedule.paused:
        return "paused"
    return "overdue" if is_overdue(schedule, now) else "active"


def note_on_schedule(schedule: ScheduleRecord, now: float) -> str:
    """Describe what keeps a schedule from creating jobs; empty if nothing does."""
    paused = "paused" if schedule.paused else ""
    overdue = "overdue" if is_overdue(schedule, now) else ""
    seen = show_instant(schedule.seen_at)
    forgotten = f"not in any running code since {seen}" if is_forgotten(schedule, now) else ""
    return ", ".join(filter(None, (paused, overdue, forgotten)))
