"""Rules of queues: paused or not, and how many jobs run at the same time."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from afterword.admin.health import Snapshot
from afterword.admin.words import many
from afterword.errors import ConfigurationError
from afterword.model.audit import Actor
from afterword.model.checks import check_queue, queue_limits
from afterword.model.records import QueueRecord
from afterword.store.noting import NOTED_WITHIN
from afterword.store.protocol import Store
from afterword.tasks.mistakes import did_you_mean

UNAWARE = (
    "Not every worker has taken note yet. One that hangs may still start jobs against the rule,"
    " until it goes on or its lease is over."
)


@dataclass(frozen=True, slots=True)
class Ruled:
    """The new rule of each queue.

    Args:
        rules: the changed field and its value, by the name of the queue.
        noted: False if a worker hangs and has not noted it yet.
    """

    rules: Mapping[str, Mapping[str, Any]]
    noted: bool


def pause(store: Store, names: Sequence[str], by: Actor, within: float = NOTED_WITHIN) -> Ruled:
    """Stop all workers from starting jobs of these queues.

    Args:
        within: seconds to wait for workers that have not taken note.

    Raises:
        ConfigurationError: a name is not one of a queue.
    """
    _check(names)
    return Ruled({name: {"paused": True} for name in names}, store.pause(names, by, within))


def resume(store: Store, names: Sequence[str], by: Actor) -> Ruled:
    """Let the workers start jobs of these queues again.

    Raises:
        ConfigurationError: a name is not one of a queue.
    """
    _check(names)
    store.resume(names, by)
    return Ruled({name: {"paused": False} for name in names}, True)


def limit(
    store: Store, name: str, most: int | None, by: Actor, within: float = NOTED_WITHIN
) -> Ruled:
    """Limit the jobs of a queue that run at the same time; None: no limit.

    Args:
        within: seconds to wait for workers that have not taken note.

    Raises:
        ConfigurationError: the name or the number is not possible.
    """
    _check([name])
    noted = store.limit(queue_limits({name: most}), by, within)
    return Ruled({name: {"concurrency": most}}, noted)


def _check(names: Sequence[str]) -> None:
    for name in names:
        check_queue(name)


def read_limit(text: str) -> int | None:
    """Read a limit as people type it.

    >>> read_limit("5"), read_limit("none")
    (5, None)

    Raises:
        ConfigurationError: it is neither a number nor "none".
    """
    if text.lower() == "none":
        return None
    if not text.isdecimal() or len(text) > 18:
        raise ConfigurationError(
            f"A limit must be a whole number of jobs, or none, but it is {text!r}."
            " Example: afterword queues limit mail 5"
        )
    if int(text) == 0:
        raise ConfigurationError(
            "A limit must be 1 or more, but it is 0. To stop a queue, pause it."
        )
    return int(text)


def rule_in_words(rule: Mapping[str, Any]) -> str:
    """Describe a changed rule.

    >>> rule_in_words({"paused": True}), rule_in_words({"concurrency": 5})
    ('paused', 'limited to 5 jobs at a time')
    """
    if "paused" in rule:
        return "paused" if rule["paused"] else "resumed"
    most = rule["concurrency"]
    return "not limited" if most is None else f"limited to {many(most, 'job')} at a time"


def unnamed(store: Store, queues: Sequence[str], known: Collection[str]) -> list[str]:
    """Return a sentence for each of these queues that nothing names; its name may be mistyped.

    Args:
        known: names of queues in the application's code.
    """
    in_code = {"default", *known}
    if in_code.issuperset(queues):
        return []  # the store need not be asked
    names = {*in_code, *(queue.name for queue in store.queues())}
    return [
        f"No task, job or rule names the queue {name!r}.{did_you_mean(name, names)}"
        for name in queues
        if name not in names
    ]


def served_by(snapshot: Snapshot, queue: QueueRecord) -> str:
    """Describe the workers that start jobs of a queue, in a few words."""
    if queue.paused:
        return "paused"
    workers = len(snapshot.serving(queue.name))
    return many(workers, "worker") if workers else "no worker"
