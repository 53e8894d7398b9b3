"""The queues, one queue, and changes of its rule."""

from collections.abc import Sequence

from afterword.admin import queues as rules
from afterword.admin.health import COUNT_LIMIT, Snapshot
from afterword.admin.queues import UNAWARE, Ruled, read_limit
from afterword.dashboard.command import command
from afterword.dashboard.view import Page, Redirect, View
from afterword.model.checks import check_queue
from afterword.model.records import QueueRecord

_QUEUES = 200  # that are listed at a time
_WORKERS = 50  # that are listed for one queue
_WITHIN = 3.0  # seconds for which a change waits for workers; they look twice a second


def show(view: View) -> Page:
    """Show the queues that have unfinished jobs or a rule."""
    snapshot = _look(view, view.recent.get("queues", lambda: view.store.queues(COUNT_LIMIT + 1)))
    after = view.asked("after")
    behind = [queue for queue in snapshot.queues if queue.name > after]
    queues = behind[:_QUEUES]
    return Page(
        template="queues.html",
        title="Queues",
        live=True,
        values={
            "snapshot": snapshot,
            "queues": queues,
            "older": view.url("/queues", after=queues[-1].name) if len(behind) > _QUEUES else "",
            "after": after,
            "command": command("queues"),
        },
    )


def show_one(view: View) -> Page:
    """Show a queue: its numbers, its rule and how to change it, and the workers that serve it."""
    name = _name(view)
    snapshot = _look(view, view.store.queues(COUNT_LIMIT + 1))  # what was changed just now is shown
    known = next((each for each in snapshot.queues if each.name == name), None)
    serving = snapshot.serving(name)
    return Page(
        template="queue.html",
        title=f"Queue {name}",
        values={
            "snapshot": snapshot,
            "queue": known or _unused(name),
            "known": known is not None,
            "workers": serving[:_WORKERS],
            "more_workers": max(0, len(serving) - _WORKERS),
            "did": _did(view),
            "pause_command": command("queues", "pause", name),
            "resume_command": command("queues", "resume", name),
            "limit_command": command(
                "queues", "limit", name, str(known.concurrency or 5) if known else "5"
            ),
        },
    )


def _look(view: View, queues: Sequence[QueueRecord]) -> Snapshot:
    return Snapshot(counts={}, queues=queues, workers=view.store.workers(), now=view.now)


def _unused(name: str) -> QueueRecord:
    return QueueRecord(name=name, due=0, scheduled=0, waiting=0, running=0, oldest_at=None)


def _name(view: View) -> str:
    """Return the name of the queue that is asked for.

    Raises:
        ConfigurationError: it is not a name of a queue.
    """
    name = view.asked("name")
    check_queue(name)
    return name


def _did(view: View) -> list[str]:
    """Return sentences about a change that was made, from the URL of its redirect."""
    done = {"pause": "Paused.", "resume": "Resumed.", "limit": "The limit is set."}
    sentences = [done[view.asked("did")]] if view.asked("did") in done else []
    return [*sentences, UNAWARE] if sentences and view.asked("unaware") else sentences


# ---------------------------------------------------------------------- changes


def pause(view: View) -> Redirect:
    """Stop workers from starting jobs of a queue."""
    return _changed(view, "pause", rules.pause(view.store, [_name(view)], view.by, _WITHIN))


def resume(view: View) -> Redirect:
    """Let the workers start jobs of a queue again."""
    return _changed(view, "resume", rules.resume(view.store, [_name(view)], view.by))


def limit(view: View) -> Redirect:
    """Limit the jobs of a queue that run at the same time; without a number, remove the limit."""
    most = read_limit(view.asked("limit").strip() or "none")
    return _changed(view, "limit", rules.limit(view.store, _name(view), most, view.by, _WITHIN))


def _changed(view: View, did: str, ruled: Ruled) -> Redirect:
    (name,) = ruled.rules
    return Redirect(view.url("/queues/queue", name=name, did=did, unaware=not ruled.noted))
