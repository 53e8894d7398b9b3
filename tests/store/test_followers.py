"""Followers: they are freed or stopped, even if their job changes at the same moment."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import apsw
import psycopg
import pytest

from afterword.model.job import JobState, NewJob
from afterword.model.outcome import Completed, Failed
from afterword.store.opening import open_store
from afterword.store.postgres import PostgresStore
from afterword.store.postgres.parameters import pyformat
from afterword.store.protocol import (
    STOPPED,
    Claim,
    Settlement,
    Statement,
    Store,
    held_claim,
)
from afterword.testing.kit import a_chain, a_job, record, state
from tests.helpers import wait_until
from tests.postgres import Server, database_of

pytestmark = pytest.mark.usefixtures("patient")

LONG = 3600.0


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An open store with one worker."""
    store = open_store(store_url)
    store.open()
    store.join("ann", LONG)
    yield store
    store.close()


def claims_of(store: Store, limit: int = 10) -> Sequence[Claim]:
    """Return the claims that are possible now."""
    return store.claim("ann", ["default"], limit)


def ids_of(jobs: Sequence[NewJob] | Sequence[Claim]) -> list[str]:
    """Return the ids of claims."""
    return [each.id for each in jobs]


# ---------------------------------------------------------------------- who waits for nothing


def remove(store_url: str, *job_ids: str) -> None:
    """Delete rows by hand, so that followers of these jobs would wait for ever."""
    for job_id in job_ids:
        if store_url.startswith("sqlite"):
            connection = apsw.Connection(store_url.partition(":///")[2])
            connection.execute("DELETE FROM afterword_jobs WHERE id = ?", [job_id])
            connection.close()
        else:
            with psycopg.connect(store_url, autocommit=True) as session:
                session.execute("DELETE FROM afterword.jobs WHERE id = %s", [job_id])


def test_who_waits_for_a_job_that_is_gone_is_freed(store: Store, store_url: str) -> None:
    first, second, third = a_chain(3)
    store.add([first, second, third])
    remove(store_url, first.id)

    assert [] == claims_of(store)
    assert 1 == store.free_followers(10)
    assert store.changed()
    assert [second.id] == ids_of(claims_of(store))
    assert second.id == record(store, third.id).after
    assert 0 == store.free_followers(10)


def test_who_waits_for_a_job_that_failed_stops(store: Store, store_url: str) -> None:
    """It stops as if that job had failed just now."""
    store.add([first := a_job()])
    (claim,) = claims_of(store)
    store.settle([Settlement(claim, Failed("error"))])
    waiting = [a_job(after=first.id), a_job(after=first.id, on_failure="continue")]
    put_behind(store, store_url, waiting)

    assert 1 == store.free_followers(10)
    assert [JobState.CANCELLED, JobState.QUEUED] == [state(store, each.id) for each in waiting]
    assert STOPPED == record(store, waiting[0].id).error
    assert [waiting[1].id] == ids_of(claims_of(store))


def put_behind(store: Store, store_url: str, jobs: Sequence[NewJob]) -> None:
    """Let jobs wait for one that has ended, which no verb of the store would do."""
    store.add([replace(each, after=None) for each in jobs])
    for each in jobs:
        if store_url.startswith("sqlite"):
            connection = apsw.Connection(store_url.partition(":///")[2])
            connection.execute(
                "UPDATE afterword_jobs SET after = ? WHERE id = ?", [each.after, each.id]
            )
            connection.close()
        else:
            with psycopg.connect(store_url, autocommit=True) as session:
                session.execute(
                    "UPDATE afterword.jobs SET after = %s WHERE id = %s", [each.after, each.id]
                )


def test_a_step_looks_at_no_more_than_it_may(store: Store, store_url: str) -> None:
    """The next step continues there, and begins again after the last job."""
    chains = [a_chain(3) for _ in range(5)]
    for chain in chains:
        store.add(chain)
    gone = [chain[0].id for chain in chains[1:]]
    remove(store_url, *gone)
    steps = [store.free_followers(2) for _ in range(12)]

    assert len(gone) == sum(steps)
    assert max(steps) <= 2
    assert {chains[0][0].id, *(chain[1].id for chain in chains[1:])} == set(
        ids_of(claims_of(store))
    )


# ---------------------------------------------------------------------- at the same moment


@contextmanager
def meanwhile(server: Server, url: str, statements: Sequence[Statement]) -> Iterator[Any]:
    """Open a transaction that has executed these, and commit it after the body.

    Yields a function that starts a call in a thread and waits until the transaction blocks it.
    """

    def start(call: Any, *args: Any) -> "Future[Any]":
        future = pool.submit(call, *args)
        wait_until(lambda: waits(server, url), description="it waits for the transaction")
        return future

    with ThreadPoolExecutor(1) as pool, psycopg.connect(url) as session:
        execute(session, statements)
        yield start
        session.commit()


