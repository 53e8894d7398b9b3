"""`afterword run`: add a job from the command line."""

import json as json_text
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Unpack

import typer
from pydantic import ValidationError

from afterword.admin.health import serves
from afterword.admin.ids import one
from afterword.admin.running import add_by
from afterword.app import Afterword
from afterword.cli import output
from afterword.cli.options import Url, opened, parsed_span
from afterword.cli.person import this_person
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
        typer.Option(metavar="N", help="-1000 to 1000; the lowest of a queue starts first."),
    ] = None,
    unique: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="If a job with this key has not ended, print its id and add none.",
        ),
    ] = None,
    retries: Annotated[
        int | None, typer.Option(metavar="N", help="The most retries after errors.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="The most time an attempt may take.")
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

    Prints the job's id; with --wait, how it ended. Options that are not given are the task's.

    \b
    Examples:
      afterword run app.mail:send --json '{"to": "ada@example.org"}'
      afterword run app.mail:send --json '{"to": "ada"}' --app app.main:app
      afterword run app.reports:build --delay 1h --retries 3 --tag monthly
      afterword run app.reports:build --unique build --wait --wait-timeout 60
    """
    given = object_of(arguments)
    text = unchecked(task, given)
    call_options = _call_options(
        delay=delay,
        queue=queue,
        priority=priority,
        unique=unique,
        retries=retries,
        timeout=timeout,
        tags=tag or (),
    )
    with _place_of(app, url) as (store, new_job):
        job = new_job(task, text, call_options)
        added = add_by(store, job, this_person())
        _tell(store, job, added, checked=app is not None)
        if not wait:
            output.write(f"{added.id}\n")
        else:
            output.tell(f"job {added.id}")
            watch_until_final(store, one(store, added.id), wait_timeout, json=False)


def _call_options(**options: Unpack[CallOptionsDict]) -> CallOptions:
    """Make the options of the call.

    Raises:
        ConfigurationError: one of them has an invalid value.
    """
    try:
        return CallOptions(**options)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


Make = Callable[[str, str, CallOptions], NewJob]


@contextmanager
def _place_of(app: str | None, url: str | None) -> Iterator[tuple[Store, Make]]:
    """Open the store, and choose the function that makes a job for it."""
    if app is None:
        with opened(url) as store:
            yield store, _new_job
        return
    from afterword.cli.discovery import find_application

    afterword = find_application(app).afterword
    with opened(url, afterword._store) as store:
        yield store, lambda task, text, options: _job_of(afterword, task, text, options)


def object_of(text: str) -> dict[str, Any]:
    """Parse the arguments that were typed.

    Raises:
        ConfigurationError: they are not a JSON object.
    """
    try:
        if len(text) > PAYLOAD_LIMIT:
            raise PayloadTooLarge(too_large(f"{len(text):,} characters"))
        given = json_text.loads(text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, PayloadTooLarge):
            raise
        raise ConfigurationError(f"--json must be valid JSON: {error}. {_EXAMPLE}") from None
    if not isinstance(given, dict):
        kind = type(given).__name__
        raise ConfigurationError(
            f"--json must be an object, by parameter name, but it is a {kind}. {_EXAMPLE}"
        )
    return given


def unchecked(task: str, given: dict[str, Any]) -> str:
    """Encode arguments that are not checked against a function; the limits still apply.

    Raises:
        ConfigurationError: the name of the task is invalid.
        ArgumentValueError: JSON cannot hold a value, or the arguments are too large.
    """
    module, _, name = task.partition(":")
    if not module or not name or not task.isprintable() or " " in task:
        raise ConfigurationError(
            f"A task must be named as module:function, but this one is {task!r}. {_EXAMPLE}"
        )
    measure(given, "--json")
    text = json_text.dumps(given, ensure_ascii=False, separators=(",", ":"))
    size = len(text.encode())
    if size > PAYLOAD_LIMIT:
        raise PayloadTooLarge(too_large(f"{size:,} bytes"))
    return text


def _new_job(task: str, text: str, options: CallOptions) -> NewJob:
    """Make a job of a task whose code is unknown here."""
    return NewJob(
        id=new_id(),
        task=task,
        arguments=text,
        queue=options.queue or "default",
        priority=options.priority or 0,
        run_at=options.start,
        tags=options.tags,
        unique_key=options.unique_key,
        options=JobOptions(retries=options.retries, timeout=options.timeout).text(),
    )


def _job_of(afterword: Afterword, task: str, text: str, options: CallOptions) -> NewJob:
    """Make the job as the application itself would make it.

    Raises:
        UnknownTask: the application has no such task.
        ArgumentError: the arguments do not fit it.
    """
    func = afterword.injection.unwrap(resolve(task))
    args, kwargs = _arguments_of(task, afterword, func, text)
    return afterword.new_job(Call(func, tuple(args), kwargs, options))


def _arguments_of(
    task: str, afterword: Afterword, func: Callable[..., Any], text: str
) -> tuple[Sequence[Any], dict[str, Any]]:
    """Decode the arguments as a worker would; injected parameters are not arguments."""
    function = plan(func, afterword.injection.of_task(task, func).names)
    try:
        return function.decode(text)
    except ArgumentValueError:
        raise
    except ArgumentError as error:
        raise ArgumentError(
            f"--json does not fit {task}{function.signature}: {_reason(error)}"
        ) from None


def _reason(error: ArgumentError) -> str:
    """Say on one line which arguments are wrong, and why."""
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        found = cause.errors(include_url=False, include_context=False, include_input=False)
        return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found)
    return " ".join(map(str.strip, str(cause or error).splitlines()))


def _tell(store: Store, job: NewJob, added: Added, *, checked: bool) -> None:
    """Tell the user why a job was not added, was not checked, or will wait."""
    if not added.added:
        other = ", with other arguments" if added.conflict else ""
        output.tell(f"Not added: a job with this unique key has not ended{other}.")
        return
    if not checked:
        output.tell("Stored as given: without --app, task and arguments are not checked.")
    if not any(serves(worker, job.queue) for worker in store.workers()):
        output.tell(f"No worker serves the queue {job.queue} now; the job waits until one does.")
