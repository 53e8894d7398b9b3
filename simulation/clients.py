"""Clients: requests, WebSockets, the application's own coroutines and threads, and people.

Each delivery is one try in one process. It notes in the ledger what its caller was told.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastapi import HTTPException, WebSocket
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from afterword.errors import StoreError
from afterword.request.background import BackgroundTasks as ByHand
from simulation.ledger import SCHEDULE, Attempt, Chain
from simulation.primitives import STANDS
from simulation.process import Process, delivering
from simulation.scenario import (
    Act,
    Add,
    Bound,
    Call,
    Cut,
    Direct,
    Late,
    Pause,
    People,
    Request,
    Socket,
    Step,
)
from simulation.tasks import KINDS, unstorable

if TYPE_CHECKING:
    from simulation.run import Simulation

_time: Any = STANDS["time"]
_threading: Any = STANDS["threading"]
_AGAIN_AFTER = 0.3  # seconds until a caller whose try was refused tries again
_LATE_TRIES = 4


class HandlerFails(Exception):
    """An error that a handler raises."""


class Delivery:
    """One try by an actor in one process."""

    kind = "call"

    def __init__(
        self, simulation: "Simulation", actor: Any, process: Process, repeats: int
    ) -> None:
        self.simulation = simulation
        self.actor = actor
        self.process = process
        self.repeats = repeats
        self.number = next(simulation.numbers)
        self.name = f"{actor.name}#{self.number}"
        self.ledger = simulation.ledger
        self.world = simulation.world
        self.chain = Chain()
        self._late_chain = Chain()
        self.task: asyncio.Task[None] | None = None
        self.was_cut = False
        self.over = False
        self._gone: asyncio.Event | None = None

    # ------------------------------------------------------------------ begin and end

    def begin(self) -> None:
        """Arrive at the process."""
        self.process.deliveries[self.number] = self
        self.process.loop.arrive(self._start)

    def _start(self) -> None:
        self.world.note(f"{self.name} begins")
        self._gone = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self._run())
        self.task.add_done_callback(self._ended)
        if self.actor.cut is not None:
            self.simulation.cut_later(self, self.actor.cut)

    async def _run(self) -> None:
        raise NotImplementedError

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if self.process.dead:
            return
        self.world.note(f"{self.name} ends {'cancelled' if task.cancelled() else repr(error)}")
        self._leave()
        self.resolve(ended_well=error is None and not task.cancelled())

    def _leave(self) -> None:
        self.over = True
        self.process.deliveries.pop(self.number, None)

    def resolve(self, *, ended_well: bool) -> None:
        """Note what the caller knows now, and try again if that helps."""

    def lost(self) -> None:
        """End: the process died, and the connection with it."""
        self._leave()

    def cut(self, cut: Cut) -> None:
        """Give up: disconnect, or cancel the task."""
        if self.over or self.task is None or self.was_cut:
            return
        self.was_cut = True
        self.world.note(f"{self.name} is cut")
        callback = self._disconnect if cut.disconnect else self.task.cancel
        self.process.loop.arrive(callback)

    def _disconnect(self) -> None:
        if self._gone is not None:
            self._gone.set()

    def check_unrelated(self, attempts: Sequence[Attempt]) -> None:
        """Check that a call which no lock can concern was not refused because of locks."""
        if self.simulation.only_locks and not any(each.add.unique for each in attempts):
            names = [each.add.token for each in attempts]
            self.ledger.broken("lock", f"{names} were refused because of the locks of others")

    def again(self) -> None:
        """Try again a little later, if tries are left."""
        if self.repeats > 0:
            self.simulation.deliver(self.actor, self.repeats - 1, after=_AGAIN_AFTER)

    # ------------------------------------------------------------------ adding

    def _attempt(self, add: Add, chain: Chain | None) -> Attempt:
        keyed = self.simulation.scenario.idempotent and getattr(self.actor, "key", False)
        attempt = self.ledger.attempt(add, chain, keyed=keyed and add.unique is None)
        if add.unique:
            ended = [each.id for each in self.ledger.with_key(add.unique) if each.final]
            attempt.jobs_before = frozenset(ended) | self.ledger.to_end
        return attempt

    def _call(self, attempt: Attempt, adder: Any) -> Any:
        """Call `adder.add_task(...)` with the options of the call."""
        add = attempt.add
        self.world.note(f"{self.name} adds {add.token}")
        if add.how == "here":
            return adder.add_task(unstorable(add.token, add.kind))
        options = {name: getattr(add, name) for name in ("unique", "delay")}
        options = {name: value for name, value in options.items() if value is not None}
        target = adder.options(**options) if options else adder
        return target.add_task(KINDS[add.kind], add.token)

    async def _add_outside(self, add: Add, timeout: float | None) -> Attempt:
        """Await `afterword.add_task(...)`, for at most `timeout` seconds."""
        attempt = self._attempt(add, None)
        try:
            async with asyncio.timeout(timeout):
                attempt.handle = await self._call(attempt, self.process.afterword)
        except StoreError:
            attempt.refuse()
            self.check_unrelated([attempt])
        except TimeoutError:
            attempt.unsure()
        else:
            attempt.promise()
            self.ledger.check_durable([attempt])
        return attempt


# ---------------------------------------------------------------------- requests


class RequestDelivery(Delivery):
    """One try of a request."""

    kind = "request"
    actor: Request

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.status: int | None = None
        self.attempts: list[Attempt] = []  # in its outbox
        if self.actor.route != "def":  # a thread outlives its cancelled request
            self.ledger.together.append(self.attempts)
        self._in_flight: list[Attempt] = []  # late adds, made before the request was over

    async def _run(self) -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": self.ledger.choose(("2.3", "2.4"))},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": f"/{self.actor.route}/{self.actor.name}",
            "raw_path": b"",
            "root_path": "",
            "query_string": b"",
            "headers": self._headers(),
            "client": ("client", 1),
            "server": ("server", 80),
            "state": {},
        }
        delivering.set(self)
        self._parts = itertools.chain([_BODY])
        await self.process.app(scope, self._receive, self._send)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"idempotency-key", self.actor.name.encode())] if self.actor.key else []

    async def _receive(self) -> Any:
        for part in self._parts:
            return part
        assert self._gone is not None
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if self.process.dead:
            return  # the connection is gone
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.world.note(f"{self.name} is answered {self.status}")
            self._note_answer(self.status)
        await _io(self)

    def _note_answer(self, status: int) -> None:
        if status >= 400:
            for each in self.attempts:
                each.refuse()
            return
        injected = [each for each in self.attempts if each.add.how == "injected"]
        for each in injected:
            each.promise()
        self.ledger.check_durable(injected)
        for each in self.attempts:
            if each.add.how == "here":
                each.unsure()

    def resolve(self, *, ended_well: bool) -> None:
        """Settle its attempts by the answer and by how its task ended."""
        answered = self.status is not None and self.status < 400
        if not answered and not self.was_cut and not ended_well and self.status is not None:
            for each in self.attempts:
                each.refuse()
        if answered and ended_well and not self.was_cut:
            for each in self.attempts:
                if each.add.how != "injected":
                    each.promise()
                each.sure = each.add.how == "here"
            if not self.simulation.disturbed:
                for each in self._in_flight:
                    each.promise()
        if self.status == 503:
            self.check_unrelated(self.attempts)
            self.again()

    def lost(self) -> None:
        """Repeat the request only if it has an Idempotency-Key."""
        super().lost()
        if self.actor.key and self.simulation.scenario.idempotent:
            self.again()

    # ------------------------------------------------------------------ its handler

    async def play(self, tasks: ByHand, *, by_hand: bool = False) -> Any:
        """Do the steps of an `async def` handler."""
        self._tasks = tasks
        self._by_hand = ByHand() if by_hand else None
        for step in self._steps():
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Direct):
                await self._add_outside(step.add, step.timeout)
        return self._by_hand

    def play_in_thread(self, tasks: ByHand) -> None:
        """Do the steps of a `def` handler."""
        self._tasks, self._by_hand = tasks, None
        for step in self._steps():
            if isinstance(step, Pause):
                _time.sleep(step.seconds)

    def _steps(self) -> Generator[Step, None, None]:
        """Do the steps that do not wait; yield those that do."""
        for step in self.actor.steps:
            if isinstance(step, Add):
                self._add(step)
            elif isinstance(step, Bound):
                self._bind(step)
            elif isinstance(step, Late):
                self._start_late(step)
            else:
                yield step
        if self.actor.ending == "raise":
            raise HandlerFails
        if self.actor.ending == "refuse":
            raise HTTPException(409)

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the parts of a stream."""
        yield b"one"
        await asyncio.sleep(self.ledger.choose((0.0, 0.001, 0.05, 0.3)))
        if self.actor.ending == "body fails":
            raise HandlerFails
        yield b"two"

    def _add(self, add: Add) -> None:
        attempt = self._attempt(add, self.chain)
        self.attempts.append(attempt)
        target = self._by_hand if add.how == "hand" else self._tasks
        attempt.handle = self._call(attempt, target)

    # ------------------------------------------------------------------ late adds

    def _start_late(self, late: Late) -> None:
        self.process.late += 1
        if late.thread or self.actor.route == "def":
            _threading.Thread(target=lambda: self._late_in_thread(late), name="late").start()
        else:
            self.process.tasks.add(asyncio.get_running_loop().create_task(self._late(late)))

    async def _late(self, late: Late) -> None:
        try:
            for seconds in self._late_pauses(late):
                await asyncio.sleep(seconds)
        finally:
            self.process.late -= 1

    def _late_in_thread(self, late: Late) -> None:
        try:
            for seconds in self._late_pauses(late):
                _time.sleep(seconds)
        finally:
            self.process.late -= 1

    def _late_pauses(self, late: Late) -> Generator[float, None, None]:
        """Add each, again if it was refused; yields the seconds to wait in between."""
        yield late.after
        for add in late.adds:
            for _ in range(_LATE_TRIES):
                if self._add_late(add):
                    break
                yield _AGAIN_AFTER

    def _add_late(self, add: Add) -> bool:
        """Add to the request's BackgroundTasks, even when the request is over."""
        over = self.over
        attempt = self._attempt(add, None)
        attempt.behind = (self.chain, self._late_chain)
        self._late_chain.attempts.append(attempt)
        try:
            attempt.handle = self._call(attempt, self._tasks)
        except StoreError as error:
            self.world.note(f"{self.name} {add.token} is refused: {type(error).__name__}")
            attempt.refuse()
            return False
        if over and not self.was_cut:  # otherwise the request may still run behind its task
            attempt.promise()
            self.ledger.check_durable([attempt])
        else:
            self._in_flight.append(attempt)
        return True

    # ------------------------------------------------------------------ its transactions

    def _bind(self, bound: Bound) -> None:
        connection = self._connect(bound.connection)
        try:
            binding = self._tasks.bind(connection)
            chain = Chain()
            for adds, commit in bound.rounds:
                if not self._transact(connection, binding, chain, adds, commit=commit):
                    return
        finally:
            connection.close()

    def _connect(self, kind: str) -> Any:
        if kind == "sqlite3":
            return self.process.connect()
        url = f"sqlite+pysqlite:///{self.simulation.path}"
        engine = create_engine(url, creator=self.process.connect, poolclass=NullPool)
        return Session(engine) if kind == "session" else engine.connect()

    def _transact(
        self, connection: Any, binding: Any, chain: Chain, adds: Sequence[Add], *, commit: bool
    ) -> bool:
        import sqlite3

        attempts = []
        try:
            for add in adds:
                attempt = self._attempt(add, chain)
                attempts.append(attempt)
                attempt.handle = self._call(attempt, binding)
            self.world.pause()
            if commit:
                connection.commit()
        except (sqlite3.OperationalError, OperationalError, StoreError) as error:
            self.world.note(f"{self.name} transaction fails: {type(error).__name__}")
            commit = False
        if commit:
            self.world.note(f"{self.name} has committed")
            for attempt in attempts:
                attempt.promise()
            self.ledger.check_durable(attempts)
            return True
        with contextlib.suppress(sqlite3.OperationalError, OperationalError):
            connection.rollback()
        for attempt in attempts:
            attempt.refuse()
        return True


