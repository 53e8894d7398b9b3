"""The columns of a job: the one source from which the statements of both stores are filled in.

A statement names a group of columns in braces instead of listing them:

    {kept}        id, task, ...
    {job.kept}    job.id, job.task, ...
    {:kept}       :id, :task, ...
    {given.kept}  id, CAST(arguments AS json), ...: a given row, as it is stored
    {shown}       id, CAST(arguments AS text), ...: as `record` reads them
"""

import re
from collections.abc import Mapping

# The values with which a job was added; they never change.
SAID = (
    *("id", "task", "arguments", "queue", "priority", "on_failure", "request_id"),
    *("tags", "limit_key", "options"),
)
# The values that move unchanged between the jobs and the history. Each statement sets the others:
# state, lost, error, result, started_at and finished_at.
KEPT = (
    *SAID,
    *("run_at", "attempt", "interrupted", "worker", "after", "unique_key"),
    *("failures", "progress", "created_at"),
)
# The values that people see, for jobs and history. After them a statement selects cancelling,
# result, the times, and since when the job is parked.
SHOWN = (
    *("id", "task", "arguments", "queue", "priority", "state", "attempt", "lost", "interrupted"),
    *("worker", "after", "on_failure", "request_id", "error"),
    *("tags", "unique_key", "limit_key", "options", "failures", "progress"),
)
COLUMNS = (*SHOWN, "cancelling", "result")

_GROUPS = {"said": SAID, "kept": KEPT, "shown": SHOWN}
_PLACE = re.compile(r"\{(:|\w+\.)?(said|kept|shown)\}")


def filled(text: str, shown: Mapping[str, str], given: Mapping[str, str]) -> str:
    """Return a statement with its columns filled in.

    Args:
        shown: the expressions by which the store selects columns that it stores in another form.
        given: the expressions by which it stores them.

    >>> filled("SELECT {said} FROM job", {}, {}).partition(", arguments")[0]
    'SELECT id, task'
    >>> filled("VALUES ({:said})", {}, {}).partition(", :arguments")[0]
    'VALUES (:id, :task'
    """

    def fill(place: re.Match[str]) -> str:
        prefix, names = place[1] or "", _GROUPS[place[2]]
        if place[2] == "shown" or prefix == "given.":
            forms = given if prefix else shown
            return ", ".join(forms.get(name, name) for name in names)
        return ", ".join(prefix + name for name in names)

    return _PLACE.sub(fill, text)
