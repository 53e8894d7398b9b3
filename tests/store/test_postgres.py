"""Features of the PostgreSQL store only; test_contract.py tests what all stores share."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from afterword.client.group_commit import GroupCommit
from afterword.client.operation import adding
from afterword.errors import (
    ConfigurationError,
    SchemaTooNew,
    StoreError,
    StoreInterrupted,
    StoreUnavailable,
)
from afterword.model.job import JobOptions, JobState, NewJob, new_id
from afterword.model.outcome import Completed
from afterword.model.records import Filter
from afterword.store import migrations
from afterword.store.opening import open_store
from afterword.store.postgres import PostgresStore, session
from afterword.store.postgres.parameters import pyformat
from afterword.store.postgres.rows import conditions
from afterword.store.postgres.schema import statements_of
from afterword.store.postgres.session import text_of
from afterword.store.protocol import Claim, Declared, Putback, Settlement
from afterword.testing.kit import added
from tests.helpers import wait_until
from tests.postgres import Cluster, Server, database_of
from tests.proxy import Proxy, through

LONG = 3600.0  # seconds
COMMIT = b"\0COMMIT\0"  # as a message has it


def a_job(task: str = "app:send", **changes: object) -> NewJob:
    return NewJob(id=new_id(), task=task, **changes)  # type: ignore[arg-type]


@pytest.fixture
def store(postgres_url: str) -> Iterator[PostgresStore]:
    store = PostgresStore(postgres_url)
    store.open()
    yield store
    store.close()


@pytest.fixture
def proxied(postgres_url: str) -> Iterator[tuple[Proxy, PostgresStore]]:
    with through(postgres_url) as (proxy, url):
        store = PostgresStore(url, timeout=1.0)
        store.open()
        yield proxy, store
        store.close()


# ---------------------------------------------------------------------- the URL


def test_no_password_is_shown() -> None:
    store = PostgresStore("postgresql://me:s3cret@db.example:5433/app?sslmode=require")

    assert "postgresql://me@db.example:5433/app" == store.url


def test_a_url_that_cannot_be_read_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigurationError, match="percent-encoded") as caught:
        PostgresStore("postgresql://me:s3c/ret@db:port/app?nonsense=1")

    assert "ret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+asyncpg"]
)
def test_the_urls_of_libpq_and_sqlalchemy_are_taken(scheme: str) -> None:
    assert isinstance(open_store(f"{scheme}://me@db/app"), PostgresStore)


# ---------------------------------------------------------------------- opening


def test_an_unreachable_server_is_said_to_be_so() -> None:
    store = PostgresStore("postgresql://127.0.0.1:1/app")

    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1/app"):
        store.open()


def test_to_look_makes_no_store(new_postgres_url: str) -> None:
    with pytest.raises(StoreUnavailable, match="afterword db migrate"):
        PostgresStore(new_postgres_url).open(create=False)

    with psycopg.connect(new_postgres_url) as connection:
        assert (None,) == connection.execute("SELECT to_regnamespace('afterword')").fetchone()


def test_those_who_start_together_take_turns_to_migrate(new_postgres_url: str) -> None:
    stores = [PostgresStore(new_postgres_url) for _ in range(8)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda store: store.open(), stores))

    assert 1 == len({store.identity for store in stores})
    for store in stores:
        store.close()


def _note_migration(url: str, oldest: int) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO afterword.migrations VALUES (99, %s)", [oldest])


def test_a_newer_schema_that_only_adds_is_worked_with(
    store: PostgresStore, postgres_url: str
) -> None:
    _note_migration(postgres_url, oldest=1)

    older = PostgresStore(postgres_url)
    older.open()

    assert [True] == added(older, [a_job()])
    older.close()


def test_a_newer_schema_that_breaks_is_refused(store: PostgresStore, postgres_url: str) -> None:
    _note_migration(postgres_url, oldest=99)

    with pytest.raises(SchemaTooNew, match="Upgrade it here too"):
        PostgresStore(postgres_url).open()


def test_a_read_replica_is_refused() -> None:
    with Cluster(wal_level="replica", max_wal_senders="2") as cluster:
        url = cluster.new_database()
        cluster.stop()
        (cluster.folder / "data" / "standby.signal").touch()
        cluster.start()

        with pytest.raises(StoreUnavailable, match="read replica"):
            PostgresStore(url).open()


def test_durability_is_what_the_server_is_set_to(server: Server, store: PostgresStore) -> None:
    [(fsync,)] = server.execute("SHOW fsync")

    assert {"on": "power-loss", "off": "process-crash"}[str(fsync)] == store.durability


def test_the_script_makes_a_store(new_postgres_url: str) -> None:
    store = PostgresStore(new_postgres_url)
    with psycopg.connect(new_postgres_url, autocommit=True) as connection:
        connection.execute(store.script().encode())

    store.open(create=False)

    assert [True] == added(store, [a_job()])
    store.close()


# ---------------------------------------------------------------------- losing the connection


def test_a_lost_connection_is_replaced(
    store: PostgresStore, server: Server, postgres_url: str
) -> None:
    server.terminate(*server.backends(postgres_url))

    with pytest.raises(StoreInterrupted):
        store.add([a_job()])
    assert [True] == added(store, [a_job()])


def test_callers_do_not_notice_a_lost_connection(server: Server, postgres_url: str) -> None:
    group = GroupCommit(PostgresStore(postgres_url))
    group.start()
    server.terminate(*server.backends(postgres_url))

    (answer,) = group.run_blocking(adding([a_job()], None), timeout=5)

    assert answer.added
    group.stop()


def test_a_commit_whose_answer_was_lost_is_looked_up(proxied: tuple[Proxy, PostgresStore]) -> None:
    proxy, store = proxied
    job = a_job()
    proxy.cut_answers(to=COMMIT)

    assert [True] == added(store, [job])
    assert 1 == proxy.cuts
    assert [False] == added(store, [job])


def test_a_claim_whose_commit_went_unanswered_is_valid(
    proxied: tuple[Proxy, PostgresStore],
) -> None:
    proxy, store = proxied
    store.join("ann", LONG)
    store.add([a_job()])
    proxy.cut_answers(to=COMMIT)

    (claim,) = store.claim("ann", ["default"], 10)

    assert 1 == proxy.cuts
    assert [True] == store.settle([Settlement(claim, Completed())])


def test_a_worker_that_may_hold_more_than_it_knows_starts_afresh(
    proxied: tuple[Proxy, PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, store = proxied
    store.join("ann", LONG)
    with monkeypatch.context() as patch:
        patch.setattr(session, "_PATIENCE", 0.1)
        patch.setattr(session.Session, "_status_of", lambda *_: None)  # away for long
        proxy.cut_answers(to=COMMIT)
        with pytest.raises(StoreUnavailable, match="It is unknown"):
            store.add([a_job(held=True)], held_by="ann")

    assert [False, True] == [store.renew("ann", LONG), store.renew("ann", LONG)]


def test_after_a_crash_the_number_of_a_transaction_may_be_anothers(cluster: Cluster) -> None:
    job = a_job()
    with through(cluster.new_database()) as (proxy, url):
        store = PostgresStore(url, timeout=1.0)
        store.open()
        with pytest.raises(StoreUnavailable, match="It is unknown"):
            _crash_before_the_commit(store, job, cluster, proxy)

        assert [] == store.get([job.id])
        store.close()


def _crash_before_the_commit(
    store: PostgresStore, job: NewJob, cluster: Cluster, proxy: Proxy
) -> None:
    with store.transaction():
        store.add([job])
        proxy.swallow()
        cluster.restart("immediate")
        for _ in range(3):  # one of them gets our number, and commits
            cluster.execute("SELECT pg_current_xact_id()")
        threading.Timer(2.0, proxy.accept).start()


def test_a_connection_that_says_nothing_is_given_up(proxied: tuple[Proxy, PostgresStore]) -> None:
    proxy, store = proxied
    proxy.swallow()
    began = time.monotonic()

    with pytest.raises(StoreUnavailable, match="did not answer in time"):
        store.add([a_job()])

    assert time.monotonic() - began < 30


def test_a_process_that_is_stopped_in_a_transaction_loses_it(
    server: Server, store: PostgresStore
) -> None:
    """The server ends the transaction of an idle process, if its settings say so."""
    store.join("ann", 60.0)
    store.add([a_job()])
    pid = store._writer.session.server_process
    with store.transaction():
        [claim] = store.claim("ann", ["default"], 1)
        claiming = _state_of(server, pid)
        store.settle([Settlement(claim, Completed())])
        settling = _state_of(server, pid)

    assert ["idle in transaction"] * 2 == [claiming, settling]


def _state_of(server: Server, pid: int | None) -> object:
    [[state]] = server.execute(f"SELECT state FROM pg_stat_activity WHERE pid = {pid}")
    return state


def test_a_server_that_is_away_is_not_asked_without_a_pause(
    proxied: tuple[Proxy, PostgresStore],
) -> None:
    proxy, store = proxied
    proxy.refuse()
    tries = 200
    for _ in range(tries):
        with pytest.raises(StoreUnavailable):
            store.add([a_job()])
    proxy.accept()

    wait_until(lambda: _works(store), description="the store works again")


def _works(store: PostgresStore) -> bool:
    try:
        return added(store, [a_job()]) == [True]
    except StoreUnavailable:
        return False


# ---------------------------------------------------------------------- hearing of jobs


def test_another_process_is_told_of_a_new_job(store: PostgresStore, postgres_url: str) -> None:
    other = PostgresStore(postgres_url)
    other.open()
    wait_until(other.changed, description="it listens")
    wait_until(lambda: not other.changed(), description="it is quiet")

    store.add([a_job()])

    wait_until(other.changed, description="it was told")
    other.close()


def test_nobody_is_told_of_a_held_job(store: PostgresStore, postgres_url: str) -> None:
    store.join("ann", LONG)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("LISTEN afterword")
        store.add([a_job(held=True)], held_by="ann")

        assert [] == list(connection.notifies(timeout=0.2))


def test_a_lost_listener_listens_again(
    store: PostgresStore, server: Server, postgres_url: str
) -> None:
    wait_until(store.changed, description="it listens")
    server.terminate(*server.backends(postgres_url))
    wait_until(store.changed, description="it listens again, and looks for what it missed")


# ---------------------------------------------------------------------- statements


def test_a_claim_reads_no_table_as_a_whole(store: PostgresStore, postgres_url: str) -> None:
    store.join("ann", LONG)
    store.add([a_job(run_at=4e9, priority=priority) for priority in range(5) for _ in range(2000)])
    store.add([a_job(priority=priority) for priority in range(5) for _ in range(100)])
    values = {
        "worker": "ann",
        "queues": ["default"],
        "limit": 10,
        "skip": [],
        "skip_keys": [],
        "fence": 1,
    }
    with psycopg.connect(postgres_url) as connection:
        connection.execute("ANALYZE afterword.jobs")
        rows = connection.execute("EXPLAIN " + session.sql("claim"), values).fetchall()
    plan = "\n".join(str(row[0]) for row in rows)

    assert "Seq Scan on jobs" not in plan
    assert "jobs_ready" in plan


@pytest.mark.parametrize("state", [JobState.CANCELLED, JobState.FAILED, JobState.HANDED_OVER])
@pytest.mark.usefixtures("store")
def test_jobs_of_a_state_are_counted_without_reading_the_others(
    postgres_url: str, state: JobState
) -> None:
    where = conditions(Filter(), state)
    with psycopg.connect(postgres_url) as connection:
        connection.execute("SET enable_seqscan = off")
        text = f"EXPLAIN {session.sql('count_ended', where)}"
        plan = "\n".join(str(row[0]) for row in connection.execute(text, {"limit": 10}))

    assert "history_not_completed" in plan
    assert f"Cond: (state = '{state}'" in plan


@pytest.mark.usefixtures("patient")
def test_many_claim_at_once_and_none_gets_the_job_of_another(postgres_url: str) -> None:
    stores = [PostgresStore(postgres_url) for _ in range(6)]
    for number, store in enumerate(stores):
        store.open()
        store.join(str(number), LONG)
    stores[0].add([a_job() for _ in range(600)])

    def drain(number: int) -> list[str]:
        taken: list[str] = []
        while claims := stores[number].claim(str(number), ["default"], 7):
            stores[number].settle([Settlement(each, Completed()) for each in claims])
            taken += [each.id for each in claims]
        return taken

    with ThreadPoolExecutor(6) as pool:
        taken = [job_id for ids in pool.map(drain, range(6)) for job_id in ids]

    assert 600 == len(taken) == len(set(taken))
    assert 600 == stores[0].count()[JobState.COMPLETED]
    for store in stores:
        store.close()


@pytest.mark.usefixtures("patient")
def test_a_follower_added_while_its_predecessor_ends_is_not_forgotten(postgres_url: str) -> None:
    """The end and the new follower are two transactions, in either order."""
    one, two = PostgresStore(postgres_url), PostgresStore(postgres_url)
    one.open()
    two.open()
    one.join("ann", LONG)
    followers = []
    for _ in range(100):
        first = a_job()
        one.add([first])
        claims = one.claim("ann", ["default"], 1)
        second = a_job(after=first.id)
        followers.append(second.id)
        with ThreadPoolExecutor(2) as pool:
            ended = pool.submit(one.settle, [Settlement(claims[0], Completed())])
            begun = pool.submit(two.add, [second])
        assert [True] == ended.result()
        assert begun.result()
        (claim,) = one.claim("ann", ["default"], 1)
        one.settle([Settlement(claim, Completed())])

    assert {JobState.COMPLETED} == {record.state for record in one.get(followers)}
    one.close()
    two.close()


def test_statements_for_others_need_no_driver_of_ours(store: PostgresStore) -> None:
    """They work as SQLAlchemy's `text`: parameters are `:name`, casts are CAST."""
    for statement in (*store.adding([a_job()]), store.identifying()):
        assert "::" not in statement.sql
    assert "%" not in text_of("add")


