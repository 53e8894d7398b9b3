"""Unusual settings of PostgreSQL: a store does not depend on settings of its database.

test_contract.py runs the whole contract on such a database.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import pytest

from afterword.client.group_commit import GroupCommit
from afterword.client.inquiries import Inquiries
from afterword.client.operation import calling
from afterword.model.job import NewJob, new_id
from afterword.store.opening import open_store
from afterword.store.postgres import PostgresStore
from afterword.store.protocol import Store
from tests.at_work import wait_for
from tests.hostile import SETTINGS
from tests.life.site import note, script, working
from tests.postgres import Cluster, Server
from tests.stores import stores_on

pytestmark = pytest.mark.anyio


def test_text_of_any_script_is_kept(server: Server, hostile_url: str) -> None:
    """The store sets the client's encoding: LATIN1 could not even send a euro sign."""
    with closing(stores_on(server, hostile_url)()) as store:
        store.open()
        job = NewJob(id=new_id(), task="app:send", arguments='{"price":"€ 5 — ж"}')
        store.add([job])

        assert job.arguments == store.get([job.id])[0].arguments


def test_the_limits_of_a_session_are_ours(server: Server, hostile_url: str) -> None:
    with closing(PostgresStore(hostile_url, timeout=8.0)) as store:
        store.open()
        names = [*SETTINGS, "transaction_timeout"]
        with store.transaction():
            rows = store._writer.session.connection().execute(
                "SELECT name, setting FROM pg_settings WHERE name = ANY (%s)", [names]
            )
            found: dict[str, str] = dict(rows.fetchall())

    assert ("8000", "50") == (found["statement_timeout"], found["lock_timeout"])
    assert "8000" == found["idle_in_transaction_session_timeout"]
    assert ("0", "0") == (found["idle_session_timeout"], found.get("transaction_timeout", "0"))
    assert "off" == found["jit"]
    assert ("ISO, DMY", "UTC", "pg_catalog") == (
        found["DateStyle"],
        found["TimeZone"],
        found["search_path"],
    )


# ---------------------------------------------------------------------- connections that were ended


QUESTIONS: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get([new_id()]),
    "find": lambda store: store.find(),
    "count": lambda store: store.count(),
    "attempts": lambda store: store.attempts(new_id()),
    "with_key": lambda store: store.with_key("k", ended=True),
    "workers": lambda store: store.workers(),
    "queues": lambda store: store.queues(),
    "tasks": lambda store: store.tasks(),
    "schedules": lambda store: store.schedules(),
    "examine": lambda store: store.examine(),
    "cancel": lambda store: store.cancel([new_id()], "reason"),
    "retry": lambda store: store.retry([new_id()]),
    "delete": lambda store: store.delete([new_id()]),
    "restore": lambda store: store.restore([]),
    "pause": lambda store: store.pause(["mail"]),
    "resume": lambda store: store.resume(["mail"]),
    "pause_schedule": lambda store: store.pause_schedule("nightly", True),
    "now": lambda store: store.now(),
    "ruled": lambda store: store.ruled(),
    "cancelling": lambda store: store.cancelling("ann"),
    "recover": lambda store: store.recover(1, 30.0),
    "purge": lambda store: store.purge(0.0, 1),
    "next_in": lambda store: store.next_in(["default"]),
}


@pytest.fixture
def idle(server: Server, postgres_url: str) -> Iterator[tuple[Store, Callable[[], int]]]:
    """A used store, and a function that ends its connections as an administrator does."""
    store = open_store(postgres_url)
    store.open()
    store.find()
    yield store, lambda: server.terminate(*server.backends(postgres_url))
    store.close()


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS.keys())
def test_a_connection_that_the_server_ended_fails_no_question(
    ask: Callable[[Store], object], idle: tuple[Store, Callable[[], int]]
) -> None:
    store, end_connections = idle
    ask(store)

    assert end_connections() >= 2
    ask(store)


def test_what_is_asked_within_a_transaction_is_not_repeated_by_itself(
    idle: tuple[Store, Callable[[], int]],
) -> None:
    """Earlier writes are lost with the connection, and would be left out."""
    store, end_connections = idle
    job = NewJob(id=new_id(), task="app:send")
    ended: list[int] = []

    def add_and_cancel(store: Store) -> None:
        store.add([job])
        if not ended:
            ended.append(end_connections())
        store.cancel([job.id], "reason")

    group = GroupCommit(store)
    group.start()
    group.run_blocking(calling(add_and_cancel))

    assert "cancelled" == store.get([job.id])[0].state
    group.stop()


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_job_is_waited_for_while_the_server_restarts(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, *, blocking: bool
) -> None:
    url = cluster.new_database()
    looks: list[int] = []
    completed = Inquiries._succeeded

    def counted(self: Inquiries, ids: Sequence[str]) -> bool | None:
        done = completed(self, ids)
        looks.append(len(looks))
        return done

    monkeypatch.setattr(Inquiries, "_succeeded", counted)
    with script(url) as other:
        job = await asyncio.to_thread(other.add_task_sync, note, "x")
        wait = asyncio.to_thread(job.wait_sync, 60) if blocking else job.wait(60)
        waiting = asyncio.create_task(wait)
        await wait_for(lambda: looks, description="it has asked once")
        await asyncio.to_thread(cluster.restart, down_seconds=0.5)
        async with working(url):
            ended = await waiting

    assert "completed" == ended.state


async def test_a_job_is_waited_for_through_ended_connections(
    server: Server, postgres_url: str
) -> None:
    with script(postgres_url) as other:
        job = await asyncio.to_thread(other.add_task_sync, note, "x")
        waiting = asyncio.create_task(job.wait(60))

        def asked() -> bool:
            return bool(server.backends(postgres_url))

        for _ in range(3):
            await wait_for(asked, description="the store is asked on a new connection")
            server.terminate(*server.backends(postgres_url))
        async with working(postgres_url):
            ended = await waiting

    assert "completed" == ended.state
