"""`afterword run`: a job from the command line."""

import json as json_text
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Unpack

import typer

from afterword.app import Afterword
from afterword.cli import output
from afterword.cli.health import serves
from afterword.cli.options import Url, opened, parsed_span
from afterword.cli.pages import one
from afterword.cli.watch import watch_until_final
from afterword.client.call import Call
from afterword.errors import ArgumentError, ArgumentValueError, ConfigurationError, PayloadTooLarge
from afterword.model.job import JobOptions, NewJob, new_id
from afterword.store.protocol import Added, Store
from afterword.tasks.arguments import plan
from afterword.tasks.options import CallOptions, CallOptionsDict
from afterword.tasks.payload import PAYLOAD_LIMIT, measure, too_large
from afterword.tasks.registry import resolve

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
            " Without it, the queue, the tags and the limit of the task are not known either.",
        ),
    ] = None,
    delay: Annotated[
        float | None,
        typer.Option(
            metavar="SPAN", parser=parsed_span, help="Do not start it before: 90s, 15m, 1h30m."
        ),
    ] = None,
    queue: Annotated[str | None, typer.Option(metavar="QUEUE", help="Where it waits.")] = None,
    priority: Annotated[
        int | None,
        typer.Option(metavar="N", help="-1000 to 1000; the lowest of a queue starts first."),
    ] = None,
    unique: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="Add none while a job with this key has not ended; print its id."
        ),
    ] = None,
    retries: Annotated[
        int | None, typer.Option(metavar="N", help="How often it is tried again after an error.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="How long an attempt may take.")
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
        typer.Option(min=0, metavar="SECONDS", help="With --wait: give up after this time."),
    ] = None,
    url: Url = None,
) -> None:
    """Add a job by the name of its task.

    Its id is printed; with --wait, how it ended. What is not said of it stays as its task has it.

    \b
    Examples:
      afterword run app.mail:send --json '{"to": "ada@example.org"}'
      afterword run app.mail:send --json '{"to": "ada"}' --app app.main:app
      afterword run app.reports:build --delay 1h --retries 3 --tag monthly
      afterword run app.reports:build --unique build --wait --wait-timeout 60
    """
    given = object_of(arguments)
    text = unchecked(task, given)
    said = _said(
        delay=delay,
        queue=queue,
        priority=priority,
        unique=unique,
        retries=retries,
        timeout=timeout,
        tags=tag or (),
    )
    with _place_of(app, url) as (store, new_job):
        job = new_job(task, text, said)
        (added,) = store.add([job])
        _tell(store, job, added, checked=app is not None)
        if not wait:
            output.write(f"{added.id}\n")
        else:
            output.tell(f"job {added.id}")
            watch_until_final(store, one(store, added.id), wait_timeout, json=False)


def _said(**options: Unpack[CallOptionsDict]) -> CallOptions:
    """What was said of the call.

    Raises:
        ConfigurationError: one of the options cannot be.
    """
    try:
        return CallOptions(**options)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


Make = Callable[[str, str, CallOptions], NewJob]


@contextmanager
def _place_of(app: str | None, url: str | None) -> Iterator[tuple[Store, Make]]:
    """The store, and what makes a job for it."""
    if app is None:
        with opened(url) as store:
            yield store, _new_job
        return
    from afterword.cli.discovery import find_application

    afterword = find_application(app).afterword
    with opened(url, afterword._store) as store:
        yield store, lambda task, text, said: _job_of(afterword, task, text, said)


def object_of(text: str) -> dict[str, Any]:
    """The arguments that were typed.

    Raises:
        ConfigurationError: they are no JSON object.
    """
    try:
        if len(text) > PAYLOAD_LIMIT:
            raise PayloadTooLarge(too_large(f"{len(text):,} characters"))
        given = json_text.loads(text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, PayloadTooLarge):
            raise
        raise ConfigurationError(f"--json must be JSON, but: {error}. {_EXAMPLE}") from None
    if not isinstance(given, dict):
        kind = type(given).__name__
        raise ConfigurationError(
            f"--json must be an object, by parameter name, not a {kind}. {_EXAMPLE}"
        )
    return given


def unchecked(task: str, given: dict[str, Any]) -> str:
    """The text to store when no function can be asked; the limits hold all the same.

    Raises:
        ConfigurationError: the task cannot be a task's name.
        ArgumentValueError: a value that JSON cannot hold, or too much of it.
    """
    module, _, name = task.partition(":")
    if not module or not name or not task.isprintable() or " " in task:
        raise ConfigurationError(f"A task is called module:function, not {task!r}. {_EXAMPLE}")
    measure(given, "--json")
    text = json_text.dumps(given, ensure_ascii=False, separators=(",", ":"))
    size = len(text.encode())
    if size > PAYLOAD_LIMIT:
        raise PayloadTooLarge(too_large(f"{size:,} bytes"))
    return text


def _new_job(task: str, text: str, said: CallOptions) -> NewJob:
    """A job of a task of which nothing is known here."""
    return NewJob(
        id=new_id(),
        task=task,
        arguments=text,
        queue=said.queue or "default",
        priority=said.priority or 0,
        run_at=said.start,
        tags=said.tags,
        unique_key=said.unique_key,
        options=JobOptions(retries=said.retries, timeout=said.timeout).text(),
    )


def _job_of(afterword: Afterword, task: str, text: str, said: CallOptions) -> NewJob:
    """The job that the application itself would have made of this call.

    Raises:
        UnknownTask: the application has no such task.
        ArgumentError: the arguments do not fit it.
    """
    func = afterword.injection.unwrap(resolve(task))
    args, kwargs = _arguments_of(task, afterword, func, text)
    return afterword.new_job(Call(func, tuple(args), kwargs, said))


def _arguments_of(
    task: str, afterword: Afterword, func: Callable[..., Any], text: str
) -> tuple[Sequence[Any], dict[str, Any]]:
    """The arguments as a worker would read them; what is injected there is none."""
    function = plan(func, afterword.injection.of_task(task, func).names)
    try:
        return function.decode(text)
    except ArgumentValueError:
        raise
    except ArgumentError as error:
        reason = str(error.__cause__ or error).splitlines()
        raise ArgumentError(
            f"--json does not fit {task}{function.signature}: {' '.join(map(str.strip, reason))}"
        ) from None


def _tell(store: Store, job: NewJob, added: Added, *, checked: bool) -> None:
    """What had better be known of a job that was added, or of the one that is there instead."""
    if not added.added:
        other = ", with other arguments" if added.conflict else ""
        output.tell(f"Not added: a job with this unique key has not ended{other}.")
        return
    if not checked:
        output.tell("Stored as given: without --app nothing checks the task and arguments.")
    if not any(serves(worker, job.queue) for worker in store.workers()):
        output.tell(f"No worker serves the queue {job.queue} now; the job waits until one does.")
