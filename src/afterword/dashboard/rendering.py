"""Templates, and the functions that all of them use.

Everything that a template writes is escaped. Characters that could mislead a reader (control
characters, overrides of the writing direction) are always written as escapes.
"""

import functools
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from afterword.admin.duration import show_duration, show_in_zone, show_instant, show_span
from afterword.admin.failures import first_and_last_line, last_line
from afterword.admin.health import capped
from afterword.admin.progress import in_words, progress_of, share_of
from afterword.admin.search import word
from afterword.admin.words import many
from afterword.model.job import JobRecord, JobState

TEMPLATES = Path(__file__).parent / "templates"
SHORT_ID = 8  # characters of an id that lists show: the last ones, which differ most

# Not allowed in a page: control characters, halves of surrogate pairs, and what changes the
# direction of the text around it.
MISLEADING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


@functools.cache
def environment() -> Environment:
    """Make the environment of all templates, once: to compile one takes up to 60 ms."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=readable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        capped=capped,
        duration=show_duration,
        instant=show_instant,
        in_zone=show_in_zone,
        json=functools.partial(json.dumps, indent=2, ensure_ascii=False),
        last_line=last_line,
        first_and_last_line=first_and_last_line,
        many=many,
        number="{:,}".format,
        short_id=short_id,
        span=show_span,
        time=time_element,
        function=function_of,
        module=module_of,
    )
    made.globals.update(
        kind_of=kind_of,
        word=word,
        progress_of=progress_of,
        progress_words=in_words,
        share_of=share_of,
        JobState=JobState,
    )
    return made


def readable(value: Any) -> Any:
    r"""Make text safe to read; markup of our own stays as it is.

    >>> readable("a\x1b[2Jb"), readable("\u202eabc")
    ('a\\x1b[2Jb', '\\u202eabc')
    """
    if value is None:
        return ""
    if isinstance(value, str) and not isinstance(value, Markup):
        return MISLEADING.sub(_escaped, value)
    return value


def _escaped(found: "re.Match[str]") -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode()


def time_element(at: datetime | None, now: float, *, short: bool = False) -> Markup:
    """Write an instant relative to now; the tooltip has it in UTC, and scripts add local time.

    >>> str(time_element(datetime(1970, 1, 1, tzinfo=UTC), 60.0))
    '<time datetime="1970-01-01T00:00:00+00:00" title="1970-01-01 00:00:00Z">1 min ago</time>'
    """
    if at is None:
        return Markup("")
    away = now - at.timestamp()
    text = show_span(abs(away))
    if not short:
        text = f"{text} ago" if away >= 0 else f"in {text}"
    return Markup('<time datetime="{}" title="{}"{}>{}</time>').format(
        at.astimezone(UTC).isoformat(timespec="seconds"),
        show_instant(at),
        Markup(" data-short") if short else "",
        text,
    )


def kind_of(job: JobRecord, now: float) -> str:
    """Return the state of a job, or the condition in which it is queued.

    It is one of the states, "scheduled", "retrying", "waiting" (for another job), "put back" (by
    workers that cannot run it) or "ending" (a running job that was asked to).
    """
    if job.state is JobState.RUNNING:
        return "ending" if job.cancelling is not None else "running"
    if job.state is not JobState.QUEUED:
        return state_in_words(job.state)
    if job.after:
        return "waiting"
    if job.parked_at:
        return "put back"
    if job.run_at.timestamp() > now:
        return "retrying" if job.attempt else "scheduled"
    return "queued"


def state_in_words(state: JobState) -> str:
    """Return a state as people read it.

    >>> state_in_words(JobState.HANDED_OVER)
    'handed over'
    """
    return state.value.replace("_", " ")


def short_id(job_id: str) -> str:
    """Return the last characters of an id; `afterword show` takes them, too."""
    return job_id[-SHORT_ID:]


def function_of(task: str) -> str:
    """Return the function in a task's name.

    >>> function_of("app.mail:send"), function_of("send")
    ('send', 'send')
    """
    return task.rpartition(":")[2] or task


def module_of(task: str) -> str:
    """Return the module in a task's name, with its colon.

    >>> module_of("app.mail:send"), module_of("send")
    ('app.mail:', '')
    """
    module, colon, _ = task.rpartition(":")
    return module + colon
