"""A new job of a task: its arguments and options are typed, and its type hints are shown."""

import json
from collections.abc import Mapping

from afterword.admin.duration import parse_span
from afterword.admin.running import typed_options, unchecked_job
from afterword.client.named_call import object_of
from afterword.dashboard.command import command
from afterword.dashboard.view import Answer, Page, Redirect, View
from afterword.errors import AfterwordError, ConfigurationError, StoreError, UnknownTask
from afterword.model.job import NewJob
from afterword.tasks.options import CallOptions

# The options of `afterword run`, each with a hint.
OPTIONS = {
    "queue": "that of the task",
    "delay": "15m",
    "priority": "-1000 to 1000",
    "unique": "a key",
    "retries": "that of the task",
    "timeout": "seconds",
    "tags": "gift, customer:42",
}


def show(view: View) -> Page:
    """Show the form of a task."""
    known = view.parameters(view.asked("task"))
    return _page(view, json.dumps(known.example if known else {}, indent=2, ensure_ascii=False))


def run(view: View) -> Answer:
    """Add a job with the arguments and the options that were typed."""
    typed = view.typed("arguments") or "{}"
    try:
        added = view.add(_job(view, typed))
    except StoreError:
        raise
    except AfterwordError as error:
        return _page(view, typed, mistake=str(error))
    return Redirect(view.url(f"/jobs/{added.id}", run="added" if added.added else "met"))


def _job(view: View, typed: str) -> NewJob:
    """Return the job; its arguments are checked if its task is available here.

    Raises:
        AfterwordError: an argument or an option does not fit.
    """
    task, options = view.asked("task"), _options(view)
    job = unchecked_job(task, typed, options)
    if view.new_job is None:
        return job
    try:
        return view.new_job(task, job.arguments, options)
    except UnknownTask:  # another application's
        return job


def _options(view: View) -> CallOptions:
    given = _given(view)
    try:
        delay = parse_span(given["delay"]) if "delay" in given else None
    except ValueError as error:
        raise ConfigurationError(f"delay is not understood. {error}") from None
    return typed_options(
        queue=given.get("queue"),
        delay=delay,
        priority=_number(given.get("priority")),  # type: ignore[arg-type]  # it is checked
        unique=given.get("unique"),
        retries=_number(given.get("retries")),  # type: ignore[arg-type]
        timeout=_number(given.get("timeout")),  # type: ignore[arg-type]
        tags=_tags(given),
    )


def _given(view: View) -> Mapping[str, str]:
    """Return the options that were typed."""
    texts = {name: view.asked(name).strip() for name in OPTIONS}
    return {name: text for name, text in texts.items() if text}


def _tags(given: Mapping[str, str]) -> list[str]:
    return [tag for each in given.get("tags", "").split(",") if (tag := each.strip())]


def _number(text: str | None) -> float | str | None:
    """Return a number as it was typed; other text stays as it is, for the message about it."""
    for kind in (int, float):
        try:
            return None if text is None else kind(text)
        except ValueError:
            continue
    return text


def _page(view: View, text: str, mistake: str = "") -> Page:
    task, given = view.asked("task"), _given(view)
    known = view.parameters(task)
    options = {name: value for name, value in given.items() if name != "tags"}
    tags = [word for tag in _tags(given) for word in ("--tag", tag)]
    return Page(
        template="run.html",
        title=f"Run {task}",
        values={
            "task": task,
            "declared": known.declared if known else (),
            "checked": known is not None,
            "text": text,
            "rows": min(max(text.count("\n") + 2, 6), 24),
            "mistake": mistake,
            "options": OPTIONS,
            "given": given,
            "command": command("run", task, "--json", _on_one_line(text), *tags, **options),
        },
    )


def _on_one_line(text: str) -> str:
    """Write JSON for a command line; text that is not JSON stays as it is."""
    try:
        return json.dumps(object_of(text), ensure_ascii=False)
    except AfterwordError:
        return text
