"""A copy of a job: run as it is, run with other arguments, or written as a command or as Python."""

import json
import keyword
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from afterword.admin.document import given_arguments, job_document
from afterword.admin.ids import one
from afterword.client.call import traced
from afterword.client.named_call import encoded, object_of
from afterword.dashboard.command import command
from afterword.dashboard.rendering import MISLEADING, short_id
from afterword.dashboard.view import Answer, Page, Redirect, View
from afterword.errors import AfterwordError, StoreError, UnknownTask
from afterword.fleets.celery import BY_NAME
from afterword.model.job import JobRecord, NewJob, new_id
from afterword.tasks.options import NO_OPTIONS

_EMPTY = "{}"


def show(view: View) -> Page:
    """Show the arguments of a job, to be changed for a new one."""
    job = one(view.store, view.path["job_id"])
    may_see = view.may("arguments")
    return _page(view, job, _indented(view.shown(job).arguments) if may_see else _EMPTY)


def run(view: View) -> Answer:
    """Add a new job with the same task and options, and the arguments that were typed, if any."""
    job = one(view.store, view.path["job_id"])
    typed = view.typed("arguments")
    try:
        copy = _copy_of(job) if typed is None else _edited(view, job, typed)
        view.add(traced(copy))
    except StoreError:
        raise
    except AfterwordError as error:
        return _page(view, job, typed or "", mistake=str(error))
    return Redirect(view.url(f"/jobs/{copy.id}", copied=job.id))


def _page(view: View, job: JobRecord, text: str, mistake: str = "") -> Page:
    return Page(
        template="copy.html",
        title=f"Edit and run {short_id(job.id)}",
        values={
            "job": job,
            "text": text,
            "rows": min(max(text.count("\n") + 2, 6), 24),
            "mistake": mistake,
            "checked": view.new_job is not None,
            "action": view.url(f"/jobs/{job.id}/copy"),
        },
    )


def _copy_of(job: JobRecord) -> NewJob:
    return NewJob(
        id=new_id(),
        task=job.task,
        arguments=job.arguments,
        queue=job.queue,
        priority=job.priority,
        tags=job.tags,
        limit_key=job.limit_key,
        options=job.options,
    )


def _edited(view: View, job: JobRecord, typed: str) -> NewJob:
    """Return the copy with other arguments, which are checked if the task is available here.

    Raises:
        AfterwordError: they do not fit.
    """
    text = encoded(object_of(typed))
    copy = replace(_copy_of(job), arguments=text)
    if view.new_job is None:
        return copy
    try:
        made = view.new_job(job.task, text, NO_OPTIONS)
    except UnknownTask:  # another application's
        return copy
    limit_key = made.limit_key or job.limit_key  # it may depend on the arguments
    return replace(copy, arguments=made.arguments, limit_key=limit_key)


# ---------------------------------------------------------------------- as text


def copies_of(job: JobRecord) -> Mapping[str, str]:
    """Write the job as a command line, as Python and as JSON, as far as that is possible."""
    job = replace(job, arguments=given_arguments(job.arguments))
    given = _object(job.arguments)
    texts = {} if given is None else {"command": _as_command(job)}
    if given is not None and _is_importable(job.task):
        texts["Python"] = as_python(job, given)
    return {**texts, "JSON": json.dumps(job_document(job), indent=2, ensure_ascii=False)}


def _is_importable(task: str) -> bool:
    """Return False for the name of a task that only a fleet has."""
    return ":" in task and not task.startswith(BY_NAME)


def _as_command(job: JobRecord) -> str:
    """Write the command that adds the same job."""
    queue = None if job.queue == "default" else job.queue
    priority = job.priority or None
    tags = [word for tag in job.tags for word in ("--tag", tag)]
    return command("run", job.task, "--json", job.arguments, *tags, queue=queue, priority=priority)


def as_python(job: JobRecord, given: Mapping[str, Any]) -> str:
    """Write the call of `add_task` that adds the same job, with its import."""
    module, _, name = job.task.partition(":")
    values = ", ".join([name, *_written(given)])
    return f"from {module} import {name.partition('.')[0]}\n\nawait afterword.add_task({values})"


def _written(given: Mapping[str, Any]) -> list[str]:
    """Write arguments as Python.

    >>> _written({"to": "ada", "class": 1}), _written({"path": "/", "*more": [1, 2]})
    (["to='ada'", "**{'class': 1}"], ["'/'", '*[1, 2]'])
    """
    stars = [f"{key[: key.count('*')]}{value!r}" for key, value in given.items() if key[:1] == "*"]
    plain = {key: value for key, value in given.items() if key[:1] not in ("*", "#")}
    if any(each[1:2] != "*" for each in stars):  # what comes before *args is given by position
        return [*map(repr, plain.values()), *stars]
    named = [f"{key}={value!r}" for key, value in plain.items() if _is_name(key)]
    others = {key: value for key, value in plain.items() if not _is_name(key)}
    return [*named, *([f"**{others!r}"] if others else []), *stars]


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _indented(text: str) -> str:
    """Write JSON on several lines; it stays as it is if a number would lose digits.

    Characters that a page does not show as they are become escapes of JSON.

    >>> print(_indented('{"to": "ada"}'))
    {
      "to": "ada"
    }
    >>> _indented('{"tiny":1e-400}')
    '{"tiny":1e-400}'
    """
    given = _object(text)
    again = [json.dumps(given, ensure_ascii=False, separators=each) for each in (None, (",", ":"))]
    shown = json.dumps(given, indent=2, ensure_ascii=False) if text in again else text
    return MISLEADING.sub(lambda found: f"\\u{ord(found[0]):04x}", shown)
