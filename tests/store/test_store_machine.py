"""Random histories of every store agree with the model; AFTERWORD_EXAMPLES sets their number.

Two PostgreSQL stores on one database also meet within transactions. There the answers depend on
the order, so only properties that hold in any order are compared.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from afterword.errors import StoreUnavailable
from afterword.job import JobRecord, JobState
from afterword.outcome import Completed, Failed, Outcome, Released, RetryAt
from afterword.store import Claim, Putback, Settlement, Store, held_claim, open_store
from afterword.testing import store_machine
from afterword.testing.kit import BATCH, LONG, PAST, a_job
from tests.postgres import Server
from tests.stores import MakeStore, stores_on

EXAMPLES = int(os.environ.get("AFTERWORD_EXAMPLES", "15"))
MEET = 0.01  # seconds within which the second verb reaches the first one's locks
TRIES = 100  # of a verb that meets the locks of the other store


def _settings(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def test_every_store_agrees_with_the_model(make_store: MakeStore) -> None:
    run_state_machine_as_test(store_machine(make_store), settings=_settings(EXAMPLES, 30))


def test_two_stores_that_meet_within_transactions_keep_every_promise(
    server: Server, shared_url: str
) -> None:
    make = stores_on(server, shared_url)

    class Machine(TwoStores):
        make_stores = staticmethod(lambda: (make(), open_store(shared_url)))

    run_state_machine_as_test(Machine, settings=_settings(max(1, EXAMPLES // 4), 12))


class Side:
    """One of two stores, in its own thread, with its claims."""

    def __init__(self, store: Store, worker: str) -> None:
        self.store = store
        self.worker = worker
        self.claims: list[Claim] = []
        self.thread = ThreadPoolExecutor(1)
        self.call(store.open)
        self.call(lambda: store.join(worker, LONG))

    def call(self, verb: Callable[[], object]) -> None:
        """Call a verb in the store's thread."""
        self.thread.submit(verb).result()

    def close(self) -> None:
        """Close the store, and end its thread."""
        self.call(self.store.close)
        self.thread.shutdown()


@dataclass(frozen=True)
class Act:
    """A verb, and the source of its arguments."""

    verb: str
    index: int
    key: str | None
    outcome: Outcome


ACTS = st.builds(
    Act,
    st.sampled_from(
        [
            "add",
            "add",
            "hold",
            "claim",
            "claim",
            "settle",
            "settle",
            "release",
            "discard",
            "cancel",
            "delete",
            "retry",
        ]
    ),
    st.integers(0, 1_000),
    st.sampled_from([None, None, "a", "b"]),
    st.sampled_from([Completed(), Completed(), Failed("error"), RetryAt(0.0, "error"), Released()]),
)


