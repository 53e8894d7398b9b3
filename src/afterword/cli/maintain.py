"""`afterword db` and `prune`: maintenance of a store."""

import itertools
from collections.abc import Iterable
from typing import Annotated

import typer

from afterword.admin.duration import show_instant, show_span
from afterword.admin.health import COUNT_LIMIT, capped
from afterword.cli import output
from afterword.cli.options import Json, Url, opened, parsed_span, store_url
from afterword.cli.person import this_person
from afterword.model.clock import as_datetime
from afterword.model.job import FINAL_STATES, JobRecord
from afterword.model.records import Filter
from afterword.store.opening import open_store
from afterword.store.paging import pages
from afterword.store.protocol import Store

_BATCH = 1_000  # jobs per transaction

database = typer.Typer(
    help="Create, migrate and check the store's schema.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@database.command()
def migrate(url: Url = None) -> None:
    """Create the store, or bring its schema up to date.

    \b
    Examples:
      afterword db migrate
      afterword db migrate --url postgresql://db/app
    """
    store = open_store(store_url(url))
    store.open()
    store.close()
    output.write(f"{store.url} is up to date\n")


@database.command("status")
def database_status(url: Url = None, json: Json = False) -> None:
    """Check that the store exists and fits this release.

    The exit status is 5 if not.

    \b
    Examples:
      afterword db status
      afterword db status --json
    """
    with opened(url) as store:
        facts = {"url": store.url, "durability": store.durability, "identity": store.identity}
    if json:
        output.print_document({**facts, "usable": True})
    else:
        output.show_facts([*facts.items(), ("schema", "as this release needs it")])


@database.command("sql")
def database_sql(url: Url = None) -> None:
    """Print all migrations as SQL, to run them yourself.

    \b
    Examples:
      afterword db sql --url postgresql://db/app > afterword.sql
    """
    script = open_store(store_url(url)).script()
    output.write(script if script.endswith("\n") else script + "\n")


# ---------------------------------------------------------------------- prune


def prune(
    older_than: Annotated[
        float,
        typer.Option(
            "--older-than",
            metavar="SPAN",
            parser=parsed_span,
            help="Delete jobs that ended longer ago than this: 12h, 7d, 2w.",
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count them.")] = False,
    url: Url = None,
    json: Json = False,
) -> None:
    """Delete jobs that ended long ago.

    Workers also do this: see `retention` of Afterword(...).

    \b
    Examples:
      afterword prune --older-than 30d --dry-run
      afterword prune --older-than 7d
    """
    with opened(url) as store:
        before = store.now() - older_than
        number = _count(store, before) if dry_run else _purge(store, older_than)
    if json:
        more = dry_run and number > COUNT_LIMIT
        counted = min(number, COUNT_LIMIT) if dry_run else number
        name = "matching" if dry_run else "deleted"
        output.print_document({name: counted, "more_than_counted": more})
        return
    at = show_instant(as_datetime(before))
    done = f"would delete {capped(number)}" if dry_run else f"deleted {number:,}"
    output.write(f"{done} jobs that ended before {at}\n")


def _purge(store: Store, older_than: float) -> int:
    """Delete in batches, so that others need not wait long; return the number."""
    deleted = 0
    by = this_person().on_all(f"jobs that ended more than {show_span(older_than)} ago")
    while True:
        with store.transaction():
            number = store.purge(older_than, _BATCH)
            store.note("prune", [], number, by)
        deleted += number
        if not number:
            return deleted


def _count(store: Store, before: float) -> int:
    """Count the jobs that `_purge` would delete, to just above the limit."""
    return sum(1 for _ in itertools.islice(_old(store, before), COUNT_LIMIT + 1))


def _old(store: Store, before: float) -> Iterable[JobRecord]:
    """Yield the jobs that ended before this time.

    They were also added before it, and an id begins with its creation time.
    """
    newest = f"{int(before * 1000) + 1:012x}"
    last = f"{newest[:8]}-{newest[8:]}-ffff-ffff-ffffffffffff"
    for state in sorted(FINAL_STATES):
        for page in pages(store, Filter(state=state), last):
            yield from (job for job in page if _ended(job) < before)


def _ended(job: JobRecord) -> float:
    return (job.finished_at or job.created_at).timestamp()