def test_a_statement_that_was_refused_often_works_again(store: PostgresStore) -> None:
    for _ in range(10):  # the driver prepares statements that it has executed a few times
        with pytest.raises(StoreError):
            store.add([a_job(arguments="{no json")])

    assert [True] * 10 == [new for _ in range(10) for new in added(store, [a_job()])]


# ---------------------------------------------------------------------- unique keys


class _GivenUp(Exception):
    """An error inside a transaction."""


def _opened(url: str, count: int) -> list[PostgresStore]:
    stores = [PostgresStore(url) for _ in range(count)]
    for store in stores:
        store.open()
    return stores


def _keyed(*keys: str) -> list[NewJob]:
    return [a_job(unique_key=key) for key in keys]


@pytest.mark.usefixtures("patient")
def test_two_batches_with_the_same_keys_do_not_wait_for_each_other(postgres_url: str) -> None:
    one, two, three = _opened(postgres_url, 3)
    with ThreadPoolExecutor(2) as pool:
        with suppress(_GivenUp), one.transaction():
            one.add(_keyed("b"))
            adds = [
                pool.submit(added, two, _keyed("a", "b", "c")),
                pool.submit(added, three, _keyed("c", "b", "a")),
            ]
            time.sleep(0.5)  # both wait for us
            raise _GivenUp
        answers = [each.result() for each in adds]

    assert [[False] * 3, [True] * 3] == sorted(answers)
    for store in (one, two, three):
        store.close()


