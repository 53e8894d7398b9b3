"""A worker in this process, from the application's import to its shutdown."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType

from afterword.cli.discovery import Application, find_application
from afterword.cli.exit_code import ExitCode
from afterword.errors import ConfigurationError
from afterword.model.fork import free_forks
from afterword.process import lifeline
from afterword.process.lifespan import Lifespan
from afterword.process.watchdog import Watchdog, end_process

logger = logging.getLogger("afterword")

EXIT_WITHIN = 5.0  # seconds, once everything is shut down: threads may still be in user code
SILENT_LEASES = 3  # leases without a sign of the store's thread
SILENT_AT_LEAST = 60.0  # seconds: several calls, each of which may wait for its time limit


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line said; None is as the application has it."""

    queues: Sequence[str] | None = None
    concurrency: int | None = None
    grace: float | None = None
    lifeline: bool = False


class Stop:
    """That this process is to end: a signal has said so, or a cut lifeline."""

    def __init__(self) -> None:
        self.wanted = False
        self._event = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self) -> None:
        """Take SIGTERM and Ctrl-C from now on; a second Ctrl-C ends the process at once."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.wanted and number == signal.SIGINT:
            os.write(2, b"Ended at once; others take over what was running.\n")
            os._exit(ExitCode.INTERRUPTED)
        self.want()

    def want(self) -> None:
        """Ask for the end; from any thread, and from a signal handler."""
        self.wanted = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it ends already
                self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        """Wait until the end is wanted."""
        self._loop = asyncio.get_running_loop()
        if self.wanted:
            return
        await self._event.wait()


def run(app: str | None, options: Options, configure_logging: Callable[[], None]) -> int:
    """Work until told to end; returns the exit code.

    Raises:
        ConfigurationError: the application cannot be found, or an option cannot be.
        StoreError: the store cannot be used.
    """
    stop = Stop()
    stop.listen()
    free_forks()
    if options.lifeline:
        lifeline.on_cut(stop.want)
    application = find_application(app)
    configure_logging()
    application.afterword.configure_worker(
        queues=options.queues, concurrency=options.concurrency, grace=options.grace
    )
    hint = "" if options.lifeline else ": Ctrl-C once more ends this process at once"
    return asyncio.run(_work(application, stop, f"draining{hint}"))


async def _work(application: Application, stop: Stop, draining: str) -> int:
    lifespan = Lifespan(application.asgi)
    code = ExitCode.FAILED
    try:
        if await _started(lifespan, stop):
            # What was imported stays: the garbage collector need not look through it each time.
            gc.collect()
            gc.freeze()
            await _work_until(stop, application)
            logger.info(draining)
            await lifespan.shutdown()
        code = ExitCode.OK if application.afterword.drained else ExitCode.FAILED
        return code
    finally:
        _exit_within(EXIT_WITHIN, code)


async def _started(lifespan: Lifespan, stop: Stop) -> bool:
    """Whether the application has started; it is cancelled if the end is wanted first."""
    starting = asyncio.ensure_future(lifespan.startup())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        stopping.cancel()
        starting.result()
        return True
    starting.cancel()
    await lifespan.cancel()
    return False


async def _work_until(stop: Stop, application: Application) -> None:
    afterword = application.afterword
    if not afterword.started:
        raise ConfigurationError(
            f"The lifespan of {application.name} did not reach its Afterword: ASGI middleware"
            " around the application has to pass on scopes of the type 'lifespan'."
        )
    lifeline.report(grace=afterword.grace)
    silent_for = max(SILENT_LEASES * afterword.lease, SILENT_AT_LEAST)
    watchdog = Watchdog(lambda: afterword.pulse, silent_for, _end)
    watchdog.start()
    await stop.wait()
    watchdog.stop()


def _end(reason: str) -> None:
    logger.critical("%s This worker ends, so that another one can be started.", reason)
    end_process()


def _exit_within(seconds: float, code: int) -> None:
    """Leave although threads of user code go on: their jobs have been given up already."""
    timer = threading.Timer(seconds, os._exit, [code])
    timer.daemon = True
    timer.start()
