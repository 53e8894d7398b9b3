"""Schedules: rules that create jobs, and the treatment of missed occurrences.

Nothing here waits or writes. The store keeps a cursor for each schedule: the next occurrence
without a job. `plan_firing` decides which jobs to create now and where the cursor moves. The cursor
moves by compare-and-set, so only one process succeeds. Its jobs have ids made from schedule and
occurrence (`occurrence_id`), so the primary key refuses a second one. The cursor only grows: a
clock that is set back creates nothing twice.
"""

import hashlib
import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import Literal, get_args

from afterword.errors import ConfigurationError, safe_repr
from afterword.model.checks import check_choice, check_number
from afterword.schedules.recurrence import Rule

Missed = Literal["skip", "one", "all"]
Overlap = Literal["allow", "skip", "queue"]

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A rule that creates jobs of a task.

    Args:
        name: 1 to 200 letters, digits and any of '_.-'; unique in the store.
        task: the task's reference, `module:qualname`.
        rule: the recurrence rule.
        missed: the treatment of occurrences while no process was running: no job ("skip"), one job
            for the latest ("one"), or a job for each ("all"). Default: "one".
        limit: the most jobs created at once; older occurrences get none. Default: 100.
        grace: seconds by which an occurrence may be late before it counts as missed. Default: 60.
        overlap: the treatment of an occurrence while the job of the previous one has not ended: it
            gets a job ("allow"), no job ("skip"), or a job that waits for the other ("queue").
            Default: "allow".

    Raises:
        ConfigurationError: one of them has an invalid value.
    """

    name: str
    task: str
    rule: Rule
    missed: Missed = "one"
    limit: int = 100
    grace: float = 60.0
    overlap: Overlap = "allow"

    def __post_init__(self) -> None:
        """Refuse invalid values."""
        check_name(self.name)
        check_treatment(self.missed, self.limit, self.grace, self.overlap)


def check_treatment(missed: object, limit: object, grace: object, overlap: object) -> None:
    """Refuse an invalid treatment of occurrences.

    Raises:
        ConfigurationError: names the option.
    """
    check_choice("missed", missed, get_args(Missed))
    check_choice("overlap", overlap, get_args(Overlap))
    check_number("limit", limit, 1, 10_000, whole=True)
    check_number("grace", grace, 1, 7 * 86400)


def check_name(name: object) -> None:
    """Refuse what is no name of a schedule.

    Raises:
        ConfigurationError: shows the name.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            "A schedule's name must be 1 to 200 letters, digits or any of '_.-', but this one is"
            f' {safe_repr(name)}. Example: @afterword.every("*/5 * * * *", name="sweep").'
        )


@dataclass(frozen=True, slots=True)
class Firing:
    """The jobs that a schedule creates now, and its new cursor.

    Args:
        occurrences: those that get a job, the earliest first.
        next_at: the new cursor: the next occurrence without a job.
        missed: the number of missed occurrences, including those that get a job.
    """

    occurrences: tuple[float, ...]
    next_at: float
    missed: int


def plan_firing(schedule: Schedule, due_at: float, now: float) -> Firing:
    """Decide which occurrences get jobs; the cursor is at `due_at`, the store's clock at `now`.

    An occurrence is on time if it is at most `grace` seconds old (and among the newest `limit`). An
    older one was missed, and is treated as `schedule.missed` says. `due_at` always counts as an
    occurrence: it was one when the cursor was set, even if the zone has changed since then.

    >>> from afterword.schedules.recurrence import Every
    >>> hourly = Schedule(name="x", task="m:x", rule=Every(3600), missed="one")
    >>> plan_firing(hourly, due_at=3600, now=14400 + 5)
    Firing(occurrences=(10800.0, 14400.0), next_at=18000.0, missed=3)
    """
    if now < due_at:
        return Firing((), due_at, 0)
    due_at = max(due_at, 0.0)  # rules have no times before 1970
    passed = schedule.rule.passed(due_at, now, schedule.limit)
    newest = (due_at, *passed.newest)[-schedule.limit :]
    on_time = newest[bisect_left(newest, now - schedule.grace) :]
    late = newest[: len(newest) - len(on_time)]
    made_up = {"skip": (), "one": late[-1:], "all": late}[schedule.missed]
    missed = 1 + passed.count - len(on_time)
    return Firing((*made_up, *on_time), schedule.rule.next_after(now), missed)


def occurrence_id(name: str, due: float) -> str:
    """Make the job id of an occurrence: a UUIDv7 that is the same in each process.

    Layout: RFC 9562, section 5.7, with a digest of name and time in place of the random bits.

    >>> occurrence_id("sweep", 1_500_000_000)
    '015d3ef7-9800-70c5-82b2-f2aff3d2e83a'
    """
    milliseconds = min(max(round(due * 1000), 0), 2**48 - 1)
    digest = hashlib.sha256(f"{milliseconds} {name}".encode()).digest()
    bits = int.from_bytes(digest[:10]) & ~(0xF << 76) & ~(0x3 << 62)
    text = f"{milliseconds << 80 | bits | 0x7 << 76 | 0x2 << 62:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
