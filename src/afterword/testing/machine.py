"""Random histories of a store, compared with a model of it; needs Hypothesis.

After each step every job of the store is compared with it, so that no job can disappear, no state
can be wrong, no attempt can be counted backwards and nothing that has ended can change without
being noticed. The model is in `model.py`.

Claims are kept for ever and used again at random: most writes are therefore stale, and must be
refused.
"""

from collections.abc import Callable, Sequence

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from afterword.model.job import JobRecord, JobState, NewJob, new_id
from afterword.model.outcome import (
    Cancelled,
    Completed,
    Failed,
    HandedOver,
    Outcome,
    Released,
    RetryAt,
)
from afterword.store.protocol import (
    Added,
    Claim,
    Putback,
    Recovered,
    Settlement,
    Store,
    held_claim,
)
from afterword.testing.kit import BATCH, LONG, PAST, a_job, added, expect, options
from afterword.testing.model import Model, ModelJob

OUTCOMES: Sequence[Outcome] = (
    Completed(),
    HandedOver(),
    Failed("error"),
    Cancelled("reason"),
    RetryAt(0.0, "error"),
    RetryAt(LONG, "error"),
    Released(),
)
_index = st.integers(min_value=0, max_value=10_000)  # picks from a list, whatever its length


class StoreMachine(RuleBasedStateMachine):
    """Rules are the verbs of the store; see `store_machine`."""

    make_store: Callable[[], Store]

    def __init__(self) -> None:
        super().__init__()
        self.store = type(self).make_store()
        self.store.open()
        self.model = Model()
        self.claims: list[Claim] = []
        self.final: dict[str, JobRecord] = {}
        self.attempts: dict[str, int] = {}
        self.workers = 0
        self.join()

    def teardown(self) -> None:
        self.store.close()

    def pick(self, index: int) -> str:
        """A member."""
        members = sorted(self.model.members)
        return members[index % len(members)]

    def pick_claim(self, index: int) -> Claim:
        """Half of the time a claim that holds, or one on a job that runs under another claim."""
        kind, place = index % 4, index // 4
        holding = [claim for claim in self.claims if self.model.fenced(claim)]
        running = {claim.id for claim in holding}
        outrun = [claim for claim in self.claims if claim.id in running and claim not in holding]
        claims = {0: holding, 1: outrun}.get(kind) or self.claims
        return claims[place % len(claims)]

    # ------------------------------------------------------------------ workers

    @precondition(lambda self: len(self.model.members) < 2)
    @rule()
    def join(self) -> None:
        self.workers += 1
        worker = f"worker-{self.workers}"
        self.store.join(worker, LONG)
        self.model.members.add(worker)

    @precondition(lambda self: len(self.model.members) > 1)
    @rule(index=_index, leaves=st.booleans())
    def die(self, index: int, leaves: bool) -> None:
        worker = self.pick(index)
        if leaves:
            self.store.leave(worker)
        else:
            self.store.renew(worker, 0.0)  # its lease has run out by the next recovery
        self.model.members.remove(worker)

    @rule(limit=st.sampled_from([1, 2, BATCH]), lease=st.sampled_from([0.0, LONG]))
    def recover(self, limit: int, lease: float) -> None:
        lost = len(self.model.lost())
        recovered = self.store.recover(limit, lease)
        for each in recovered:
            self.check_recovered(each, lease)
        expect(True, len(recovered) <= min(limit, lost), "no more than the lost, and the limit")
        if limit == BATCH:
            expect([], self.model.lost(), "lost jobs left after recovery")

    def check_recovered(self, each: Recovered, lease: float) -> None:
        job = self.model.jobs[each.id]
        expect(True, job in self.model.lost(), f"{job} is lost")
        expect((job.attempt, job.lost + 1), (each.attempt, each.lost), "the report")
        expect(self.model.recover(job, lease), each.state, "what became of it")

    # ------------------------------------------------------------------ adding

    @rule(
        rules=st.lists(st.sampled_from(["stop", "continue"]), min_size=1, max_size=3),
        before=st.none() | _index,
        held=st.booleans(),
        priority=st.integers(0, 1),
        keys=st.tuples(*[st.sampled_from([None, None, "a", "b"])] * 3),
        limit=st.sampled_from([None, None, 1, 2]),
        index=_index,
    )
    def add(
        self,
        rules: list[str],
        before: int | None,
        held: bool,
        priority: int,
        keys: tuple[str | None, ...],
        limit: int | None,
        index: int,
    ) -> None:
        known = sorted(self.model.jobs)
        after = known[before % len(known)] if known and before is not None else None
        worker = self.pick(index)
        jobs, request_id = [], new_id()
        for on_failure, key in zip(rules, keys, strict=False):
            said = {"priority": priority, "unique_key": key, **_limited(limit)}
            said["request_id"] = request_id
            jobs.append(a_job(after=after, held=held, on_failure=on_failure, **said))
            after = jobs[-1].id
        expected = self.model_add(jobs, limit, worker)
        expect(expected, list(self.store.add(jobs, worker)), "new jobs")

    def model_add(self, jobs: list[NewJob], limit: int | None, worker: str) -> list[Added]:
        answers: dict[str, Added] = {}
        others: dict[str, tuple[str | None, str]] = {}  # what each would have followed, and is
        for job in jobs:
            after, instead = others.get(job.after or "", (job.after, None))
            if holder := self.model.holder(job.unique_key):
                self.model.share(holder, job.request_id)
                answers[job.id] = Added(holder.id, False)
                others[job.id] = (after, holder.id)
                continue
            before = self.model.jobs.get(after or "")
            after = after if before and not before.state.final else instead
            row = ModelJob(job.id, job.priority, job.on_failure, after)
            row.unique_key, row.limit = job.unique_key, limit
            row.request_id = job.request_id
            self.model.add(row)
            waits = job.held and self.model.is_to_end(job.unique_key)
            answers[job.id] = Added(job.id, True, waits=waits)
            if job.held:
                held = held_claim(job, worker, PAST)
                row.state, row.attempt, row.worker = JobState.RUNNING, 1, worker
                row.fence = held.fence
                self.claims.append(held)
        return list(answers.values())

    @precondition(lambda self: self.model.jobs)
    @rule(index=_index, held=st.booleans(), worker=_index)
    def add_again(self, index: int, held: bool, worker: int) -> None:
        known = sorted(self.model.jobs)
        job = a_job(id=known[index % len(known)], held=held)
        expect([False], added(self.store, [job], self.pick(worker)), "a known job")

    # ------------------------------------------------------------------ taking and ending

    @rule(index=_index, limit=st.integers(1, 4))
    def claim(self, index: int, limit: int) -> None:
        worker = self.pick(index)
        left = limit
        while left:
            left -= self.claim_some(worker, left)
            if not self.store.changed():  # or else there may be more behind those that were put off
                break
        if left:
            expect([], self.model.free(), "jobs that a claim with room has left")

    def claim_some(self, worker: str, limit: int) -> int:
        ready = self.model.claimable()
        claims = self.store.claim(worker, ["default"], limit)
        expect(True, len(claims) <= limit, f"{len(claims)} claims of {limit}")
        for claim in claims:
            job = self.model.jobs[claim.id]
            expect(True, job in ready, f"{job} was claimable")
            expect((job.attempt + 1, worker), (claim.attempt, claim.worker), "the fence")
            expect(job.failures, claim.failures, "failures")
            expect(True, job in self.model.free(), f"{job} was within its limit")
            expect(False, claim in self.claims, "a claim that was given out before")
            job.state, job.attempt, job.worker = JobState.RUNNING, claim.attempt, worker
            job.fence = claim.fence
        self.check_order([self.model.jobs[claim.id] for claim in claims])
        self.claims.extend(claims)
        return len(claims)

    def check_order(self, taken: list[ModelJob]) -> None:
        priorities = [job.priority for job in taken]
        expect(sorted(priorities), priorities, "priorities")
        first_left = min((job.priority for job in self.model.free()), default=9)
        expect(True, max(priorities, default=0) <= first_left, "no more urgent job was left")

    @precondition(lambda self: self.claims)
    @rule(index=_index, outcomes=st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=2))
    def settle(self, index: int, outcomes: list[Outcome]) -> None:
        claim = self.pick_claim(index)
        expected = [self.model.settle(claim, outcome) for outcome in outcomes]
        answers = self.store.settle([Settlement(claim, outcome) for outcome in outcomes])
        expect(expected, list(answers), f"{outcomes} of {claim}")

    @precondition(lambda self: self.claims)
    @rule(index=_index, delay=st.sampled_from([0.0, LONG]))
    def release(self, index: int, delay: float) -> None:
        claim = self.pick_claim(index)
        job = self.model.fenced(claim)
        if job is not None:
            job.attempt -= 1
            self.attempts[job.id] = job.attempt
            self.model.queue(job, due=delay == 0)
        answers = self.store.release([Putback(claim, delay)])
        expect([job is not None], list(answers), f"release of {claim}")

    @precondition(lambda self: self.claims)
    @rule(index=_index)
    def discard(self, index: int) -> None:
        claim = self.pick_claim(index)
        job = self.model.fenced(claim)
        expected = self.model.discard(claim)
        if job is not None:  # one that is shared is put back
            self.attempts[job.id] = job.attempt
        expect([expected], list(self.store.discard([claim])), f"discard of {claim}")

    # ------------------------------------------------------------------ what people do

    def pick_job(self, index: int) -> ModelJob | None:
        """A job of any state; sometimes one that does not exist."""
        jobs = [*self.model.jobs.values(), None]
        return jobs[index % len(jobs)]

    @rule(index=_index)
    def cancel(self, index: int) -> None:
        job = self.pick_job(index)
        expected = job is not None and not job.state.final
        answers = self.store.cancel([job.id if job else new_id()], "by a person")
        expect([expected], list(answers), f"cancel of {job}")
        if job and job.state is JobState.QUEUED:
            self.model.end(job, JobState.CANCELLED)
        elif job and expected:
            job.cancelling = "by a person"

    @rule(index=_index)
    def ask_who_is_to_end(self, index: int) -> None:
        worker = self.pick(index)
        jobs = self.model.jobs.values()
        expected = {job.id for job in jobs if job.worker == worker and job.cancelling}
        expect(expected, {each.id for each in self.store.cancelling(worker)}, "jobs to end")

    @rule(index=_index)
    def look_at_attempts(self, index: int) -> None:
        job = self.pick_job(index)
        if job is not None:
            told = [(each.attempt, each.outcome) for each in self.store.attempts(job.id)]
            expect(job.attempts, told, f"attempts of {job}")

    @rule(index=_index)
    def retry(self, index: int) -> None:
        job = self.pick_job(index)
        expected = job is not None and job.state.final
        answers = self.store.retry([job.id if job else new_id()])
        expect([expected], list(answers), f"retry of {job}")
        if job and expected:
            self.model.retry(job)
            job.due = True
            self.final.clear()  # the others must not change from now on

    @rule(index=_index)
    def delete(self, index: int) -> None:
        job = self.pick_job(index)
        expected = job is not None and job.state is not JobState.RUNNING
        answers = self.store.delete([job.id if job else new_id()])
        expect([expected], list(answers), f"delete of {job}")
        if job and expected:
            self.model.forget(job)

    # ------------------------------------------------------------------ the rest

    @rule(limit=st.sampled_from([1, BATCH]))
    def free_followers(self, limit: int) -> None:
        """Look for jobs that wait for a missing one: there are none, so nothing changes."""
        expect(0, self.store.free_followers(limit), "jobs that are waited for and are not there")

    @rule(limit=st.sampled_from([1, BATCH]))
    def purge(self, limit: int) -> None:
        before = set(self.model.jobs)
        ended = {job.id for job in self.model.jobs.values() if job.state.final}
        purged = self.store.purge(0.0, limit)
        expect(min(limit, len(ended)), purged, "purged jobs")
        left = {each.id for each in self.store.get(list(before))}
        expect(True, before - left <= ended, "only ended jobs are purged")
        for job_id in before - left:
            del self.model.jobs[job_id]

    @precondition(lambda self: self.claims)
    @rule(index=_index)
    def roll_back(self, index: int) -> None:
        """A transaction that fails has no effect."""
        claim = self.pick_claim(index)
        try:
            with self.store.transaction():
                self.store.add([a_job()])
                self.store.settle([Settlement(claim, Failed("error"))])
                self.store.claim(claim.worker, ["default"], BATCH)
                self.store.retry([claim.id])
                self.store.cancel([claim.id], "by a person")
                raise _Undone
        except _Undone:
            pass

    @invariant()
    def store_and_model_agree(self) -> None:
        records = {each.id: each for each in self.store.get(list(self.model.jobs))}
        expect(set(self.model.jobs), set(records), "known jobs")
        for job in self.model.jobs.values():
            expect(job.facts, _facts(records[job.id]), f"facts of {job.id}")
            expect(True, job.attempt >= self.attempts.get(job.id, 0), "attempts never fall")
            self.attempts[job.id] = job.attempt

    @invariant()
    def nothing_that_ended_changes(self) -> None:
        ended = [job.id for job in self.model.jobs.values() if job.state.final]
        for each in self.store.get(ended):
            expect(self.final.setdefault(each.id, each), each, "a job that has ended")

    @invariant()
    def counts_agree(self) -> None:
        counts = dict.fromkeys(JobState, 0)
        for job in self.model.jobs.values():
            counts[job.state] += 1
        expect(counts, dict(self.store.count()), "counts")
        unknown = self.store.get([new_id()])
        expect([], list(unknown), "a job that was never added")


class _Undone(Exception):
    """Raised inside a transaction."""


def _facts(record: JobRecord) -> tuple[object, ...]:
    """The same as `ModelJob.facts`, of the store's record."""
    after = None if record.state.final else record.after
    worker = None if record.state.final else record.worker
    counts = (record.attempt, record.lost, record.interrupted, record.failures)
    return (record.state, *counts, worker, after, record.cancelling, record.unique_key)


def _limited(limit: int | None) -> dict[str, str | None]:
    """A limit, and the key of those that share it."""
    return {} if limit is None else {"limit_key": f"{limit}", "options": options(limit=limit)}


def machine_of(make: Callable[[], Store]) -> type[RuleBasedStateMachine]:
    """The machine for the stores that `make` returns."""

    class Machine(StoreMachine):
        make_store = staticmethod(make)

    return Machine