def execute(session: "psycopg.Connection[Any]", statements: Sequence[Statement]) -> None:
    """Execute statements as an application's connection does."""
    for each in statements:
        session.execute(pyformat(each.sql).encode(), each.values)


def waits(server: Server, url: str) -> bool:
    """Return True if a session waits for a lock in this database."""
    ((waiting,),) = server.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        f" AND datname = '{database_of(url)}'"
    )
    return waiting != 0


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[PostgresStore]:
    """A store in PostgreSQL with one worker."""
    store = PostgresStore(postgres_url)
    store.open()
    store.join("ann", LONG)
    yield store
    store.close()


def test_a_job_is_added_behind_one_that_is_being_deleted(
    postgres: PostgresStore, server: Server, postgres_url: str
) -> None:
    """It moves up, as if the deleted job had never existed."""
    postgres.add([before := a_job(run_at=4e9)])
    postgres.add([middle := a_job(after=before.id)])
    last = a_job(after=middle.id)
    with meanwhile(server, postgres_url, postgres.adding([last])) as start:
        deleted = start(postgres.delete, [middle.id])

    assert [True] == deleted.result(60)
    assert before.id == record(postgres, last.id).after


def test_a_job_is_added_behind_one_that_is_being_discarded(
    postgres: PostgresStore, server: Server, postgres_url: str
) -> None:
    held = a_job(held=True)
    postgres.add([held], held_by="ann")
    last = a_job(after=held.id)
    with meanwhile(server, postgres_url, postgres.adding([last])) as start:
        discarded = start(postgres.discard, [held_claim(held, "ann", 1.0)])

    assert [True] == discarded.result(60)
    assert record(postgres, last.id).after is None
    assert [last.id] == ids_of(claims_of(postgres))


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
def test_a_job_is_added_behind_one_that_stops(
    how: str, postgres: PostgresStore, server: Server, postgres_url: str
) -> None:
    """It stops as well, because the job before has not completed."""
    postgres.add([first := a_job()])
    (claim,) = claims_of(postgres)
    postgres.add([middle := a_job(after=first.id)])
    last, anyway = a_job(after=middle.id), a_job(after=middle.id, on_failure="continue")
    with meanwhile(server, postgres_url, postgres.adding([last, anyway])) as start:
        if how == "fails":
            ended = start(postgres.settle, [Settlement(claim, Failed("error"))])
        else:
            ended = start(postgres.cancel, [middle.id], "by hand")

    assert [True] == ended.result(60)
    assert [JobState.CANCELLED, JobState.CANCELLED] == [
        state(postgres, each.id) for each in (middle, last)
    ]
    assert STOPPED == record(postgres, last.id).error
    before = {"fails": None, "is cancelled": first.id}
    assert before[how] == record(postgres, anyway.id).after


def test_the_key_of_a_predecessor_changes_its_owner(
    postgres: PostgresStore, server: Server, postgres_url: str
) -> None:
    """A follower of a call that was not added follows the existing job, and no later one."""
    postgres.add([a_job(unique_key="k")])
    (claim,) = claims_of(postgres)
    follower = a_job(after=(again := a_job(unique_key="k")).id)
    added, *rest = postgres.adding([again, follower])
    later = a_job(unique_key="k")
    end = postgres.completing(Settlement(claim, Completed(), [later]))
    with psycopg.connect(postgres_url) as session:
        execute(session, [added])
        with meanwhile(server, postgres_url, end) as start:
            held = start(execute, session, rest[:1])
        held.result(60)
        execute(session, rest[1:])
        (other,) = claims_of(postgres)
        assert later.id == other.id
        postgres.settle([Settlement(other, Completed())])
        session.commit()

    assert record(postgres, follower.id).after is None
    assert [follower.id] == ids_of(claims_of(postgres))


def test_neighbours_are_deleted_while_the_first_ends(
    postgres: PostgresStore, postgres_url: str
) -> None:
    """Three processes change a line of jobs: in any order, the last job becomes ready."""
    others = [PostgresStore(postgres_url) for _ in range(2)]
    for each in others:
        each.open()
    with ThreadPoolExecutor(3) as pool:
        for _ in range(40):
            first, second, third, last = a_chain(4)
            postgres.add([first, second, third, last])
            (claim,) = claims_of(postgres)
            ended = pool.submit(postgres.settle, [Settlement(claim, Completed())])
            deleted = [
                pool.submit(store.delete, [job.id])
                for store, job in zip(others, (second, third), strict=True)
            ]

            assert [[True]] * 3 == [each.result(60) for each in (ended, *deleted)]
            assert [last.id] == ids_of(claims_of(postgres))
    for each in others:
        each.close()
