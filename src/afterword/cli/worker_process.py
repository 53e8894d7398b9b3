"""A worker in this process, from the application's import to its shutdown."""

import asyncio
import contextlib
import functools
import gc
import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType

from afterword.admin.queues import unnamed
from afterword.app import Afterword
from afterword.cli.discovery import Application, find_application
from afterword.cli.exit_code import ExitCode
from afterword.cli.opentelemetry import Telemetry
from afterword.errors import ConfigurationError, StoreError
from afterword.model.fork import free_forks
from afterword.process import lifeline
from afterword.process.lifespan import Lifespan
from afterword.process.watchdog import Watchdog, end_process
from afterword.tasks.registry import options_of, registered

logger = logging.getLogger("afterword")

EXIT_WITHIN = 5.0  # seconds after the shutdown: threads may still run user code
SILENT_LEASES = 3  # leases without a sign of life from the store's thread
SILENT_AT_LEAST = 60.0  # seconds: time for several calls, each of which may run into its limit


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command line; None leaves one to the application."""

    queues: Sequence[str] | None = None
    concurrency: int | None = None
    grace: float | None = None
    lifeline: bool = False


class Stop:
    """A request to end this process, by a signal or a closed lifeline."""

    def __init__(self) -> None:
        self.wanted = False
        self._event = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self) -> None:
        """Handle SIGTERM and Ctrl-C; a second Ctrl-C ends the process at once."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.wanted and number == signal.SIGINT:
            os.write(2, b"Ended at once; other workers recover the running jobs.\n")
            os._exit(ExitCode.INTERRUPTED)
        self.want()

    def want(self) -> None:
        """Request the end; may be called in any thread, and in a signal handler."""
        self.wanted = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
                self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        """Wait until the end is requested."""
        self._loop = asyncio.get_running_loop()
        if self.wanted:
            return
        await self._event.wait()


def run(app: str | None, options: Options, configure_logging: Callable[[], None]) -> int:
    """Run jobs until the end is requested; return the exit code.

    Raises:
        ConfigurationError: the application cannot be found, or an option is invalid.
        StoreError: the store cannot be used.
    """
    stop = Stop()
    stop.listen()
    free_forks()
    if options.lifeline:
        lifeline.on_cut(stop.want)
    application = find_application(app)
    configure_logging()
    in_code = application.afterword.runtime.settings.queues
    telemetry = Telemetry()
    application.afterword.configure_worker(
        queues=options.queues,
        concurrency=options.concurrency,
        grace=options.grace,
        before_start=telemetry.begin,
    )
    hint = "" if options.lifeline else ": a second Ctrl-C ends this process at once"
    check = functools.partial(_warn_of_unnamed, application.afterword, options.queues, in_code)
    return asyncio.run(_work(application, stop, check, telemetry, f"draining{hint}"))


async def _work(
    application: Application,
    stop: Stop,
    check: Callable[[], object],
    telemetry: Telemetry,
    draining: str,
) -> int:
    lifespan = Lifespan(application.asgi)
    code = ExitCode.FAILED
    try:
        if await _started(lifespan, stop):
            # Imported objects stay for good: the garbage collector need not scan them each time.
            gc.collect()
            gc.freeze()
            await asyncio.to_thread(check)
            await _work_until(stop, application)
            logger.info(draining)
            await lifespan.shutdown()
            await asyncio.to_thread(telemetry.end, EXIT_WITHIN)
        code = ExitCode.OK if application.afterword.drained else ExitCode.FAILED
        return code
    finally:
        _exit_within(EXIT_WITHIN, code)


async def _started(lifespan: Lifespan, stop: Stop) -> bool:
    """Start the application; return False if the end was requested first."""
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


def _warn_of_unnamed(
    afterword: Afterword, queues: Sequence[str] | None, in_code: Sequence[str]
) -> None:
    """Log the queues of the command line that neither the code nor the store names."""
    known = {*in_code, *(options_of(each).queue for each in registered())}
    with contextlib.suppress(StoreError):
        for sentence in unnamed(afterword.inquiries.store(), queues or (), known):
            logger.warning("%s Jobs that are added to it later are run.", sentence)


async def _work_until(stop: Stop, application: Application) -> None:
    afterword = application.afterword
    if not afterword.started:
        raise ConfigurationError(
            f"The lifespan of {application.name} must reach its Afterword, but it did not. Let the"
            " ASGI middleware around the application pass on scopes of the type 'lifespan'."
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
    """Force the exit after some time, even if threads still run user code of released jobs."""
    timer = threading.Timer(seconds, os._exit, [code])
    timer.daemon = True
    timer.start()