@pytest.mark.usefixtures("patient")
def test_who_waits_for_a_key_takes_it_when_it_is_given_up(postgres_url: str) -> None:
    one, two = _opened(postgres_url, 2)
    with ThreadPoolExecutor(1) as pool:
        with suppress(_GivenUp), one.transaction():
            one.add(_keyed("k"))
            waiting = pool.submit(added, two, _keyed("k"))
            time.sleep(0.3)
            raise _GivenUp

        assert [True] == waiting.result()
    one.close()
    two.close()


def test_a_schedule_rule_that_comes_back_starts_anew(
    store: PostgresStore, server: Server, postgres_url: str
) -> None:
    """Another rule was in force while no code had this one."""
    old = Declared(name="a", task="t", rule="old", words="w", next_at=1.0)
    store.declare([old])
    store.declare([replace(old, rule="new")])
    long_ago = "UPDATE afterword.cursors SET seen_at = now() - age * interval '1 hour'"
    ages = " FROM (VALUES ('old', 2), ('new', 1)) AS ages (name, age) WHERE rule = ages.name"
    server.execute(long_ago + ages, database_of(postgres_url))

    store.declare([replace(old, rule="new", next_at=4e9)])
    store.declare([replace(old, next_at=4e9)])

    assert ["new"] == [due.rule for due in store.due({"a": "new"})]
    assert [] == list(store.due({"a": "old"}))


