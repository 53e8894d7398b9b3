"""Options that many commands share: the store, the filter of jobs, the format."""

import os
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from afterword.admin.duration import parse_since, parse_span
from afterword.admin.search import Search, parse
from afterword.app import DEFAULT_URL, Afterword
from afterword.cli.parsers import one_of
from afterword.errors import ConfigurationError
from afterword.model.clock import Clock
from afterword.model.job import JobState
from afterword.store.opening import open_store
from afterword.store.protocol import Store
from afterword.store.url import masked

clock = Clock()

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The store.  [default: AFTERWORD_URL, or url in [tool.afterword] of pyproject.toml,"
        f" or {DEFAULT_URL}]",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON: one document, or one per line.")]


def _typed(parse: Callable[[str], float]) -> Callable[[str], float]:
    """Turn the ValueError of a parser into an error of the command line."""

    def parsed(text: str) -> float:
        try:
            return parse(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return parsed


parsed_span = _typed(parse_span)
parsed_since = _typed(lambda text: parse_since(text, clock.now()))

State = Annotated[
    JobState | None,
    typer.Option(
        "--state",
        metavar="STATE",
        parser=one_of("STATE", JobState),
        autocompletion=lambda: [*JobState],
        help=f"Only jobs in this state: {', '.join(JobState)}.",
    ),
]
Task = Annotated[str | None, typer.Option("--task", metavar="TASK", help="Only jobs of this task.")]
Queue = Annotated[
    str | None, typer.Option("--queue", metavar="QUEUE", help="Only jobs in this queue.")
]
Tag = Annotated[str | None, typer.Option("--tag", metavar="TAG", help="Only jobs with this tag.")]
Error = Annotated[
    str | None,
    typer.Option("--error", metavar="TEXT", help="Only jobs whose error contains this text."),
]
Since = Annotated[
    float | None,
    typer.Option(
        "--since",
        metavar="WHEN",
        parser=parsed_since,
        help="Only jobs added since: 90s, 1h, 7d, or an ISO time.",
    ),
]
SearchText = Annotated[
    str | None,
    typer.Option(
        "--search",
        metavar="TEXT",
        help="Only jobs that match a search, as in the dashboard: 'state:failed arg.user_id:7'.",
    ),
]
Request = Annotated[
    str | None, typer.Option("--request", metavar="ID", help="Only jobs of this request.")
]
Before = Annotated[
    str | None,
    typer.Option("--before", metavar="ID", help="Only jobs older than this one: the next page."),
]


def wanted(
    state: JobState | None = None,
    task: str | None = None,
    queue: str | None = None,
    tag: str | None = None,
    error: str | None = None,
    since: float | None = None,
    request: str | None = None,
    search: str | None = None,
) -> Search:
    """Make a search from these options.

    Raises:
        ConfigurationError: `--search` is not understood, or another option repeats a part of it.
    """
    texts = {"--task": task, "--queue": queue, "--tag": tag, "--error": error, "--search": search}
    for option, text in texts.items():
        require_utf8(option, text)
    given: dict[str, Any] = {
        "state": state,
        "task": task,
        "queue": queue,
        "tag": tag,
        "error": error,
        "since": since,
        "request_id": request,
    }
    parsed = parse(search or "", clock.now())
    for name, value in given.items():
        repeated = parsed.error if name == "error" else getattr(parsed.filter, name)
        if value is not None and repeated is not None:
            raise ConfigurationError(
                f"--search must not repeat another option, but both have a {name}: leave one out."
            )
    chosen = {name: value for name, value in given.items() if value is not None}
    return replace(parsed, filter=replace(parsed.filter, **chosen))


def require_utf8(name: str, text: str | None) -> None:
    """Refuse text from the shell that is not UTF-8, because no store can hold it.

    Raises:
        ConfigurationError: it is not UTF-8.
    """
    try:
        (text or "").encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"{name} must be text in UTF-8, but it is {text!r}.") from None


# ---------------------------------------------------------------------- the store


@contextmanager
def opened(url: str | None, usual: Store | None = None) -> Iterator[Store]:
    """Open the command's store as it is; nothing is created or migrated.

    Args:
        usual: the store to use, still closed, if no URL is given.
    """
    store = chosen(url, usual)
    store.open(create=False)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def opened_of(app: str | None, url: str | None) -> Iterator[tuple[Store, Afterword | None]]:
    """Import the application, if one is named, and open its store, unless a URL is given."""
    if app is None:
        with opened(url) as store:
            yield store, None
        return
    from afterword.cli.discovery import find_application

    afterword = find_application(app).afterword
    with opened(url, afterword.runtime.store) as store:
        yield store, afterword


def chosen(url: str | None, usual: Store | None = None) -> Store:
    """Return the command's store, still closed; see `opened`."""
    return usual if usual and not url else open_store(store_url(url))


def store_url(url: str | None) -> str:
    """Return the URL of the store: as given, or from the environment, the project, the default."""
    return url or os.environ.get("AFTERWORD_URL") or _project_url() or DEFAULT_URL


def _project_url() -> str | None:
    file = Path("pyproject.toml")
    try:
        settings: Any = tomllib.loads(file.read_text(encoding="utf-8"))
        url = settings.get("tool", {}).get("afterword", {}).get("url")
    except OSError:
        return None
    except (ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"pyproject.toml cannot be read ({error}). Correct it, or pass --url."
        ) from error
    if url is not None and not isinstance(url, str):
        raise ConfigurationError(
            f"url in [tool.afterword] of pyproject.toml must be text, but it is {masked(url)}."
            ' Example: url = "sqlite:///jobs.db"'
        )
    return url


def refuse_before_verb(verb: str, command: str, url: str | None, json: bool) -> None:
    """Refuse options before the subcommand, which would otherwise be ignored.

    `afterword queues --url URL pause NAME` must not change another store than the one it names.

    Raises:
        ConfigurationError: there is such an option.
    """
    if url is not None or json:
        raise ConfigurationError(
            "Options follow the whole command.\n"
            f"    afterword {command} --url URL {verb} NAME  # incorrect!\n"
            f"    afterword {command} {verb} NAME --url URL  # correct!"
        )
