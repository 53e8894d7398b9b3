"""One process: a real FastAPI application with Afterword, in simulated threads."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import APIRouter, FastAPI, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.responses import Response

from afterword import Afterword
from afterword.errors import StoreError
from afterword.fastapi import BackgroundTasks
from afterword.process.lifespan import Lifespan
from simulation.ledger import SCHEDULE
from simulation.loop import SimulatedLoop
from simulation.store import PatientConnection, SimulatedStore
from simulation.tasks import scheduled
from simulation.world import Owner

if TYPE_CHECKING:
    from simulation.run import Simulation

T = TypeVar("T")
GRACE = 5.0  # seconds that a shutdown waits for attempts
PATIENCE = 2.0  # seconds that a stopping server waits for its requests
LEASE = 3.0  # seconds
STORE_TIMEOUT = 1.0  # seconds


class Process(Owner):
    """One process, from its start until it stops or dies."""

    def __init__(self, simulation: "Simulation", number: int, place: int) -> None:
        scenario = simulation.scenario
        self.place = place  # its index in the scenario's roles
        self.role = scenario.roles[place]
        self.skew = scenario.skews[place] if scenario.skews else 0.0
        self.slept = 0.0  # seconds of its longest stop
        self.simulation = simulation
        self.world = simulation.world
        self.ledger = simulation.ledger
        self.number = number
        self.loop = SimulatedLoop(self.world)
        self.store: SimulatedStore | None = None
        self.up = self.ended = False
        self.deliveries: dict[int, Any] = {}  # those under way, by number
        self.tasks: set[asyncio.Task[None]] = set()  # started by the application itself
        self.late = 0  # number of late adders that requests have started and that still run
        self.connections: list[PatientConnection] = []

    def start(self) -> None:
        """Start the process's thread."""
        self.world.note(f"process {self.number} starts")
        self.world.spawn(self._run, f"loop{self.number}", self)

    def _run(self) -> None:
        self._stopping = asyncio.Event()
        self._main = self.loop.create_task(self._live())
        self.loop.run_in_thread()

    async def _live(self) -> None:
        scenario = self.simulation.scenario
        self.app = FastAPI(openapi_url=None)
        self.afterword = Afterword(
            self.app,
            url=self.simulation.url,
            order=scenario.order,  # type: ignore[arg-type]
            on_failure=scenario.on_failure,  # type: ignore[arg-type]
            idempotent=scenario.idempotent,
            concurrency=scenario.concurrency,
            lease=LEASE,
            grace=GRACE,
            store_timeout=STORE_TIMEOUT,
            worker=self.role != "web",
            queues=("default", "mail"),
            retention=scenario.retention or 7 * 86400.0,
        )
        if scenario.every:
            seconds = scenario.every[self.place % len(scenario.every)]
            schedule = self.afterword.every(
                seconds=seconds, name=SCHEDULE, missed="all", kwargs={"token": SCHEDULE}
            )
            schedule(scheduled)
        self.app.router.routes.extend(_routes.routes)  # built once: that takes milliseconds
        lifespan = Lifespan(self.app)
        try:
            await lifespan.startup()
        except StoreError:
            self._end()  # a server exits here; its supervisor starts another one
            return
        self.world.note(f"process {self.number} is up")
        self.up = True
        await self._stopping.wait()
        self.up = False
        await self._end_requests()
        with contextlib.suppress(StoreError):
            await lifespan.shutdown()
        self._end()

    async def _end_requests(self) -> None:
        """Wait for requests under way, then cancel them, as a server does."""
        left = [each.task for each in self.deliveries.values() if each.task is not None]
        if not left:
            return
        _, late = await asyncio.wait(left, timeout=PATIENCE)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    def _end(self) -> None:
        self.up, self.ended = False, True
        self.world.note(f"process {self.number} ends")
        self.loop.stop()

    def stop(self) -> None:
        """Ask the process to end; called from outside."""
        self.loop.arrive(self._stopping.set)

    def die(self) -> None:
        """Kill the process: its memory is gone, its files stay."""
        self.world.note(f"process {self.number} is gone")
        self.dead, self.up = True, False
        for connection in self.connections:
            connection.close()
        if self.store is not None:
            self.store.die()
        self.world.kill(self)
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with contextlib.suppress(BaseException):
                task.get_coro().close()
        with contextlib.suppress(RuntimeError):
            self.loop.close()
        for delivery in list(self.deliveries.values()):
            delivery.lost()

    # ------------------------------------------------------------------ faults of its store

    def fault(self) -> str | None:
        """Return the kind of fault for the transaction that begins now."""
        return self.simulation.fault()

    def latency(self, fault: str | None) -> float:
        """Return the seconds that the store takes now."""
        return self.simulation.latency(fault)

    def choose(self, choices: Sequence[T]) -> T:
        """Return one of them, chosen by the seed."""
        return self.world.random.choice(choices)

    def reached(self, point: str) -> None:
        """Tell the simulation that the store is at a point of a transaction."""
        self.simulation.reached(self, point)

    def connect(self) -> PatientConnection:
        """Open the application's own connection to the file that it shares with the store."""
        connection = sqlite3.connect(
            str(self.simulation.path),
            timeout=0,
            check_same_thread=False,
            factory=PatientConnection,
        )
        self.connections.append(connection)
        return connection


delivering: ContextVar[Any] = ContextVar("delivering")  # of the request being served


_routes = APIRouter()  # a route for each way to answer; its delivery does the steps


@_routes.post("/async/{name}")
async def answer(name: str, background_tasks: BackgroundTasks) -> Any:
    """Answer from the event loop."""
    return await delivering.get().play(background_tasks)


@_routes.post("/def/{name}")
def answer_in_thread(name: str, background_tasks: BackgroundTasks) -> Any:
    """Answer from a thread."""
    return delivering.get().play_in_thread(background_tasks)


@_routes.post("/hand/{name}")
async def answer_by_hand(name: str, background_tasks: BackgroundTasks) -> Response:
    """Answer with a Response that has its own background tasks."""
    by_hand = await delivering.get().play(background_tasks, by_hand=True)
    return JSONResponse({}, background=by_hand)


@_routes.post("/stream/{name}")
async def stream(name: str, background_tasks: BackgroundTasks) -> Response:
    """Answer with a stream."""
    delivery = delivering.get()
    by_hand = await delivery.play(background_tasks, by_hand=True)
    return StreamingResponse(delivery.body(), background=by_hand)


@_routes.websocket("/socket/{name}")
async def talk(name: str, websocket: WebSocket, background_tasks: BackgroundTasks) -> None:
    """Serve a WebSocket."""
    await delivering.get().talk(websocket, background_tasks)
