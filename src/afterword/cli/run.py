"""`afterword run`: a job from the command line."""

import json as json_text
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from afterword.arguments import plan
from afterword.cli import output
from afterword.cli.health import serves
from afterword.cli.look import one
from afterword.cli.options import Url, opened
from afterword.cli.watch import watch_until_final
from afterword.errors import ArgumentError, ArgumentValueError, ConfigurationError, PayloadTooLarge
from afterword.job import NewJob, new_id
from afterword.payload import PAYLOAD_LIMIT, measure, too_large
from afterword.store import Store
from afterword.options import check_queue
from afterword.task import options_of, resolve

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
    queue: Annotated[
        str | None,
        typer.Option(
            metavar="QUEUE",
            help="Where it waits.  [default: what the task says, with --app; else default]",
            show_default=False,
        ),
    ] = None,
    app: Annotated[
        str | None,
        typer.Option(
            "--app",
            metavar="MODULE:APP",
            help="Import this application, use its store, and check the task and its arguments.",
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Watch it until it has ended; see `watch`.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="With --wait: give up after this time."),
    ] = None,
    url: Url = None,
) -> None:
    """Add a job by the name of its task.

    Its id is printed; with --wait, how it ended.

    \b
    Examples:
      afterword run app.mail:send --json '{"to": "ada@example.org"}'
      afterword run app.mail:send --json '{"to": "ada"}' --app app.main:app
      afterword run app.reports:build --wait --timeout 60
    """
    text = unchecked(task, object_of(arguments))
    with _store_of(app, url) as store:
        text = checked(task, text) if app is not None else text
        job = NewJob(id=new_id(), task=task, arguments=text, queue=_queue_of(task, queue))
        store.add([job])
        if app is None:
            output.tell("Stored as given: without --app nothing checks the task and arguments.")
        _tell_unserved(store, job.queue)
        if not wait:
            output.write(f"{job.id}\n")
        else:
            output.tell(f"job {job.id}")
            watch_until_final(store, one(store, job.id), timeout, json=False)


@contextmanager
def _store_of(app: str | None, url: str | None) -> Iterator[Store]:
    if app is None:
        with opened(url) as store:
            yield store
        return
    from afterword.cli.discovery import find_application

    application = find_application(app)
    with opened(url, application.afterword._store) as store:
        yield store


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


def checked(task: str, text: str) -> str:
    """The text to store, as the function itself would have it.

    Raises:
        UnknownTask: the application has no such task.
        ArgumentError: the arguments do not fit it.
    """
    function = plan(resolve(task))
    try:
        args, kwargs = function.decode(text)
    except ArgumentValueError:
        raise
    except ArgumentError as error:
        reason = str(error.__cause__ or error).splitlines()
        raise ArgumentError(
            f"--json does not fit {task}{function.signature}: {' '.join(map(str.strip, reason))}"
        ) from None
    return function.encode(tuple(args), kwargs)


def _queue_of(task: str, queue: str | None) -> str:
    if queue is None:
        return options_of(task).queue
    check_queue(queue)
    return queue


def _tell_unserved(store: Store, queue: str) -> None:
    if not any(serves(worker, queue) for worker in store.workers()):
        output.tell(f"No worker serves the queue {queue} now; the job waits until one does.")