_BODY = {"type": "http.request", "body": b"", "more_body": False}


async def _io(delivery: Delivery) -> None:
    """Send the message; that may take a while."""
    if delivery.world.random.random() < 0.3:
        await asyncio.sleep(delivery.ledger.choose((0.0, 0.001, 0.01)))


# ---------------------------------------------------------------------- WebSockets


class SocketDelivery(Delivery):
    """One WebSocket connection."""

    kind = "socket"
    actor: Socket

    async def _run(self) -> None:
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": f"/socket/{self.actor.name}",
            "raw_path": b"",
            "root_path": "",
            "query_string": b"",
            "headers": [],
            "client": ("client", 1),
            "server": ("server", 80),
            "subprotocols": [],
            "state": {},
        }
        self.attempts: list[Attempt] = []
        self._connected = False
        delivering.set(self)
        await self.process.app(scope, self._receive, self._send)

    async def _receive(self) -> Any:
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        assert self._gone is not None
        await self._gone.wait()
        return {"type": "websocket.disconnect", "code": 1001}

    async def _send(self, message: Any) -> None:
        await _io(self)

    async def talk(self, websocket: WebSocket, tasks: ByHand) -> None:
        """Do what its handler does: add and send from several coroutines."""
        await websocket.accept()
        async with asyncio.TaskGroup() as group:
            for adds in self.actor.senders:
                group.create_task(self._talk(websocket, tasks, adds))
        if self.actor.ending == "raise":
            raise HandlerFails
        await websocket.close()

    async def _talk(self, websocket: WebSocket, tasks: ByHand, adds: Sequence[Add]) -> None:
        for add in adds:
            attempt = self._attempt(add, self.chain)
            self.attempts.append(attempt)
            attempt.handle = self._call(attempt, tasks)
            if self.world.random.random() < 0.3:
                await asyncio.sleep(self.ledger.choose((0.0, 0.001)))
            await websocket.send_text(add.token)
            attempt.promise()
            self.ledger.check_durable([attempt])

    def resolve(self, *, ended_well: bool) -> None:
        """Promise everything it added, even what it had no time to send."""
        if ended_well and not self.was_cut and not self.simulation.disturbed:
            for each in self.attempts:
                each.promise()


