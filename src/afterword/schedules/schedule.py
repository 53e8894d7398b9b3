"""Schedules: rules that create jobs, and what is done about occurrences that were missed.

Nothing here waits or writes. The store keeps, for each schedule, a cursor: the next occurrence that
has no job yet. `plan_firing` says which jobs to create now and where the cursor goes; whoever moves
it with a compare-and-set was the first, and its jobs have ids made of schedule and occurrence
(`occurrence_id`), so that the primary key refuses a second one. The cursor only grows: a clock that
is set back creates nothing twice.
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
        name: 1 to 200 letters, digits and any of '_.-'; one schedule of the store.
        task: the task's reference, `module:qualname`.
        rule: when.
        missed: what becomes of occurrences that nobody was there for: nothing ("skip"), a job for
            the latest one ("one"), or a job for each ("all"). Default: "one".
        limit: jobs that are created at once, at most; older occurrences get none. Default: 100.
        grace: seconds by which an occurrence may be late before it counts as missed. Default: 60.
        overlap: what becomes of an occurrence while the job of the one before has not ended: it
            gets a job all the same ("allow"), none ("skip"), or one that waits for that ("queue").
            Default: "allow".

    Raises:
        ConfigurationError: one of them has a value it cannot have.
    """

    name: str
    task: str
    rule: Rule
    missed: Missed = "one"
    limit: int = 100
    grace: float = 60.0
    overlap: Overlap = "allow"

    def __post_init__(self) -> None:
        """Refuse what no scheduler could do."""
        _check_name(self.name)
        check_choice("missed", self.missed, ("skip", "one", "all"))
        check_choice("overlap", self.overlap, get_args(Overlap))
        check_number("limit", self.limit, 1, 10_000, whole=True)
        check_number("grace", self.grace, 1, 7 * 86400)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            "A schedule's name is 1 to 200 letters, digits and any of '_.-', but this one is"
            f' {safe_repr(name)}. Example: @afterword.every("*/5 * * * *", name="sweep").'
        )


@dataclass(frozen=True, slots=True)
class Firing:
    """What is to be done about a schedule now.

    Args:
        occurrences: those that get a job, the earliest first.
        next_at: where the cursor goes: the next occurrence that has no job yet.
        missed: how many occurrences were missed, whether they get a job or not.
    """

    occurrences: tuple[float, ...]
    next_at: float
    missed: int


def plan_firing(schedule: Schedule, due_at: float, now: float) -> Firing:
    """Which occurrences get jobs, when the cursor is at `due_at` and the store's clock says `now`.

    An occurrence is on time if it is at most `grace` seconds old (and among the newest `limit`);
    one that is older was missed, and `schedule.missed` says what becomes of it. `due_at` counts as
    an occurrence whatever the rule says of it now: it was one when the cursor was set, and zones
    can change in between.

    >>> from afterword.schedules.recurrence import Every
    >>> hourly = Schedule(name="x", task="m:x", rule=Every(3600), missed="one")
    >>> plan_firing(hourly, due_at=3600, now=14400 + 5)
    Firing(occurrences=(10800.0, 14400.0), next_at=18000.0, missed=3)
    """
    if now < due_at:
        return Firing((), due_at, 0)
    due_at = max(due_at, 0.0)  # rules know no times before 1970
    passed = schedule.rule.passed(due_at, now, schedule.limit)
    newest = (due_at, *passed.newest)[-schedule.limit :]
    on_time = newest[bisect_left(newest, now - schedule.grace) :]
    late = newest[: len(newest) - len(on_time)]
    made_up = {"skip": (), "one": late[-1:], "all": late}[schedule.missed]
    missed = 1 + passed.count - len(on_time)
    return Firing((*made_up, *on_time), schedule.rule.next_after(now), missed)


def occurrence_id(name: str, due: float) -> str:
    """The id of the job of an occurrence: the same in each process, and a UUIDv7 like all others.

    Layout: RFC 9562, section 5.7, with a digest of name and time in place of the random bits.

    >>> occurrence_id("sweep", 1_500_000_000)
    '015d3ef7-9800-70c5-82b2-f2aff3d2e83a'
    """
    milliseconds = min(max(round(due * 1000), 0), 2**48 - 1)
    digest = hashlib.sha256(f"{milliseconds} {name}".encode()).digest()
    bits = int.from_bytes(digest[:10]) & ~(0xF << 76) & ~(0x3 << 62)
    text = f"{milliseconds << 80 | bits | 0x7 << 76 | 0x2 << 62:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
