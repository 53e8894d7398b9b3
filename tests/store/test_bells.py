"""Bells: processes that share a store wake each other, without delays or errors."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from afterword import Afterword
from afterword.model.job import JobState
from afterword.model.outcome import Failed
from afterword.store import bells as module
from afterword.store.bells import Bells
from afterword.store.opening import open_store
from afterword.store.protocol import Store
from afterword.store.sqlite import SQLiteStore
from afterword.testing.kit import FUTURE, a_job, claim_of, end, join
from tests import warm
from tests.helpers import ROOT, wait_until

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")

LISTENER = """
    from pathlib import Path
    from afterword.store.bells import Bells

    bells = Bells(Path(sys.argv[1]))
    print(bells.listen(lambda: print("heard", flush=True)), flush=True)
    sys.stdin.read()
    bells.close()
"""
# It does not poll: it runs only jobs that it was told of.
WORKER = """
    import asyncio
    from starlette.applications import Starlette
    from afterword import Afterword
    from afterword.store import postgres, sqlite
    from afterword.worker import worker
    from tests.store.test_bells import greet

    worker.POLL_EVERY = postgres._LOOK_EVERY = sqlite._LOOK_EVERY = 3600.0

    async def main():
        afterword = Afterword(Starlette(), url=sys.argv[1], tasks=[greet])
        await afterword.start()
        await asyncio.sleep(0.5)  # until it listens, and has looked for the first time
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await afterword.stop()

    asyncio.run(main())
