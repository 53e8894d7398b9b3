"""The store that a dashboard shows, and functions of its application."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from afterword.model.audit import Actor
from afterword.model.clock import Clock
from afterword.model.job import NewJob
from afterword.store.protocol import Added, Store
from afterword.tasks.options import CallOptions
from afterword.tasks.parameters import Parameters

NewJobOf = Callable[[str, str, CallOptions], NewJob]
ParametersOf = Callable[[str], Parameters | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The store behind a dashboard.

    Args:
        store: returns the store, opened if necessary; it may block.
        add: stores a new job for a person; it may block.
        clock: the store's time.
        settings: returns the settings of the application's `Afterword`, by their names.
        new_job: makes the job of a task, of its arguments as JSON and of the options of the call,
            as `add_task` would. None: there is no application, so only the rules for every task
            are checked.
        parameters: returns the parameters of a task; None if the application has no such task.
        tasks: returns the names of the application's tasks; None: there is no application.
        trace_url: the page of a trace, with "{trace_id}" in it; "" if there is none.
    """

    store: Callable[[], Store]
    add: Callable[[NewJob, Actor], Added]
    clock: Clock
    settings: Callable[[], Mapping[str, str]] = dict
    new_job: NewJobOf | None = None
    parameters: ParametersOf = lambda task: None
    tasks: Callable[[], Collection[str]] | None = None
    trace_url: str = ""
