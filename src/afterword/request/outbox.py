"""The outbox: the calls of one request, each with a state.

A request has one outbox, from its first line until all its jobs are released. A call that is added
after the request, or by `Afterword.add_task`, has its own outbox, which is over from the beginning.
Each call is an entry with one state. The state changes only here, under the outbox's lock:

    collected ──▶ storing ──▶ held ──▶ released            any worker may run it
        │            │  │       └────▶ discarded            it was not confirmed
        │            │  ├──▶ others                         another job has its unique key
        │            │  └──▶ given up                       the store failed, with an error
        │            └─────▶ collected                      taken back: its caller was cancelled
        ├──▶ run here                                       it cannot be stored
        └──▶ discarded                                      the request failed before its response

- If an entry is already being stored, a second caller waits for the same answer. Calls that are
  added meanwhile are stored afterwards, because only then is their predecessor known.
- The answer is applied in the store's thread (`_answered`), even if no caller waits for it any
  more. If the outbox is over, the stored jobs are released at once.
- Change the state first, then act on the entry: the change of state is the right to act.

A call is confirmed once it is certain to run: a call of the injected `BackgroundTasks` at once, a
call on a Response when Starlette calls it.
"""

import asyncio
import threading
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import count, islice, takewhile
from types import TracebackType
from typing import Any

from starlette.websockets import WebSocketDisconnect

from afterword import telemetry
from afterword.client.call import Call, Draft, draft, unstored_draft
from afterword.client.handle import Job
from afterword.errors import NotStarted, NotStorable
from afterword.fleets.recognition import belongs_elsewhere
from afterword.model.job import JobRecord, NewJob
from afterword.request import inline
from afterword.request.bind import AsyncBinding, Binding
from afterword.request.idempotency import RequestKey
from afterword.request.intake import Intake
from afterword.request.sequence import JobSequence
from afterword.request.storing import Storing
from afterword.store.protocol import Added, Claim, held_claim
from afterword.tasks.options import NO_OPTIONS
from afterword.tasks.registry import reference


class State(StrEnum):
    """The state of an entry; see the drawing above."""

    COLLECTED = "collected"  # in memory only
    STORING = "storing"  # in an operation of the store
    HELD = "held"  # stored, and kept from the workers until the end of the request
    OTHERS = "others"  # not stored: another job has its unique key
    RELEASED = "released"  # stored, and free for the workers
    DISCARDED = "discarded"  # must not run
    RUN_HERE = "run here"  # runs in its request
    GIVEN_UP = "given up"  # not stored, and never will be


_PENDING = frozenset({State.COLLECTED, State.STORING})
_UNRELEASED = frozenset({State.COLLECTED, State.STORING, State.HELD})
_OWN = _UNRELEASED | {State.RELEASED}  # it has its own job, or will have one
_STORED = frozenset({State.HELD, State.RELEASED, State.OTHERS})


@dataclass(slots=True, eq=False)
class Entry:
    """One added call. `claim` is set while it is held."""

    outbox: "Outbox"
    call: Call
    job: NewJob
    handle: Job[Any]
    confirmed: bool
    before: "Entry | None" = None  # its predecessor, unless that comes to nothing
    number: int = 0  # among the calls of its task, with an Idempotency-Key
    place: int = 0  # among the calls of the request
    state: State = State.COLLECTED
    claim: Claim | None = None

    @property
    def durable(self) -> bool:
        """False if it cannot be stored, and runs in the request."""
        return self.job.durable

    @property
    def runs_here(self) -> bool:
        """True if it has to run in the request and has not started."""
        return self.confirmed and not self.durable and self.state is State.COLLECTED

    @property
    def stored(self) -> bool:
        """True if it is in the store, under its own id or that of another job."""
        return self.state in _STORED