"""


def greet(name: str) -> None:
    """Do nothing, in the other process."""


@contextmanager
def program(body: str, *values: object) -> "Iterator[subprocess.Popen[str]]":
    """Run a Python process that has printed its first line, and that ends when its input does."""
    text = f"import os, sys\n{textwrap.dedent(body)}"
    process = warm.Popen(
        [sys.executable, "-c", text, *map(str, values)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline()
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=30)


def hears(process: "subprocess.Popen[str]") -> bool:
    """Wait until it is told of a change."""
    assert process.stdout is not None
    return process.stdout.readline() == "heard\n"


def files(folder: Path) -> list[str]:
    return sorted(each.suffix for each in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "workers"


@pytest.fixture
def bells(folder: Path) -> Iterator[Bells]:
    bells = Bells(folder)
    yield bells
    bells.close()


# ---------------------------------------------------------------------- bells


def test_another_process_is_woken(bells: Bells, folder: Path) -> None:
    with program(LISTENER, folder) as first, program(LISTENER, folder) as second:
        for _ in range(3):
            bells.ring()

            assert hears(first)
            assert hears(second)


def test_who_comes_later_is_found(bells: Bells, folder: Path) -> None:
    bells.ring()
    with program(LISTENER, folder) as first:
        bells.ring()
        assert hears(first)
        with program(LISTENER, folder) as second:
            time.sleep(0.01)  # the clocks of file systems are coarse
            bells.ring()
            assert hears(first)
            assert hears(second)


def test_nobody_wakes_itself(bells: Bells) -> None:
    heard = threading.Event()
    bells.listen(heard.set)
    bells.ring()

    assert not heard.wait(0.1)


def test_ringing_makes_no_directory(bells: Bells, folder: Path) -> None:
    bells.ring()

    assert not folder.exists()


def test_a_bell_is_private_and_goes_with_its_owner(bells: Bells, folder: Path) -> None:
    with program(LISTENER, folder):
        (bell,) = folder.iterdir()
        modes = [each.stat().st_mode & 0o777 for each in (folder, bell)]
        bells.ring()

    assert [0o700, 0o600] == modes
    assert [] == files(folder)


def test_the_bell_of_a_dead_process_is_removed(bells: Bells, folder: Path) -> None:
    with program(LISTENER, folder) as known, program(LISTENER, folder) as unknown:
        bells.ring()
        assert hears(known)
        assert hears(unknown)
        known.kill()
        known.wait()
        for _ in range(3):
            bells.ring()
        with program(LISTENER, folder) as later:
            later.kill()
            later.wait()
            bells.ring()
            bells.ring()

            assert [".bell"] == files(folder)
            assert hears(unknown)


def test_ringing_does_not_wait_for_who_sleeps(bells: Bells, folder: Path) -> None:
    with program(LISTENER, folder) as process:
        process.send_signal(signal.SIGSTOP)
        for _ in range(70_000):  # more than a pipe can hold
            bells.ring()
        process.send_signal(signal.SIGCONT)

        assert hears(process)


def test_a_stream_is_heard_in_batches(folder: Path, bells: Bells) -> None:
    heard: list[float] = []
    other = Bells(folder)
    other.listen(lambda: heard.append(time.monotonic()))
    until = time.monotonic() + 0.2
    while time.monotonic() < until:
        bells.ring()
    last = time.monotonic()
    bells.ring()
    wait_until(lambda: heard and heard[-1] >= last, description="the last is heard")
    gaps = [later - earlier for earlier, later in pairwise(heard)]
    other.close()

    assert min(gaps) >= module.PACE


def test_who_fails_to_hear_hears_the_next_one(folder: Path, bells: Bells) -> None:
    calls: list[int] = []
    other = Bells(folder)

    def heard() -> None:
        calls.append(len(calls) + 1)
        raise ValueError

    other.listen(heard)
    for number in (1, 2):
        bells.ring()
        wait_until(lambda: calls[-1:] == [number], description="it is heard")  # noqa: B023
    other.close()


def test_other_files_are_left_alone(bells: Bells, folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    (folder / "file.bell").touch()
    (folder / "link.bell").symlink_to(elsewhere)
    (folder / "ann.lock").touch()
    bells.ring()

    assert [".bell", ".bell", ".lock"] == files(folder)
    assert 0 == elsewhere.stat().st_size + (folder / "file.bell").stat().st_size


def test_where_no_bell_can_be_hung_nobody_fails(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    bells = Bells(tmp_path / "file" / "workers")
    heard = bells.listen(print)
    bells.ring()
    bells.close()

    assert not heard


def test_without_named_pipes_a_store_looks_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "mkfifo")
    store = SQLiteStore(tmp_path / "jobs.db")
    store.open()
    every = store.listen(print)
    store.close()

    assert every <= 0.01


def test_a_script_that_wants_sigpipe_is_not_ended_by_a_dead_listener(
    folder: Path, tmp_path: Path
) -> None:
    with program(LISTENER, folder) as listener:
        ringer = """
            import signal
            from pathlib import Path
            from afterword.store.bells import Bells

            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            bells = Bells(Path(sys.argv[1]))
            bells.ring()
            print("rung", flush=True)
            sys.stdin.readline()
            bells.ring()
            assert signal.SIGPIPE not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        """
        with program(ringer, folder) as process:
            listener.kill()
            listener.wait()

    assert 0 == process.returncode


def test_a_forked_child_leaves_its_parents_bells_alone(bells: Bells, folder: Path) -> None:
    parent = """
        from pathlib import Path
        from afterword.store.bells import Bells

        print("ready", flush=True)
        bells = Bells(Path(sys.argv[1]))
        bells.listen(lambda: print("heard", flush=True))
        bells.ring()
        child = os.fork()
        if child == 0:
            bells.forget()
            bells.close()
            bells.listen(int)
            bells.ring()
            bells.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        sys.stdin.read()
        bells.close()
    """
    with program(parent, folder) as process:
        assert hears(process)  # its child has rung
        bells.ring()

        assert hears(process)
    assert [] == files(folder)
    assert 0 == process.returncode


# ---------------------------------------------------------------------- stores


@contextmanager
def listening(url: str) -> Iterator[tuple[Store, threading.Event]]:
    """Open a second store on the same database, as another process; it has heard nothing yet."""
    store, heard = open_store(url), threading.Event()
    store.open()
    store.listen(heard.set)
    if not isinstance(store, SQLiteStore):
        heard.wait(10)  # for an announcement from before it listened
    heard.clear()
    yield store, heard
    store.close()


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    store = open_store(store_url)
    store.open()
    join(store, "ann")
    yield store
    store.close()


def test_another_store_hears_of_new_jobs(store: Store, store_url: str) -> None:
    with listening(store_url) as (_, heard):
        for _ in range(3):
            store.add([a_job()])

            assert heard.wait(30)
            heard.clear()
            time.sleep(0.01)  # it is heard only once
            heard.clear()


def test_another_store_hears_of_what_is_queued_again(store: Store, store_url: str) -> None:
    job = a_job()
    store.add([job])
    end(store, claim_of(store, job), Failed("error"))
    with listening(store_url) as (_, heard):
        store.retry([job.id])

        assert heard.wait(30)


def test_another_store_hears_what_is_announced(store: Store, store_url: str) -> None:
    with listening(store_url) as (_, heard):
        store.announce()

        assert heard.wait(30)


def test_nobody_is_woken_by_what_cannot_be_claimed(store: Store, store_url: str) -> None:
    with listening(store_url) as (_, heard):
        store.add([a_job(held=True)], held_by="ann")
        with suppress(ZeroDivisionError), store.transaction():
            store.add([a_job()])
            raise ZeroDivisionError

        assert not heard.wait(0.1)


def test_jobs_of_one_transaction_are_told_when_it_is_committed(
    store: Store, store_url: str
) -> None:
    with listening(store_url) as (_, heard):
        with store.transaction():
            store.add([a_job(), a_job(run_at=FUTURE)])
            before = heard.wait(0.05)

        assert not before
        assert heard.wait(30)


def test_a_closed_store_leaves_no_bell(tmp_path: Path) -> None:
    with listening(f"sqlite:///{tmp_path / 'jobs.db'}"):
        hung = files(tmp_path / "jobs.db-workers")

    assert [".bell"] == hung
    assert [] == files(tmp_path / "jobs.db-workers")


# ---------------------------------------------------------------------- workers


def has_completed(store: Store, job_id: str) -> bool:
    (record,) = store.get([job_id])
    return record.state is JobState.COMPLETED


def test_a_worker_in_another_process_need_not_look(store: Store, store_url: str) -> None:
    with program(WORKER, store_url):
        afterword = Afterword(url=store_url)
        for name in ("ann", "bob", "eve"):
            job = afterword.add_task_sync(greet, name)
            wait_until(lambda: has_completed(store, job.id), description=f"{name} is greeted")  # noqa: B023
        afterword.close()
