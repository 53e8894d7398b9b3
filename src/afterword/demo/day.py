"""A store like that of a shop after a day's work, for dashboards; none of its jobs has run.

Ended jobs are restored as from an export, and counted. Unfinished jobs are added and claimed as
usual, by a clock that goes through the last hour.
"""

import json
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from afterword.model.audit import Actor
from afterword.model.clock import Clock, as_datetime
from afterword.model.job import JobOptions, JobRecord, JobState, NewJob, first_id, new_fence, new_id
from afterword.model.outcome import Completed, Failed, Outcome, RetryAt
from afterword.store.protocol import Claim, Declared, Report, Settlement, Store
from afterword.store.sqlite import SQLiteStore

_DAY, _HOUR = 24 * 3600.0, 3600.0
_PER_MINUTE = 9.0  # jobs, on average of a day
_BATCH = 1_000

_REFUSED = """Traceback (most recent call last):
  File "/app/.venv/lib/python3.13/site-packages/httpx/_client.py", line 1014, in send
    response = self._send_handling_auth(
        request, auth=auth, follow_redirects=follow_redirects, history=[]
    )
  File "/app/.venv/lib/python3.13/site-packages/httpx/_transports/default.py", line 118, in handle
    raise mapped_exc(message) from exc
  File "/app/shop/mail.py", line 42, in send_receipt
    response = client.post(f"{MAIL}/messages", json=letter)
httpx.ConnectError: [Errno 111] Connection refused by mail.shop.example:443
"""
DECLINED = """Traceback (most recent call last):
  File "/app/shop/payments.py", line 88, in capture
    raise CardDeclined(f"order {order} was declined by the bank")
shop.payments.CardDeclined: order 48213 was declined by the bank
"""
_LOG = """INFO shop.mail: writing the receipt of order 48107
INFO shop.mail: connecting to mail.shop.example
WARNING shop.mail: no answer within 5 s, trying the second server
ERROR shop.mail: neither server takes mail
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A task of the shop.

    Args:
        share: of all jobs.
        typical: seconds that it takes.
        fails: the share of its jobs that fail, with this error.
        argument: the name of its argument.
    """

    task: str
    queue: str
    share: float
    typical: float
    fails: float
    error: str = ""
    argument: str = "order"


SHOP = (
    Kind("shop.orders:pack_order", "default", 0.52, 0.18, 0.0),
    Kind("shop.mail:send_receipt", "mail", 0.27, 0.42, 0.004, _REFUSED),
    Kind("shop.payments:capture", "default", 0.12, 0.9, 0.02, DECLINED),
    Kind("shop.images:resize", "images", 0.08, 4.0, 0.0),
    Kind("shop.reports:build", "reports", 0.01, 38.0, 0.0),
)


class Setting(Clock):
    """A clock that can be set by hand.

    Args:
        at: its time; None: the time of the host.
    """

    def __init__(self, at: float | None) -> None:
        self.at = at

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return super().now() if self.at is None else self.at


@contextmanager
def filled(path: Path, seed: int = 7) -> Iterator[tuple[Store, dict[str, str]]]:
    """Make a store in this file, and fill it; its workers live as long as the block runs.

    Gives the open store, and ids of jobs worth seeing, by a name.
    """
    now = Clock().now()
    clock = Setting(now)
    store = SQLiteStore(path, clock)
    store.open()
    try:
        chance = random.Random(seed)
        restore(store, _ended(SHOP, chance, now))
        named = _Unfinished(store, clock, chance, now).add()
        clock.at = None
        yield store, named
    finally:
        store.close()


# ---------------------------------------------------------------------- ended jobs


def restore(store: Store, records: Iterable[JobRecord]) -> None:
    """Add jobs that have ended, and count them."""
    remaining = iter(records)
    while some := list(islice(remaining, _BATCH)):
        store.restore(some)
    while store.roll_up(24 * 60):
        pass


