"""`afterword check`: a probe for supervisors and load balancers. Imports no application."""

from typing import Annotated, Any

import typer

from afterword.cli import output
from afterword.cli.exit_code import ExitCode
from afterword.cli.health import serves
from afterword.cli.options import Json, Url, opened
from afterword.errors import ConfigurationError, StoreError
from afterword.store.protocol import Store


def check(
    live: Annotated[
        bool,
        typer.Option(
            "--live/--ready",
            help="Whether a worker takes jobs, or only whether the store can be used.",
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
    """Say in one line whether it works.

    The exit status is 0, 1 (no worker) or 5 (no store).

    \b
    Examples:
      afterword check --ready
      afterword check --live --queue mail
    """
    if queue is not None and not live:
        raise ConfigurationError("--queue is about workers, so it needs --live. Add that.")
    try:
        with opened(url) as store:
            ok, said = _live(store, queue) if live else (True, f"ready: {store.url}")
    except StoreError as error:
        _say(json, ok=False, said=str(error))
        raise typer.Exit(ExitCode.UNREACHABLE) from error
    _say(json, ok=ok, said=said)
    if not ok:
        raise typer.Exit(ExitCode.FAILED)


def _live(store: Store, queue: str | None) -> tuple[bool, str]:
    number = sum(serves(worker, queue) for worker in store.workers())
    of_queue = f" of the queue {queue}" if queue else ""
    if number:
        return True, f"live: {output.many(number, 'worker')}{of_queue}, {store.url}"
    return False, f"not live: no worker{of_queue} takes jobs from {store.url}"


def _say(json: bool, *, ok: bool, said: str) -> None:
    if json:
        document: dict[str, Any] = {"ok": ok, "message": said}
        output.print_document(document)
    else:
        output.show_facts([("ok" if ok else "not ok", said)])
