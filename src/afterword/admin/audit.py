"""The audit, as people search in it: pages of actions, the newest first."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from afterword.admin.words import many
from afterword.model.audit import AuditRecord
from afterword.store.protocol import Store

ACTIONS = (
    *("retry", "cancel", "delete", "run", "run schedule"),
    *("pause", "resume", "limit", "pause schedule", "resume schedule"),
    *("prune", "import"),
)
READ = 5_000  # actions that are read for a page, if it shows only some
_PAGE = 500  # that are read at a time

_OF_QUEUES = ("pause", "resume", "limit")
_OF_SCHEDULES = ("pause schedule", "resume schedule")
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A selection of actions: those that match every field that is not empty.

    Args:
        name: text in the name of who acted.
        action: the action.
        target: text in the target: a part of a job's id, a queue, a schedule.
    """

    name: str = ""
    action: str = ""
    target: str = ""

    @property
    def all(self) -> bool:
        """True if it selects all actions."""
        return not (self.name or self.action or self.target)

    def matches(self, record: AuditRecord) -> bool:
        """Return True if an action is in the selection."""
        return (
            self.name.casefold() in record.name.casefold()
            and self.action in ("", record.action)
            and self.target.casefold() in record.target.casefold()
        )


@dataclass(frozen=True, slots=True)
class Acts:
    """A page of actions.

    Args:
        older: the id before which the next page begins; None: there is none.
        cut: True if the page is not full because enough actions were read.
    """

    records: list[AuditRecord]
    older: str | None = None
    cut: bool = False


def acts(store: Store, wanted: Wanted, limit: int, before: str | None = None) -> Acts:
    """Return the newest actions of a selection, from before this id."""
    size = limit + 1 if wanted.all else _PAGE
    found: list[AuditRecord] = []
    for _ in range(0, READ, size):
        page = store.audit(size, before)
        found += filter(wanted.matches, page)
        if len(found) > limit:
            return Acts(found[:limit], found[limit - 1].id)
        if len(page) < size:
            return Acts(found)
        before = page[-1].id
    return Acts(found, before, cut=True)


def every_act(
    store: Store, wanted: Wanted, limit: int, before: str | None = None
) -> Iterator[AuditRecord]:
    """Yield the newest actions of a selection, at most `limit`, however long that takes."""
    while limit > 0:
        found = acts(store, wanted, min(limit, _PAGE), before)
        yield from found.records
        limit -= len(found.records)
        before = found.older
        if before is None:
            return


def changed_in_words(record: AuditRecord) -> str:
    """Return the number of changed jobs, queues or schedules.

    >>> from datetime import datetime
    >>> now = datetime.now()
    >>> changed_in_words(
    ...     AuditRecord(id="", at=now, name="", place="", action="pause", target="mail", count=1)
    ... )
    '1 queue'
    """
    if record.action in _OF_QUEUES:
        return many(record.count, "queue")
    return many(record.count, "schedule" if record.action in _OF_SCHEDULES else "job")


def with_ids(target: str) -> Iterator[tuple[str, bool]]:
    """Split a text into its parts; True for the ids of jobs.

    >>> list(with_ids("app:send, 015d3ef7-9800-7000-8000-0000000000ff"))
    [('app:send, ', False), ('015d3ef7-9800-7000-8000-0000000000ff', True)]
    """
    end = 0
    for found in _ID.finditer(target):
        if found.start() > end:
            yield target[end : found.start()], False
        yield found[0], True
        end = found.end()
    if end < len(target):
        yield target[end:], False