def _ended(kinds: Sequence[Kind], chance: random.Random, now: float) -> Iterator[JobRecord]:
    """Yield the jobs of a day, with an outage of the mail server."""
    at = now - _DAY + 60
    while at < now - 1:
        hours = (now - at) / _HOUR
        rate = _PER_MINUTE * (1.15 + 0.8 * math.cos(hours / 24 * 2 * math.pi))
        at += chance.expovariate(rate / 60)
        outage = 34 * 60 < now - at < 47 * 60
        yield ended_job(_one_of(kinds, chance), chance, min(at, now - 1), outage=outage)


def steady(
    kinds: Sequence[Kind], chance: random.Random, now: float, seconds: float, per_minute: float
) -> Iterator[JobRecord]:
    """Yield the jobs that ended in the seconds before now."""
    at = now - seconds
    while at < now - 1:
        yield ended_job(_one_of(kinds, chance), chance, at)
        at += chance.expovariate(per_minute / 60)


def _one_of(kinds: Sequence[Kind], chance: random.Random) -> Kind:
    (kind,) = chance.choices(kinds, [each.share for each in kinds])
    return kind


def ended_job(
    kind: Kind, chance: random.Random, ended: float, *, outage: bool = False
) -> JobRecord:
    """Make a job that ended at this time."""
    slow = 3.0 if outage else 1.0
    ran = kind.typical * chance.lognormvariate(0, 0.5) * (slow if kind.error else 1.0)
    waited = 0.02 * chance.lognormvariate(0, 1.1) * slow**2
    lost = outage and kind.error is _REFUSED and chance.random() < 0.55
    failed = lost or chance.random() < kind.fails
    added = ended - ran - waited
    number = chance.randrange(10_000, 99_999)
    return JobRecord(
        id=_id_at(added, chance),
        task=kind.task,
        arguments=json.dumps({kind.argument: number}),
        queue=kind.queue,
        priority=0,
        state=JobState.FAILED if failed else JobState.COMPLETED,
        attempt=3 if lost else 1,
        lost=0,
        interrupted=0,
        worker=None,
        after=None,
        on_failure="stop",
        request_id=None,
        error=kind.error.replace("48213", str(number)) if failed else None,
        created_at=as_datetime(added),
        run_at=as_datetime(added),
        started_at=as_datetime(ended - ran),
        finished_at=as_datetime(ended),
        failures=2 if lost else 0,
    )


# ---------------------------------------------------------------------- unfinished jobs


