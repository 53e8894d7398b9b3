"""`afterword check`: a probe for supervisors and load balancers; it imports no application."""

from typing import Annotated, Any

import typer

from afterword.admin.health import serves
from afterword.admin.words import many
from afterword.cli import output
from afterword.cli.exit_code import ExitCode
from afterword.cli.options import Json, Url, opened
from afterword.errors import ConfigurationError, StoreError
from afterword.store.protocol import Store


def check(
    live: Annotated[
        bool,
        typer.Option(
            "--live/--ready",
            help="Check for a worker that takes jobs, or only that the store can be used.",
            show_default="ready",
        ),
    ] = False,
    queue: Annotated[
        str | None,
        typer.Option("--queue", metavar="QUEUE", help="With --live: a worker of this queue."),
    ] = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Check the store or its workers.

    Prints one line. The exit status is 0, 1 (no worker) or 5 (no store).

    \b
    Examples:
      afterword check --ready
      afterword check --live --queue mail
    """
    if queue is not None and not live:
        raise ConfigurationError("--queue needs --live, but that is missing. Add it.")
    try:
        with opened(url) as store:
            ok, message = _live(store, queue) if live else (True, f"ready: {store.url}")
    except StoreError as error:
        _print(json, ok=False, message=str(error))
        raise typer.Exit(ExitCode.UNREACHABLE) from error
    _print(json, ok=ok, message=message)
    if not ok:
        raise typer.Exit(ExitCode.FAILED)


def _live(store: Store, queue: str | None) -> tuple[bool, str]:
    number = sum(serves(worker, queue) for worker in store.workers())
    of_queue = f" of the queue {queue}" if queue else ""
    if number:
        return True, f"live: {many(number, 'worker')}{of_queue}, {store.url}"
    return False, f"not live: no worker{of_queue} takes jobs from {store.url}"


def _print(json: bool, *, ok: bool, message: str) -> None:
    if json:
        document: dict[str, Any] = {"ok": ok, "message": message}
        output.print_document(document)
    else:
        output.show_facts([("ok" if ok else "not ok", message)])
