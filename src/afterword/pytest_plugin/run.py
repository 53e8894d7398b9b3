"""The stores and the clock of a test run."""

import asyncio
import itertools
import json
import math
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from weakref import WeakKeyDictionary

from afterword.app import Afterword
from afterword.client.group_commit import GroupCommit
from afterword.client.inquiries import growing_delays
from afterword.errors import ConfigurationError, WouldBlock
from afterword.model.clock import Clock
from afterword.model.job import JobRecord, JobState
from afterword.model.records import Filter
from afterword.schedules.scheduler import Scheduler
from afterword.store.opening import STORES_OF_TESTS, open_store
from afterword.store.paging import pages
from afterword.store.protocol import Store
from afterword.store.sqlite import SQLiteStore
from afterword.store.url import masked

PATIENCE = 30.0  # seconds for which a request waits for its tasks
MOST = 10_000  # occurrences of schedules in one call of `move_time`


class MovableClock(Clock):
    """This host's clock, and a number of seconds by which a test has moved it.

    The monotonic clock is never moved: it measures leases and patience.
    """

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return super().now() + self.ahead


class PytestRun:
    """Gives every `Afterword` of a test run a store: one for each URL that they have.

    Args:
        folder: for the files of these stores.
    """

    def __init__(self, folder: Path) -> None:
        self.clock = MovableClock()
        self.holds_jobs = False
        self.left_over: frozenset[str] = frozenset()  # jobs that tests before have left running
        self._folder = folder
        self._numbers = itertools.count(1)
        self._url: str | None = None
        self._urls: WeakKeyDictionary[Afterword, str] = WeakKeyDictionary()
        self._paths: dict[str, Path] = {}  # of the stores that take the place of these URLs

    # ------------------------------------------------------------------ stores

    advice = (
        "(Under the pytest plugin every store is a temporary file, unless the fixture afterword_url"
        " returns the URL of the tests' own database.)"
    )

    def store_for(self, afterword: Afterword, url: str) -> Store:
        """Return the store, not yet opened, that replaces the store of this URL."""
        self._urls[afterword] = url
        return self._new_store(url)

    def _new_store(self, url: str) -> Store:
        if self._url is None and url not in self._paths:
            self._paths[url] = self._folder / str(next(self._numbers)) / "jobs.db"
            self._paths[url].parent.mkdir()
        self._tell_children()
        if self._url is not None:
            return open_store(self._url)
        return SQLiteStore(self._paths[url], self.clock)

    def _tell_children(self) -> None:
        """Let processes that are started from now on, as for tasks, use the same stores."""
        stores = {url: f"sqlite:///{path}" for url, path in self._paths.items()}
        if self._url is not None:
            stores = dict.fromkeys(self._urls.values(), self._url)
        os.environ[STORES_OF_TESTS] = json.dumps(stores)

    def use_url(self, url: str | None) -> None:
        """Keep all jobs in the store of this URL; None: in files of their own."""
        if url == self._url:
            return
        self._url = url
        self._paths.clear()
        for afterword, usual in self._urls.items():
            if _is_serving(afterword):
                raise ConfigurationError(
                    "The fixture afterword_url must have its value before an application is"
                    " started. Let the fixture that starts it request afterword_url. If modules"
                    ' have different values, start it for each module: scope="module".'
                )
            afterword.runtime.use_store(self._new_store(usual))
        self.left_over = self._empty_given()

    def groups(self) -> list[list[Afterword]]:
        """Return the Afterwords that share a store, the one first that runs its jobs.

        That is one that is started, or else the newest that has an application.
        """
        found: dict[str, list[Afterword]] = {}
        for afterword, url in self._urls.items():
            found.setdefault(self._url or url, []).insert(0, afterword)
        return [sorted(each, key=_readiness, reverse=True) for each in found.values()]

    # ------------------------------------------------------------------ a test

    def begin_test(self) -> None:
        """Forget the jobs of the test before, and the time to which it moved the clock.

        A job that is still running cannot be deleted, so it is hidden from the next tests.

        The clock stays where it is while an application runs on: its schedules have gone so far.
        """
        groups = self.groups()
        if not any(_is_serving(group[0]) for group in groups):
            self.clock.ahead = 0.0
        left_over: set[str] = set()
        for group in groups:
            if _is_serving(group[0]):
                left_over |= _empty(group[0].inquiries.store_after_writes())
            elif self._url is None:
                self._renew(group)
        self.left_over = self._empty_given() | left_over
        self.hold_jobs(False)

    def _renew(self, group: Sequence[Afterword]) -> None:
        """Take a new file, unless the present one was never used."""
        url = self._urls[group[0]]
        path = self._paths.get(url)
        if path is not None and path.exists():
            del self._paths[url]
            for each in group:
                each.runtime.use_store(self._new_store(url))
            shutil.rmtree(path.parent, ignore_errors=True)

    def _empty_given(self) -> frozenset[str]:
        if self._url is None:
            return frozenset()
        store = open_store(self._url)
        group = GroupCommit(store)
        group.start()
        try:
            return frozenset(_empty(store))
        finally:
            group.stop()

    def hold_jobs(self, held: bool) -> None:
        """Start no job until the test runs it."""
        self.holds_jobs = held
        for afterword in list(self._urls):
            afterword.runtime.hold_jobs(held)

    def move_time(self, seconds: float) -> None:
        """Move the clock forward, from one occurrence of a schedule to the next."""
        if self._url is not None:
            raise ConfigurationError(
                "Only the plugin's own stores have a clock that can be moved, but the fixture"
                f" afterword_url names {masked(self._url)}. Keep tests that move the time in a"
                " folder of their own, and that fixture in the conftest.py of another one."
            )
        until = self.clock.now() + seconds
        ahead = self.clock.ahead + seconds
        schedulers = [self._scheduler_of(each) for each in list(self._urls)]
        for _ in range(MOST):
            times = [each.fire() for each in schedulers]
            at = min((each for each in times if each is not None), default=math.inf)
            if at > until:
                break
            self.clock.ahead = max(at - time.time(), self.clock.ahead)
        self.clock.ahead = ahead
        for each in schedulers:  # of more occurrences, those that count as missed
            each.fire()

    def _scheduler_of(self, afterword: Afterword) -> Scheduler:
        afterword.inquiries.store()  # opened, if it was not
        scheduler = afterword.runtime.new_scheduler()
        scheduler.declare()
        return scheduler

    def end(self) -> None:
        """Close the stores that are still open."""
        for afterword in list(self._urls):
            if not _is_serving(afterword):
                afterword.close()

    # ------------------------------------------------------------------ a request

    async def wait_for(self, afterword: Afterword, ids: Sequence[str]) -> None:
        """Wait until these jobs have ended, except those that cannot run now.

        These are jobs with a delay, jobs that wait for them, and jobs in a paused queue. Jobs in
        queues that no worker of this process serves are started here.

        Raises:
            WouldBlock: the application was started in an event loop that does not run.
            TimeoutError: a job takes longer than `PATIENCE`.
        """
        left: Sequence[JobRecord] = ()
        try:
            async with asyncio.timeout(PATIENCE):
                seen: object = None
                for delay in growing_delays():
                    records = await afterword.inquiries.records(ids)
                    left = [each for each in records if not each.state.final]
                    if any(each.run_at.timestamp() <= self.clock.now() for each in left):
                        require_running(_loop_of(afterword))
                    started = await afterword.runtime.start_due()
                    state = [(each.id, each.state, each.attempt) for each in left]
                    stuck = all(each.state is JobState.QUEUED for each in left) and state == seen
                    if not left or (stuck and not started):
                        return
                    seen = state
                    await asyncio.sleep(delay)
        except TimeoutError:
            raise TimeoutError(_too_long(left)) from None


