"""`afterword run`: add a job from the command line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from afterword.admin.health import COUNT_LIMIT, serves
from afterword.admin.ids import one
from afterword.admin.running import add_by, typed_options, unchecked_job
from afterword.admin.tasks import look
from afterword.app import Afterword
from afterword.cli import output
from afterword.cli.options import Url, clock, opened_of, parsed_span
from afterword.cli.parsers import seconds, whole
from afterword.cli.person import this_person
from afterword.cli.watch import watch_until_final
from afterword.client.named_call import checked
from afterword.errors import ConfigurationError, UnknownTask
from afterword.model.job import NewJob
from afterword.store.protocol import Added, Store
from afterword.tasks.mistakes import did_you_mean
from afterword.tasks.options import CallOptions
from afterword.tasks.registry import names_at_hand

_RECENTLY = 7 * 86_400.0  # seconds
_EXAMPLE = 'Example: afterword run app.mail:send --json \'{"to": "ada@example.org"}\''


def run(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="The task, as `afterword tasks` lists it.")
    ],
    arguments: Annotated[
        str,
        typer.Option(
            "--json", metavar="JSON", help="Its arguments: a JSON object, by parameter name."
        ),
    ] = "{}",
    app: Annotated[
        str | None,
        typer.Option(
            "--app",
            metavar="MODULE:APP",
            help="Import this application, use its store, and check the task and its arguments."
            " Without it, the queue, the tags and the limit of the task are unknown.",
        ),
    ] = None,
    delay: Annotated[
        float | None,
        typer.Option(
            metavar="SPAN", parser=parsed_span, help="Wait before it may start: 90s, 15m, 1h30m."
        ),
    ] = None,
    queue: Annotated[str | None, typer.Option(metavar="QUEUE", help="Its queue.")] = None,
    priority: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole("N"),
            help="Its priority, -1000 to 1000; the lowest of a queue starts first.",
        ),
    ] = None,
    unique: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="If a job with this key has not ended, print its id and add none.",
        ),
    ] = None,
    retries: Annotated[
        int | None,
        typer.Option(metavar="N", parser=whole("N"), help="How often to retry it after errors."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", parser=seconds(), help="How long an attempt may take."),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="TAG", help="A word to find it by; may be given several times."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Watch it until it has ended; see `watch`.")
    ] = False,
    wait_timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", parser=seconds(), help="With --wait: give up after this time."
        ),
    ] = None,
    url: Url = None,
) -> None:
    """Add a job by the name of its task.

    Prints the job's id; with --wait, how it ended. Options that are not given are the task's.

    \b
    Examples:
      afterword run app.mail:send --json '{"to": "ada@example.org"}'
      afterword run app.mail:send --json '{"to": "ada"}' --app app.main:app
      afterword run app.reports:build --delay 1h --retries 3 --tag monthly
      afterword run app.reports:build --unique build --wait --wait-timeout 60
    """
    options = typed_options(
        delay=delay,
        queue=queue,
        priority=priority,
        unique=unique,
        retries=retries,
        timeout=timeout,
        tags=tag or (),
    )
    with _example():
        stored_as_given = unchecked_job(task, arguments, options, "--json")
    with opened_of(app, url) as (store, afterword):
        job = stored_as_given
        if afterword is not None:
            job = _checked_job(afterword, task, job.arguments, options)
        meant = "" if app else _like(store, task)
        added = add_by(store, job, this_person())
        _tell(store, job, added, checked=app is not None, meant=meant)
        if not wait:
            output.write(f"{added.id}\n")
        else:
            output.tell(f"job {added.id}")
            watch_until_final(store, one(store, added.id), wait_timeout, json=False)


@contextmanager
def _example() -> Iterator[None]:
    """Add an example to the message about a mistake."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{error} {_EXAMPLE}") from None


def _checked_job(afterword: Afterword, task: str, text: str, options: CallOptions) -> NewJob:
    try:
        return checked(task, text, afterword.injection, options, "--json")
    except UnknownTask as error:
        meant = did_you_mean(task, names_at_hand())
        raise UnknownTask(f"{error}.{meant}" if meant else str(error)) from None


def _like(store: Store, task: str) -> str:
    """Ask if another task was meant, if the store has no recent jobs of this one."""
    now = clock.now()
    names = {each.name for each in look(store, now - _RECENTLY, now, limit=COUNT_LIMIT)}
    return "" if task in names else did_you_mean(task, names)


def _tell(store: Store, job: NewJob, added: Added, *, checked: bool, meant: str) -> None:
    """Tell the user why a job was not added, was not checked, or will wait."""
    if not added.added:
        other = ", with other arguments" if added.conflict else ""
        output.tell(f"Not added: a job with this unique key has not ended{other}.")
        return
    if not checked:
        output.tell(f"Stored as given: without --app, task and arguments are not checked.{meant}")
    if not any(serves(worker, job.queue) for worker in store.workers()):
        output.tell(f"No worker serves the queue {job.queue} now; the job waits until one does.")