class TwoStores(RuleBasedStateMachine):
    """A machine with verbs of one store while a transaction of the other one is open."""

    make_stores: Callable[[], tuple[Store, Store]]

    def __init__(self) -> None:
        super().__init__()
        first, second = type(self).make_stores()
        self.sides = (Side(first, "worker-1"), Side(second, "worker-2"))
        self.ids: list[str] = []
        self.given: list[tuple[str, int | None]] = []  # the fences of claims that were committed

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            for side in self.sides:
                side.close()

    # ------------------------------------------------------------------ two at once

    @rule(outer=st.lists(ACTS, min_size=1, max_size=3), inner=ACTS, swapped=st.booleans())
    def meet(self, outer: list[Act], inner: Act, swapped: bool) -> None:
        one, other = reversed(self.sides) if swapped else self.sides
        between: list[Future[None]] = []

        def begin_the_other() -> None:
            if not between:
                between.append(other.thread.submit(self.insist, other, [inner]))
                wait(between, MEET)  # not longer: it may wait for this transaction

        one.call(lambda: self.insist(one, outer, begin_the_other))
        for each in between:
            each.result()
        self.check()

    def insist(
        self, side: Side, acts: list[Act], between: Callable[[], object] = lambda: None
    ) -> None:
        """Do everything in one transaction; again if the other store has caused a rollback."""
        for _ in range(TRIES):
            claims: list[Claim] = []
            with contextlib.suppress(StoreUnavailable):
                with side.store.transaction() if len(acts) > 1 else contextlib.nullcontext():
                    for act in acts:
                        claims.extend(self.do(side, act))
                        if act is acts[0] and len(acts) > 1:
                            between()
                between()
                side.claims.extend(claims)
                self.given.extend((each.id, each.fence) for each in claims)
                return
        raise AssertionError(f"{acts} met the other store's locks {TRIES} times")

    def do(self, side: Side, act: Act) -> Iterator[Claim] | list[Claim]:
        """Call one verb; returns the claims that it gives."""
        store, job_id = side.store, self.pick(act.index)
        if act.verb in ("add", "hold"):
            return self.add(side, act)
        if act.verb == "claim":
            return list(store.claim(side.worker, ["default"], 1 + act.index % 3))
        if act.verb in ("cancel", "delete", "retry"):
            verbs = {
                "cancel": lambda: store.cancel([job_id], "by a person"),
                "delete": lambda: store.delete([job_id]),
                "retry": lambda: store.retry([job_id]),
            }
            if job_id:
                verbs[act.verb]()
        elif side.claims:
            claim = side.claims[-1 - act.index % min(4, len(side.claims))]
            self.end(store, claim, act)
        return []

    def add(self, side: Side, act: Act) -> list[Claim]:
        held = act.verb == "hold"
        before = self.pick(act.index) or None
        on_failure = "stop" if act.index % 2 else "continue"
        first = a_job(after=before, held=held, on_failure=on_failure, unique_key=act.key)
        jobs = [first, a_job(after=first.id, held=held, on_failure=on_failure)]
        added = side.store.add(jobs, side.worker)
        self.ids.extend(job.id for job in jobs)
        new = [job for job, answer in zip(jobs, added, strict=True) if answer.added and held]
        return [held_claim(job, side.worker, PAST) for job in new]

    def end(self, store: Store, claim: Claim, act: Act) -> None:
        if act.verb == "settle":
            store.settle([Settlement(claim, act.outcome)])
        elif act.verb == "release":
            store.release([Putback(claim)])
        else:
            store.discard([claim])

    def pick(self, index: int) -> str:
        """Pick one of the last few jobs, or none."""
        recent = self.ids[-6:]
        return recent[index % len(recent)] if recent else ""

    # ------------------------------------------------------------------ what must hold

    def records(self) -> dict[str, JobRecord]:
        return {each.id: each for each in self.sides[0].store.get(self.ids)}

    def check(self) -> None:
        """Check that each job has one place, whatever the order was."""
        records = self.records()
        unfinished = {key: each for key, each in records.items() if not each.state.final}
        orphans = [key for key, each in unfinished.items() if each.after not in {None, *unfinished}]
        keys = Counter(each.unique_key for each in unfinished.values() if not each.cancelling)
        del keys[None]

        assert orphans == []
        assert [key for key, count in keys.items() if count > 1] == []
        assert [fence for fence, count in Counter(self.given).items() if count > 1] == []

    def finish(self) -> None:
        """Check that all jobs that are left can be run."""
        self.check()
        for side in self.sides:
            side.call(lambda side=side: side.store.leave(side.worker))  # type: ignore[misc]
        last = self.sides[0]
        last.call(lambda: last.store.join("worker-3", LONG))
        for _ in range(2 * len(self.ids) + 2):
            last.call(lambda: self.run_some(last.store))
        left = [each for each in self.records().values() if not each.state.final]

        assert left == []

    def run_some(self, store: Store) -> None:
        store.recover(BATCH, 0.0)
        claims = store.claim("worker-3", ["default"], BATCH)
        running = {each.id for each in self.records().values() if each.state is JobState.RUNNING}

        assert {claim.id for claim in claims} <= running
        store.settle([Settlement(claim, Completed()) for claim in claims])