def test_a_key_that_is_given_up_meanwhile_is_waited_for(postgres_url: str) -> None:
    """A caller whose transaction began before the cancellation sees it."""
    one, two = _opened(postgres_url, 2)
    one.join("ann", LONG)
    one.add([old := a_job(unique_key="k")])
    one.claim("ann", ["default"], 1)
    new = a_job(unique_key="k", held=True)
    with ThreadPoolExecutor(1) as pool:
        with one.transaction():
            one.cancel([old.id], "not wanted")
            adding = pool.submit(two.add, [new], "ann")
            wait_until(lambda: _waits_for_lock(one), description="it waits for the key")
        (answer,) = adding.result(60)

    assert (new.id, True, True) == (answer.id, answer.added, answer.waits)
    one.close()
    two.close()


def _waits_for_lock(store: PostgresStore) -> bool:
    waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    return bool(store._writer.session.connection().execute(waiting).fetchall())


@pytest.mark.usefixtures("patient")
def test_transactions_that_wait_for_each_other_are_repeated(postgres_url: str) -> None:
    """The server undoes one of them; the error says that it may be tried again at once."""
    one, two = _opened(postgres_url, 2)
    both_have_one = threading.Barrier(2)

    def add(store: PostgresStore, first: str, second: str) -> bool:
        try:
            with store.transaction():
                store.add(_keyed(first))
                both_have_one.wait(timeout=60)
                store.add(_keyed(second))
        except StoreInterrupted:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(add, one, "a", "b"), pool.submit(add, two, "b", "a")]

    assert [False, True] == sorted(each.result() for each in done)
    assert 2 == one.count()[JobState.QUEUED]
    one.close()
    two.close()