def require_running(loop: asyncio.AbstractEventLoop) -> None:
    """Refuse an event loop in which no task can run.

    Raises:
        WouldBlock: it does not run.
    """
    if not loop.is_running():
        raise WouldBlock(
            "The application was started in an event loop that does not run now, so its tasks"
            " cannot run. Start it and use it in the same event loop: a fixture that starts it and"
            " an async test need the same loop scope."
        )


def _loop_of(afterword: Afterword) -> asyncio.AbstractEventLoop:
    return afterword.runtime.serving_loop or asyncio.get_running_loop()


def _too_long(left: Sequence[JobRecord]) -> str:
    jobs = ", ".join(f"{each.task} ({each.state})" for each in left)
    return (
        f"Under the pytest plugin a request waits for its tasks, but after {PATIENCE:g} seconds"
        f" these have not ended: {jobs}. With the fixture `jobs` a request waits for none."
    )


def _readiness(afterword: Afterword) -> tuple[bool, bool]:
    return _is_serving(afterword), afterword.runtime.app is not None


def _is_serving(afterword: Afterword) -> bool:
    return afterword.runtime.serving_loop is not None


def _empty(store: Store) -> set[str]:
    """Delete all jobs except those that are still running; return the ids of these."""
    left: set[str] = set()
    for page in pages(store, Filter()):
        ids = [each.id for each in page]
        left.update(job_id for job_id, gone in zip(ids, store.delete(ids), strict=True) if not gone)
    return left
