"""The argument and the results of a screen's function.

A screen is a plain function: it takes a `View`, queries the store, and returns a `Page`. It runs in
a thread, so it may block. It gets jobs through `View.shown` only, which hides the values that this
person may not see.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode

from afterword.admin.document import given_arguments
from afterword.dashboard.permissions import Grant
from afterword.dashboard.recent import Recent
from afterword.dashboard.source import NewJobOf, ParametersOf
from afterword.errors import AfterwordError, ConfigurationError
from afterword.model.audit import Actor
from afterword.model.job import JobRecord, NewJob
from afterword.store.protocol import Added, Store
from afterword.tasks.payload import PAYLOAD_LIMIT

HIDDEN = '"hidden: the permission to see arguments is missing"'  # as JSON
_LONGEST = 4_000  # characters of a parameter; searches have at most as many

Fields = Mapping[str, Sequence[str]]  # the values of each parameter


def fields_of(pairs: Iterable[tuple[str, str]]) -> Fields:
    """Collect the values of each parameter."""
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


class Forbidden(AfterwordError, PermissionError):
    """This person may not do this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A screen to be rendered.

    Args:
        template: a file of `templates/`.
        title: its name in the browser.
        values: the template's variables, beside `view`.
        live: True if an open page polls for changes.
        live_url: the URL that it polls; "": its own.
        status: the status of the response.
    """

    template: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)
    live: bool = False
    live_url: str = ""
    status: int = 200


@dataclass(frozen=True, slots=True)
class Redirect:
    """The answer to a change: the screen to go to, as a path with its query."""

    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file, made while it is sent."""

    chunks: Iterable[str]
    media_type: str
    name: str


Answer = Page | Redirect | Download


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One request.

    Args:
        store: open; its verbs for people may be called.
        now: seconds since 1970, by the store's clock.
        by: the person who sends it, for the audit.
        tenant: the tag of the jobs that the person may see; None: all jobs. `store` has no others.
        granted: the permissions of this person.
        root: the path under which the dashboard is mounted.
        screen: the name of the route.
        here: the URL of this request, as a path with its query.
        path: the variables of the route's path.
        query: the parameters in the URL.
        form: the fields of a form that was sent.
        add: stores a new job for this person.
        new_job, parameters, tasks, trace_url: see `Source`.
        recent: a cache of slow answers.
        settings: those of the application's `Afterword`, by their names.
        poll: True if an open page polls for changes.
    """

    store: Store
    now: float
    by: Actor
    granted: Grant
    root: str
    screen: str
    here: str
    path: Mapping[str, str]
    query: Fields
    form: Fields
    add: Callable[[NewJob], Added]
    new_job: NewJobOf | None
    parameters: ParametersOf
    tasks: Callable[[], Collection[str]] | None
    trace_url: str
    tenant: str | None
    recent: Recent
    settings: Callable[[], Mapping[str, str]] = dict
    poll: bool = False

    def may(self, permission: str) -> bool:
        """Return True if this person has the permission."""
        return permission in self.granted

    def require(self, permission: str) -> None:
        """Raise without this permission.

        Raises:
            Forbidden: it is missing.
        """
        if not self.may(permission):
            raise Forbidden(f"You have no permission to do this: {permission}.")

    def url(self, path: str, /, **query: object) -> str:
        """Return the path of a screen; parameters that are None or empty are left out."""
        pairs = [
            (name, value) for name, value in query.items() if value not in (None, False, "", [], ())
        ]
        text = urlencode(pairs, doseq=True, quote_via=quote, safe=":/,")
        return self.root + quote(path, safe="/") + (f"?{text}" if text else "")

    def asked(self, name: str) -> str:
        """Return a parameter of the URL or the form; "" if it was not given.

        Raises:
            ConfigurationError: it is too long, or not text.
        """
        values = self.asked_list(name)
        return values[-1] if values else ""

    def asked_list(self, name: str) -> list[str]:
        """Return all values of a parameter; see `asked`."""
        values = [*self.query.get(name, ()), *self.form.get(name, ())]
        for value in values:
            _require_text(name, value, _LONGEST)
        return values

    def typed(self, name: str) -> str | None:
        """Return a long text of the form; None if it was not sent.

        Raises:
            ConfigurationError: it is not text.
        """
        value = next(iter(self.form.get(name, ())), None)
        if value is not None:
            _require_text(name, value, PAYLOAD_LIMIT)
        return value

    def shown(self, job: JobRecord) -> JobRecord:
        """Return a job as this person may see it. Every screen uses this."""
        if self.may("arguments"):
            return replace(job, arguments=given_arguments(job.arguments))
        return replace(job, arguments=HIDDEN, result=HIDDEN if job.result else None)

    def all_shown(self, jobs: Sequence[JobRecord]) -> list[JobRecord]:
        """Return jobs as `shown` does."""
        return [self.shown(job) for job in jobs]


def _require_text(name: str, value: str, longest: int) -> None:
    if len(value) > longest:
        raise ConfigurationError(
            f"{name} must have at most {longest:,} characters, but it has {len(value):,}."
        )
    if "\0" in value or not _is_utf8(value):
        raise ConfigurationError(f"{name} must be text in UTF-8 without the character NUL.")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