def test_another_default_isolation_changes_nothing(server: Server, new_postgres_url: str) -> None:
    """A transaction must see later commits of others."""
    name = database_of(new_postgres_url)
    server.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    one, two = _opened(new_postgres_url, 2)
    with one.transaction():
        one.add([a_job()])  # begins the transaction
        two.add(_keyed("k"))
        (answer,) = one.add(_keyed("k"))

    assert not answer.added
    one.close()
    two.close()


# ---------------------------------------------------------------------- limits


def test_who_stands_still_while_it_claims_holds_up_its_own_key_only(postgres_url: str) -> None:
    one, two = _opened(postgres_url, 2)
    one.join("ann", LONG)
    two.join("bob", LONG)
    options = JobOptions(limit=2).text()
    limited = [a_job(limit_key="k", options=options) for _ in range(3)]
    others = [a_job(), a_job(limit_key="other", options=options)]
    one.add([*limited, *others])
    with one.transaction():
        (first,) = one.claim("ann", ["default"], 1)

        assert [others[0].id, others[1].id] == _drain(two, "bob", 2)
        wait_until(two.changed, description="it is time to look again")
        assert [] == _drain(two, "bob", 2)
    wait_until(two.changed, description="it is time to look again")
    assert [limited[1].id] == _drain(two, "bob", 2)
    assert limited[0].id == first.id
    one.close()
    two.close()


def _drain(store: PostgresStore, worker: str, limit: int) -> list[str]:
    """Repeat until there is no more; returns everything that it gets."""
    taken = [each.id for each in store.claim(worker, ["default"], limit)]
    return [*taken, *_drain(store, worker, limit)] if store.changed() else taken