class _Unfinished:
    def __init__(self, store: Store, clock: Setting, chance: random.Random, now: float) -> None:
        self._store = store
        self._clock = clock
        self._chance = chance
        self._now = now
        self._workers = [f"{new_fence():016x}" for _ in range(3)]

    def add(self) -> dict[str, str]:
        """Add jobs in every state, workers, schedules and rules."""
        self._join()
        named = {"failed": self._failed_receipt(), "retrying": self._retrying()}
        self._clock.at = self._now - 41
        named["running"] = self._running()
        self._clock.at = self._now - 3
        named["queued"] = self._queued()
        self._declare()
        return named

    def _join(self) -> None:
        for worker, queues, slots in zip(
            self._workers,
            [("default", "mail"), ("default", "mail"), ("images", "reports")],
            [8, 8, 4],
            strict=True,
        ):
            self._store.join(worker, _DAY, queues, slots)
            self._store.take_note(worker, None)

    def _failed_receipt(self) -> str:
        """A receipt that was tried three times: with attempts, logs, and jobs of its request."""
        job = NewJob(
            id=_id_at(self._now - 2000, self._chance),
            task="shop.mail:send_receipt",
            arguments=json.dumps(
                {
                    "to": "ada@example.org",
                    "order": {"number": 48107, "total": 49.9, "lines": ["tea", "a cup"]},
                    "gift": True,
                }
            ),
            queue="mail",
            request_id="req-7f3a9c41",
            tags=("vip",),
            options=JobOptions(retries=2, timeout=30.0).text(),
        )
        ends: Sequence[tuple[float, Outcome]] = (
            (2000, RetryAt(10.0, _REFUSED)),
            (1980, RetryAt(80.0, _REFUSED)),
            (1890, Failed(_REFUSED)),
        )
        self._clock.at = self._now - 2001
        pack = NewJob(
            id=new_id(),
            task="shop.orders:pack_order",
            arguments='{"order": 48107}',
            request_id=job.request_id,
        )
        self._store.add([pack, job])
        self._end(pack, Completed(), 0.21)
        for ago, outcome in ends:
            self._clock.at = self._now - ago
            self._end(job, outcome, 5.4)
        return job.id

    def _end(self, job: NewJob, outcome: Outcome, seconds: float) -> None:
        claim = self._claim(job)
        self._clock.at = self._clock.now() + seconds
        log = _LOG if job.queue == "mail" else None
        self._store.settle([Settlement(claim, outcome, seconds=seconds, log=log)])

    def _claim(self, job: NewJob, worker: int = 0) -> Claim:
        (claim,) = self._store.claim(self._workers[worker], [job.queue], 1)
        return claim

    def _retrying(self) -> str:
        self._clock.at = self._now - 90
        job = NewJob(
            id=new_id(),
            task="shop.payments:capture",
            arguments='{"order": 48213}',
            options=JobOptions(retries=5).text(),
        )
        self._store.add([job])
        self._end(job, RetryAt(280.0, DECLINED), 1.2)
        return job.id

    def _running(self) -> str:
        resize = [
            NewJob(id=new_id(), task="shop.images:resize", queue="images", arguments=folder)
            for folder in ('{"folder": "/photos/2026/11"}', '{"folder": "/photos/2026/12"}')
        ]
        report = NewJob(id=new_id(), task="shop.reports:build", queue="reports")
        self._store.add([*resize, report])
        claims = [self._claim(job, 2) for job in (*resize, report)]
        for claim, done in zip(claims, (64, 12), strict=False):
            progress = {"current": done, "total": 96, "message": "resizing"}
            self._store.report([Report(claim, json.dumps(progress))])
        return claims[0].id

    def _queued(self) -> str:
        for number in range(5):
            self._add("shop.orders:pack_order", arguments=json.dumps({"order": 48300 + number}))
        self._store.claim(self._workers[0], ["default"], 3)
        first = self._add("shop.reports:build", queue="reports", run_at=self._now + 2 * _HOUR)
        self._add("shop.mail:send_report", queue="mail", after=first)
        for month in range(3):
            self._add(
                "shop.export:to_warehouse", queue="exports", arguments=f'{{"month": {month}}}'
            )
        self._store.limit({"reports": 2}, Actor(name="sue@shop.example", place="dashboard"))
        return first

    def _add(self, task: str, **values: object) -> str:
        job = NewJob(**{"id": new_id(), "task": task, **values})  # type: ignore[arg-type]
        self._store.add([job])
        return job.id

    def _declare(self) -> None:
        daily, often, weekly = "0 3 * * *", "*/15 * * * *", "0 8 * * 1"
        self._store.declare(
            [
                self._schedule("nightly-report", "reports:build", daily, "at 03:00", 5 * _HOUR),
                self._schedule("sweep-baskets", "orders:sweep", often, "every 15 minutes", 400),
                self._schedule("letter", "mail:send_letter", weekly, "at 08:00 on Monday", _DAY),
            ]
        )

    def _schedule(self, name: str, task: str, rule: str, words: str, wait: float) -> Declared:
        return Declared(
            name=name,
            task=f"shop.{task}",
            rule=f"{rule} UTC",
            words=words,
            next_at=self._now + wait,
        )


def _id_at(at: float, chance: random.Random) -> str:
    """Return an id as it would have been made at this time."""
    variant = 0x8000 | chance.getrandbits(14)
    return f"{first_id(at)[:19]}{variant:04x}-{chance.getrandbits(48):012x}"