# ---------------------------------------------------------------------- without a request


class CallDelivery(Delivery):
    """A call of `afterword.add_task` by the application itself."""

    actor: Call

    def _start(self) -> None:
        if not self.actor.thread:
            super()._start()
            return
        self.world.note(f"{self.name} begins")
        _threading.Thread(target=self._in_thread, name=self.name).start()

    async def _run(self) -> None:
        attempt = await self._add_outside(self.actor.add, self.actor.timeout)
        if attempt.said == "refused":
            self.again()

    def _in_thread(self) -> None:
        attempt = self._attempt(self.actor.add, None)
        try:
            attempt.handle = self._call(attempt, _Blocking(self.process.afterword))
        except StoreError:
            attempt.refuse()
            self.again()
        else:
            attempt.promise()
            self.ledger.check_durable([attempt])
        self._leave()


class _Blocking:
    """An adder whose `add_task` is `add_task_sync`."""

    def __init__(self, adder: Any) -> None:
        self._adder = adder
        self.add_task = adder.add_task_sync

    def options(self, **options: Any) -> "_Blocking":
        """Set options of the next call."""
        return _Blocking(self._adder.options(**options))


# ---------------------------------------------------------------------- people


class PeopleDelivery(Delivery):
    """A person who acts in one process, and in another one when it dies."""

    actor: People
    _done = 0  # number of acts done

    def _start(self) -> None:
        self.world.note(f"{self.name} begins")
        _threading.Thread(target=self._act, name=self.name).start()

    def lost(self) -> None:
        """Continue in another process, beginning with the act that was under way."""
        super().lost()
        self._go_on_elsewhere()

    def _go_on_elsewhere(self) -> None:
        left = replace(self.actor, acts=self.actor.acts[self._done :])
        self.simulation.deliver(left, 0, after=_AGAIN_AFTER)

    def _act(self) -> None:
        for act in self.actor.acts:
            _time.sleep(act.after)
            try:
                self._do(act)
            except StoreError as error:
                self.world.note(f"{self.name} {act.verb} fails: {type(error).__name__}")
                self._leave()
                self._go_on_elsewhere()
                return
            self._done += 1
        self._leave()

    def _do(self, act: Act) -> None:
        self.world.note(f"{self.name}: {act}")
        ledger, store = self.ledger, self.process.store
        assert store is not None
        if act.verb == "pause":
            ledger.is_paused = store.pause(["mail"])
        elif act.verb == "resume":
            ledger.is_paused = False
            store.resume(["mail"])
        elif act.verb == "limit":
            ledger.limit = None
            if store.limit({"mail": act.number}):
                ledger.limit = act.number
        elif act.verb in ("tick", "end"):
            ledger.stops_schedule = ledger.stops_schedule or act.verb == "tick"
            ledger.ended_at = self.world.now + self.world.wall_is_ahead
            store.pause_schedule(SCHEDULE, act.verb == "end")
        else:
            self._change_job(act.verb)
        self.world.note(f"{self.name}: {act.verb} is done")

    def _change_job(self, verb: str) -> None:
        found, store = self.ledger.some_job(verb), self.process.store
        if found is None or store is None:
            return
        job_id, token = found
        self.ledger.meddled.add(token)
        if verb in ("delete", "erase"):
            self.ledger.removed.add(token)
        if verb == "cancel":
            (cancelled,) = store.cancel([job_id], "by a person")
            if cancelled:
                self.ledger.to_end.add(job_id)
        elif verb == "retry":
            self.ledger.retried.add(token)
            self.ledger.deleted.discard(job_id)
            self.ledger.to_end.discard(job_id)
            store.retry([job_id])
        elif verb == "delete":
            (deleted,) = store.delete([job_id])
            if deleted:
                self.ledger.deleted.add(job_id)
        else:
            self.ledger.erased = True
            self.ledger.erase(job_id)


DELIVERIES: dict[type, type[Delivery]] = {
    Request: RequestDelivery,
    Socket: SocketDelivery,
    Call: CallDelivery,
    People: PeopleDelivery,
}