def test_an_unlimited_claim_is_one_statement(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.join("ann", LONG)
    store.limit({"mail": 3})
    store.add([a_job() for _ in range(10)])
    executed: list[str] = []
    execute = session.Session.execute

    def counted(self: session.Session, statement: str, *args: Any) -> list[Any]:
        executed.append(statement)
        return execute(self, statement, *args)

    monkeypatch.setattr(session.Session, "execute", counted)

    assert 10 == len(store.claim("ann", ["mail", "default"], 10))
    assert ["claim"] == executed


def test_others_are_told_when_a_place_is_free(store: PostgresStore, postgres_url: str) -> None:
    store.join("ann", LONG)
    store.limit({"mail": 1})
    options = JobOptions(limit=1).text()
    store.add([a_job(queue="mail"), a_job(limit_key="k", options=options), a_job()])
    claims = store.claim("ann", ["mail", "default"], 10)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("LISTEN afterword")

        def told(act: Callable[[], object]) -> int:
            act()
            return len(list(connection.notifies(timeout=0.2)))

        ends = [told(lambda each=each: store.settle([_completed(each)])) for each in claims]  # type: ignore[misc]
        acts = [lambda: store.pause(["mail"]), lambda: store.resume(["mail"])]
        others = [told(act) for act in [*acts, lambda: store.limit({"mail": 2})]]

    assert [1, 1, 0] == ends
    assert [0, 1, 1] == others


def _completed(claim: Claim) -> Settlement:
    return Settlement(claim, Completed())


def test_starts_that_count_no_more_are_purged(store: PostgresStore, server: Server) -> None:
    store.join("ann", LONG)
    for period in (0.01, LONG):
        options = JobOptions(rate=(1, period)).text()
        store.add([a_job(limit_key=f"{period}", options=options)])
    store.claim("ann", ["default"], 10)
    time.sleep(0.05)

    store.purge(60.0, 100)

    database = database_of(store.url)
    assert [(f"{LONG}",)] == server.execute("SELECT key FROM afterword.rates", database)


def _end(store: PostgresStore, count: int) -> None:
    store.add([a_job() for _ in range(count)])
    store.settle([_completed(each) for each in store.claim("ann", ["default"], count)])


def test_a_purge_keeps_its_limit_where_the_history_was_just_small(
    store: PostgresStore, server: Server
) -> None:
    """As the planner last knew it; then many jobs have ended, before it has looked again."""
    database = database_of(store.url)
    store.join("ann", LONG)
    _end(store, 1)
    server.execute("ANALYZE afterword.history", database)
    _end(store, 9)

    assert [2, 2, 6] == [store.purge(0.0, 2), store.purge(0.0, 2), store.purge(0.0, 100)]


# ---------------------------------------------------------------------- schemas


def test_what_the_first_schema_held_is_kept(new_postgres_url: str) -> None:
    """The migrations only add; running, waiting and ended jobs stay as they were."""
    ids = [new_id() for _ in range(3)]
    first = migrations.load("afterword.store.postgres")[0]
    with psycopg.connect(new_postgres_url, autocommit=True) as connection:
        for statement in statements_of(first):
            connection.execute(statement.encode())
        connection.execute(
            "INSERT INTO afterword.jobs (id, task, arguments, queue, priority, state, run_at,"
            " attempt, worker, on_failure, created_at)"
            " SELECT id, 'app:send', '{}', 'default', 0, 'running', now(), 1, 'ann', 'stop', now()"
            " FROM unnest(%s::uuid[]) AS id",
            [ids],
        )
    store = PostgresStore(new_postgres_url)
    store.open()

    assert 3 == len(store.recover(10, 0.0))
    assert {()} == {each.tags for each in store.get(ids)}
    store.join("bob", LONG)
    assert 3 == len(store.claim("bob", ["default"], 10))
    store.close()


def test_jobs_of_the_users_transaction_have_keys(store: PostgresStore, postgres_url: str) -> None:
    """A follower of a call that was not added follows the existing job."""
    (first,) = _keyed("k")
    store.add([first])
    (again,) = _keyed("k")
    follower = a_job(after=again.id, tags=("a", "b"))
    with psycopg.connect(postgres_url) as connection:
        for statement in store.adding([again, follower]):
            connection.execute(pyformat(statement.sql).encode(), statement.values)

    (found,) = store.get([again.id, follower.id])
    assert (follower.id, first.id, ("a", "b")) == (found.id, found.after, found.tags)


def test_children_are_added_where_their_parent_is_completed(
    store: PostgresStore, postgres_url: str
) -> None:
    store.join("ann", LONG)
    store.add(_keyed("k"))
    (claim,) = store.claim("ann", ["default"], 1)
    (child,) = _keyed("k")
    with psycopg.connect(postgres_url) as connection:
        settlement = Settlement(claim, Completed(), [child])
        for statement in store.completing(settlement):
            connection.execute(pyformat(statement.sql).encode(), statement.values)

    assert [child.id] == [each.id for each in store.claim("ann", ["default"], 10)]


def test_a_claim_that_was_given_back_completes_nothing_there(
    store: PostgresStore, postgres_url: str
) -> None:
    """The same worker has the same attempt again, by another claim."""
    store.join("ann", LONG)
    store.add([a_job()])
    (old,) = store.claim("ann", ["default"], 1)
    store.release([Putback(old)])
    (new,) = store.claim("ann", ["default"], 1)
    accepted = []
    with psycopg.connect(postgres_url) as connection:
        for claim in (old, new):
            first = store.completing(Settlement(claim, Completed()))[0]
            cursor = connection.execute(pyformat(first.sql).encode(), first.values)
            accepted.append(cursor.fetchone() is not None)

    assert (old.attempt, old.worker) == (new.attempt, new.worker)
    assert [False, True] == accepted


def test_only_what_writes_is_kept_from_reading_whole_tables(store: PostgresStore) -> None:
    """People's queries may have to read much; for them the planner decides."""

    def settings(asked: session.Session) -> list[Any]:
        connection = asked.connection()
        return [connection.execute(f"SHOW {name}").fetchone() for name in session.PLANS]

    with store._people.looking() as people:
        assert [("on",)] * 3 == settings(people)
    assert [("off",)] * 3 == settings(store._writer.session)