class Outbox:
    """The calls of one request, in the order they were added.

    Args:
        intake: stores them.
        over: True without a request, or after it: calls are stored and released at once.
        key: the Idempotency-Key of the request, if it has one.
    """

    def __init__(
        self, intake: Intake, *, over: bool = False, key: RequestKey | None = None
    ) -> None:
        self.intake = intake
        self.rules = intake.rules
        self.durable = intake.stores or over
        self.over = over
        self.answered = False  # the first byte was sent: stored jobs stay stored
        self.refusal: BaseException | None = None  # the store failed: the client is refused
        self.failed_at: Entry | None = None  # the call that failed here, or whose predecessor did
        self.messages = False  # a WebSocket: each message first stores the calls added before it
        self.in_doubt = False  # FastAPI before 0.118: the handler may have failed unseen
        self.entries: list[Entry] = []
        self._settled = 0  # how many of them, from the first, leave nothing to store
        self._here: deque[Entry] = deque()  # those that have to run in the request
        self._awaited: deque[Entry] = deque()  # the others, until they are known to have ended
        self.bound: JobSequence | None = None  # jobs in transactions of the user
        self.not_committed = 0  # jobs whose session was closed without a commit
        self.answered_error = False  # the status of the answer is 400 or more
        self.background_tasks: object | None = None  # the one instance of this request
        # Called when a call is added that cannot be stored, with a function that runs it.
        self.run_in_request: Callable[[Callable[[], Awaitable[None]]], object] | None = None
        self._key = key
        self._lock = threading.RLock()
        self._storing: Storing | None = None  # one at a time
        self._places = count()  # of the calls, in their order
        self._numbers: defaultdict[str, set[int]] = defaultdict(set)  # of calls with keys
        self._request_id: str | None = None
        self._last: str | None = None  # the last job of the request, after its end

    # ------------------------------------------------------------------ adding

    def add(self, call: Call, *, confirmed: bool = True) -> Entry:
        """Collect a call; after the request, also store it, blocking.

        Raises:
            NotStorable, ArgumentError: as in `BackgroundTasks.add_task`.
            StoreUnavailable: it was added after the request and could not be stored.
        """
        entry = self._collect(call, confirmed=confirmed)
        while self.over and entry.durable and entry.state in _PENDING:
            with self._lock:
                storing = self._storing or self._begin_storing(blocks=True)
            if storing is not None:
                storing.wait_blocking(raises=entry in storing.entries)
        return entry

    async def add_and_store(self, call: Call) -> Entry:
        """Collect a call and await that it is stored."""
        entry = self._collect(call, confirmed=True)
        await self.store()
        return entry

    def _collect(self, call: Call, *, confirmed: bool) -> Entry:
        drafted = self._draft(call)  # not under the lock: it runs code of the argument types
        unique_key = drafted.get("unique_key")
        found = self._find_unique(unique_key) if unique_key else None
        if self._key is not None:
            self._key.resolve()
        with self._lock:
            entry = self._entry(call, drafted, found, confirmed=confirmed)
            self.entries.append(entry)
            entry.place = next(self._places)
            (self._awaited if entry.job.durable else self._here).append(entry)
            ask = self.run_in_request if entry.runs_here else None
        if ask:
            ask(inline.named_as(call.func, lambda: inline.run_until(self, entry)))
        return entry

    def _draft(self, call: Call) -> Draft:
        """The draft of a call; not durable if the call has to run in the request."""
        injection = self.intake.injection
        if not self.durable:
            if self.over:
                raise NotStarted(
                    f"{reference(call.func)} was added after the end of its request, but the"
                    " application's lifespan has not run, so it can neither run nor be stored."
                    " Serve the application with its lifespan; in a test, use"
                    " `with TestClient(app) as client:`."
                )
            return unstored_draft(call, injection)
        try:
            return draft(call, injection)
        except NotStorable as error:
            must_raise = self.rules.strict or self.over or call.options is not NO_OPTIONS
            if must_raise or belongs_elsewhere(call.func):
                raise
            telemetry.not_durable(reference(call.func), error.logged)
            return unstored_draft(call, injection)

    def _find_unique(self, unique_key: str) -> JobRecord | None:
        """Look up the job with this unique key, as a hint for the handle; the store decides."""
        if self.over:
            return None
        return self.intake.inquiries.find_unique(unique_key, ended=False)

    def _entry(
        self, call: Call, drafted: Draft, found: JobRecord | None, *, confirmed: bool
    ) -> Entry:
        drafted, number = self._keyed(drafted)
        durable = drafted.get("durable", True)
        before = self._last_entry if durable else None
        job = self._job(drafted, before, confirmed)
        handle = Job[Any](
            found.id if found else job.id,
            job.task,
            inquiries=self.intake.inquiries if durable else None,
            record=found,
            durable=durable,
            conflict=found is not None and differs(found, job),
            added_in=self,
        )
        return Entry(self, call, job, handle, confirmed, before, number)

    def _keyed(self, drafted: Draft) -> tuple[Draft, int]:
        """Give the n-th call of a task its unique key, if the request has an Idempotency-Key.

        A call that could not be stored does not count: the next call gets its number.
        """
        if self._key is None or not drafted.get("durable", True) or drafted["unique_key"]:
            return drafted, 0
        task = drafted["task"]
        taken = self._numbers[task]
        number = len(taken) + 1
        if number in taken:  # a lower number was given back
            number = next(each for each in count(1) if each not in taken)
        key = self._key.of_call(task, number)
        if key is None:
            return drafted, 0
        taken.add(number)
        return {**drafted, "unique_key": key, "unique_ended": True}, number

    def _job(self, drafted: Draft, before: Entry | None, confirmed: bool) -> NewJob:
        """The job with its predecessor in the request as known now."""
        job_id = drafted["id"]
        if not drafted.get("durable", True):
            return NewJob(**drafted)
        self._request_id = self._request_id or job_id
        after = before.handle.id if before else self._last
        request_id = None if self.over and after is None else self._request_id
        after = after if self.rules.order == "sequential" else None
        return NewJob(
            **drafted,
            after=after,
            on_failure=self.rules.on_failure,
            request_id=request_id,
            held=self._must_be_held(drafted, after, confirmed),
        )

    @property
    def _last_entry(self) -> Entry | None:
        """The predecessor of the next call: the last one with its own job, if there is any."""
        others: Entry | None = None
        for each in reversed(self.entries):
            if each.job.durable and each.state in _OWN:
                return each
            if each.state is State.OTHERS:
                others = others or each
        return others

    def _place(self, entry: Entry) -> None:
        """Set a job's predecessor, after the calls before it were decided.

        A call has no job of its own if another job has its unique key, or if it could not be
        stored. Then the call before it is the predecessor.
        """
        before = entry.before
        others: str | None = None
        while before is not None and before.state not in _OWN:
            if before.state is State.OTHERS:
                others = others or before.handle.id
            before = before.before
        after = before.job.id if before else self._last or others
        if self.rules.order == "sequential" and after != entry.job.after:
            held = entry.job.held or not self.over
            entry.job = replace(entry.job, after=after, held=held)

    def _must_be_held(self, drafted: Draft, after: str | None, confirmed: bool) -> bool:
        """True unless a held predecessor keeps the job from starting during the request.

        A job that follows another job of this request waits for it, and that one is held. A
        predecessor with a unique key does not count: it may turn out to be an existing job, which
        is not held.
        """
        if self.over:  # hold it to start it here at once, if possible
            at_once = after is None and drafted["run_at"] is None and drafted["limit_key"] is None
            return at_once and self.intake.starts_here
        last = self.entries[-1] if self.entries else None
        follows = (
            last is not None
            and last.job.id == after
            and last.confirmed
            and last.job.unique_key is None
            and last.state in _UNRELEASED
        )
        return not (follows and confirmed)

    def bind(self, connection: Any) -> Binding | AsyncBinding:
        """A task adder for jobs of this request in a transaction of the user."""
        with self._lock:
            if self.bound is None:
                self.bound = JobSequence(self.intake, self)
        return self.intake.bind(connection, self.bound)

    def keyed_in_transaction(self, drafted: Draft, number: int) -> Draft:
        """Give a call in such a transaction its unique key, if there is an Idempotency-Key.

        Args:
            number: among the calls of its task in the transactions of the request.
        """
        if self._key is None or drafted["unique_key"]:
            return drafted
        self._key.resolve()
        key = self._key.of_call(drafted["task"], number, bound=True)
        return drafted if key is None else {**drafted, "unique_key": key, "unique_ended": True}

    def request_id_of(self, job_id: str) -> str:
        """The id that the jobs of this request share: the id of the first job."""
        with self._lock:
            self._request_id = self._request_id or job_id
            return self._request_id

    # ------------------------------------------------------------------ storing

    @property
    def unfinished(self) -> bool:
        """True if a call has not yet been stored, or has not yet run here."""
        return any(each.state in _PENDING for each in self.entries)

    async def store(self) -> None:
        """Store the collected calls, and wait for those that are being stored already.

        Raises:
            StoreError: let it propagate; the client gets a 503.
        """
        if not self.entries:
            return
        if self.refusal is not None and self.messages:
            raise self.refusal  # no further message may signal success
        with self._lock:
            others = islice(self.entries, self._settled, None)
            mine = [each for each in others if each.job.durable and each.state in _PENDING]
            if not mine:
                self._settled = len(self.entries)
        while mine:
            with self._lock:
                earlier = self._storing
                storing = earlier or self._begin_storing(asyncio.get_running_loop())
            if storing is None:
                return
            await (storing.join() if storing is earlier else storing.wait())
            mine = [each for each in mine if each.state in _PENDING]

    def _begin_storing(
        self, loop: asyncio.AbstractEventLoop | None = None, *, blocks: bool = False
    ) -> Storing | None:
        entries = [e for e in self.entries if e.state is State.COLLECTED and e.job.durable]
        if self._storing is not None or not entries:
            return None
        for each in entries:
            self._place(each)
        for each in entries:
            each.state = State.STORING
        storing = self._storing = Storing(
            entries,
            self.intake,
            self._lock,
            answered=self._answered,
            taken_back=self._taken_back,
            refuse=self._refuse,
        )
        # It has its answer at once, if the store is not in use.
        storing.begin(loop, blocks=blocks)
        return storing

    def _answered(
        self, storing: Storing, answers: Sequence[Added], error: BaseException | None
    ) -> None:
        """Apply the store's answer; in its thread, or in that of the caller whose time is over."""
        with self._lock:
            self._storing = None
            if error is None:
                for each, answer in zip(storing.entries, answers, strict=True):
                    self._note(each, answer, storing)
            else:
                self._note_failure(storing, error)
            over = self.over
        if error is not None:
            telemetry.not_stored(str(error))
        if over:
            self._cancel_refused()
            self._let_go()

    def _refuse(self, error: BaseException) -> bool:
        """Refuse the request while the store commits its jobs: they are cancelled at its answer."""
        with self._lock:
            if self.answered or self.over or self.messages:
                return False
            if self.refusal is None:
                telemetry.not_stored(str(error))
            self.refusal = self.refusal or error
            self.drop()
            return True

    def _note(self, entry: Entry, answer: Added, storing: Storing) -> None:
        own = answer.id == entry.job.id  # also if it was stored before: the fence decides
        found = None if own else answer.found
        entry.handle.note_stored(answer.id, conflict=answer.conflict, found=found)
        if own and entry.job.held:
            entry.claim = held_claim(entry.job, storing.worker, storing.now, waits=answer.waits)
            entry.state = State.HELD
        else:
            entry.state = State.RELEASED if own else State.OTHERS
        if entry.confirmed:
            self._confirm_same(entry)

    def _confirm_same(self, entry: Entry) -> None:
        """Confirm the other call of this request whose job this call shares by its unique key."""
        if entry.state is not State.OTHERS:
            return
        for each in self.entries:
            if each.job.id == entry.handle.id:
                each.confirmed = True

    def _note_failure(self, storing: Storing, error: BaseException) -> None:
        again = self.answered and not self.over  # the next part of the response tries again
        self._settled = 0
        for each in storing.entries:
            each.state = State.COLLECTED if again else State.GIVEN_UP
            if not (again or storing.in_doubt):
                self._numbers[each.job.task].discard(each.number)
        if not (self.answered or self.over):
            self.refusal = error
            self.drop()

    def _taken_back(self, storing: Storing) -> None:
        """Take the entries back, under the lock: their only caller was cancelled in time."""
        self._storing, self._settled = None, 0
        for each in storing.entries:
            each.state = State.GIVEN_UP if self.over else State.COLLECTED
            if self.over:
                self._numbers[each.job.task].discard(each.number)

    # ------------------------------------------------------------------ calls that run here

    async def confirm(self, entry: Entry) -> None:
        """Confirm a call, because Starlette has called its task after the body.

        If a handler calls the task itself before the response, it runs at once. So does an
        unconfirmed task that is called after the request.
        """
        if self._take_to_run_now(entry):
            await self.call(entry)
            return
        with self._lock:
            entry.confirmed = True
            self._confirm_same(entry)
        if entry.runs_here:
            await inline.run_until(self, entry)

    def _take_to_run_now(self, entry: Entry) -> bool:
        with self._lock:
            by_hand = not self.answered and entry.state is State.COLLECTED
            late = self.over and not entry.confirmed and entry.state is State.DISCARDED
            if not (by_hand or late):
                return False
            entry.state = State.RUN_HERE
            for follower in self.entries:
                if follower.job.after == entry.job.id and follower.state is State.COLLECTED:
                    follower.job = replace(follower.job, after=entry.job.after, held=True)
            return True

    async def run_unstorable(self) -> None:
        """Run, in their order, the confirmed calls that could not be stored."""
        while here := [each for each in self.entries if each.runs_here]:
            await inline.run_until(self, here[-1])  # these may add more

    def to_run_until(self, last: Entry) -> list[Entry]:
        """The calls up to this one that have to run here."""
        found: list[Entry] = []
        with self._lock:
            while self._here and self._here[0].state is not State.COLLECTED:
                self._here.popleft()
            if last.state is State.COLLECTED:
                for each in self._here:
                    if each.runs_here:
                        found.append(each)
                    if each is last:
                        break
        return found

    def take_to_run(self, entry: Entry) -> bool:
        """Take the right to run this call; False: another caller has it."""
        with self._lock:
            taken = entry.runs_here
            if taken:
                entry.state = State.RUN_HERE
            return taken

    def release_before(self, entry: Entry) -> list[Entry]:
        """Release the stored jobs before this call; return those not known to have ended."""
        with self._lock:
            before = takewhile(lambda each: each.place < entry.place, self._awaited)
            found = [each for each in before if each.confirmed and each.stored]
        self._release(found)
        return found

    def note_ended(self, entries: Sequence[Entry]) -> None:
        """Note that these jobs have ended, so no call waits for them again."""
        with self._lock:
            for each in entries:
                if each in self._awaited:  # the first of it, as a rule
                    self._awaited.remove(each)

    async def call(self, entry: Entry) -> None:
        """Call it here, with its injected arguments."""
        with self.intake.provide(entry) as provided:
            await inline.call_injected(self.intake.injection, provided, entry.call, entry.job.id)

    @property
    def stopped(self) -> bool:
        """True if a call failed, and the rules stop the calls after it."""
        ordered = self.rules.order == "sequential" and self.rules.on_failure == "stop"
        return ordered and self.failed_at is not None

    # ------------------------------------------------------------------ the end

    def drop_if_failed(self, error: BaseException | None) -> None:
        """Discard all calls if the handler failed before the response started."""
        if error is not None and not self.answered and not isinstance(error, WebSocketDisconnect):
            self.drop()

    def leave(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Call `drop_if_failed`, as a callback on an exit stack."""
        self.drop_if_failed(error)

    def end_doubt(self, handled: BaseException | None) -> None:
        """Discard the calls if the response starts while an exception is handled."""
        if self.in_doubt and handled is not None:
            self.drop(confirmed_only=True)

    def drop(self, *, confirmed_only: bool = False) -> None:
        """Discard the calls that have not been stored."""
        with self._lock:
            for each in self.entries:
                if each.state is State.COLLECTED and (each.confirmed or not confirmed_only):
                    each.state = State.DISCARDED

    def forget_unconfirmed(self, *, failed: bool) -> None:
        """Discard the unconfirmed calls, after Starlette has called the tasks of the response.

        Those and the jobs of sessions that were not committed are reported.

        Args:
            failed: the request ended with an error, so there is no warning.
        """
        with self._lock:
            forgotten = [e for e in self.entries if not e.confirmed and e.state in _UNRELEASED]
            for each in forgotten:
                if each.state is State.COLLECTED:
                    each.state = State.DISCARDED
        if failed or self.refusal:
            return
        for each in forgotten:
            telemetry.never_confirmed(each.job.task)
        if self.not_committed and not self.answered_error:
            telemetry.not_committed(self.not_committed)

    def end_if_stored(self) -> bool:
        """End an outbox with nothing left to decide, as most are; False: `end` is needed.

        It has no calls, or only calls that are stored and confirmed.
        """
        with self._lock:
            if self.bound is not None or self.refusal is not None or self.failed_at is not None:
                return False
            for each in self.entries:
                if not each.confirmed or each.state not in _STORED:
                    return False
            self.over = True
            self.run_in_request = self.background_tasks = None
            if not self.entries:
                return True
            last = self._last_entry
            self._last = last.handle.id if last else None
            ended = self._take_entries()
            ready, waiting = _released(ended)
        if ready or waiting:
            self.intake.release(ready, waiting)
        return True

    def end(self) -> None:
        """End the request: release its jobs, now or as soon as the store has answered.

        No reference cycle must be left. The garbage collector would have to free it, which cost a
        quarter of a request's time (`scripts/bench R`).
        """
        with self._lock:
            self.over = True
            not_run = [each for each in self.entries if each.runs_here]
            for each in not_run:
                each.state = State.DISCARDED
            if self.bound is not None:
                self.bound.forget_connections()
            self.run_in_request = self.background_tasks = None
        self._cancel_refused()
        self._let_go()
        for each in not_run:
            telemetry.not_run(each.job.task)

    def _cancel_refused(self) -> None:
        """Cancel the jobs that a refused request has stored before its answer."""
        if self.refusal is None:
            return
        with self._lock:
            self.drop()
            if self.answered or self.messages:
                return
            held = _taken(self.entries, State.DISCARDED)
            # With on_failure="continue" the end of those before them does not stop these.
            others = [e for e in self.entries if e.state is State.RELEASED and not e.job.held]
            ids = [each.job.id for each in others if each.job.unique_key is None]
            for each in others:
                each.state = State.DISCARDED
        self.intake.cancel(held, ids if self.rules.on_failure == "continue" else ())

    def _let_go(self) -> None:
        """Release held jobs and discard unconfirmed ones; keep those that are being stored."""
        with self._lock:
            self._begin_storing()
            last = self._last_entry
            self._last = last.handle.id if last else self._last
            entries = self._take_entries()
            self.entries = [each for each in entries if each.state is State.STORING]
            unconfirmed = [each for each in entries if not each.confirmed]
            discarded = _taken(unconfirmed, State.DISCARDED) if unconfirmed else []
            cancelled = _taken(self._behind_failure(entries), State.DISCARDED)
            ready, waiting = _released(entries)
        if ready or waiting:
            self.intake.release(ready, waiting)
        if discarded:
            self.intake.discard(discarded)
        if cancelled:
            self.intake.cancel(cancelled)

    def _take_entries(self) -> list[Entry]:
        """Take all entries, and reset the state of their order."""
        entries, self.entries = self.entries, []
        self._settled = 0
        self._here.clear()
        self._awaited.clear()
        return entries

    def _behind_failure(self, entries: list[Entry]) -> list[Entry]:
        """The entries that a failed call stops: all that were added after it."""
        if not self.stopped or self.failed_at is None:
            return []
        position = entries.index(self.failed_at) + 1 if self.failed_at in entries else 0
        return entries[position:]

    def _release(self, entries: Sequence[Entry]) -> None:
        with self._lock:
            ready, waiting = _released(entries)
        self.intake.release(ready, waiting)

    def withholds(self, job_id: str) -> bool:
        """True if called in this request and the job cannot start before the request ends."""
        if self.over or current_outbox.get() is not self:
            return False
        with self._lock:
            return any(
                each.handle.id == job_id and each.durable and each.state in _UNRELEASED
                for each in self.entries
            )

    @property
    def stored_ids(self) -> list[str]:
        """The ids of the jobs that are stored and confirmed."""
        return [each.handle.id for each in self.entries if each.stored and each.confirmed]


def _taken(entries: Sequence[Entry], state: State) -> list[Claim]:
    """Take the claims of held entries; each claim is taken once."""
    claims = []
    for each in entries:
        if each.state is State.HELD and each.claim is not None:
            claims.append(each.claim)
            each.state, each.claim = state, None
    return claims


def _released(entries: Sequence[Entry]) -> tuple[list[Claim], list[Claim]]:
    """Take the claims to release: those that may start at once, and those that have to wait."""
    held = [each for each in entries if each.state is State.HELD]
    at_once = [each for each in held if each.job.after is None and each.job.run_at is None]
    return _taken(at_once, State.RELEASED), _taken(held, State.RELEASED)


def differs(known: JobRecord, job: NewJob) -> bool:
    """True if the existing job is another call."""
    return (known.task, known.arguments) != (job.task, job.arguments)


current_outbox: ContextVar[Outbox | None] = ContextVar("afterword_outbox", default=None)


def open_outbox() -> Outbox | None:
    """The outbox of the present request, if any."""
    outbox = current_outbox.get()
    return outbox if outbox is not None and not outbox.over else None
