"""Functions that tests run in child processes: `handle` calls the one that `do` names."""

import atexit
import ctypes
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from afterword.worker.processes import child

Values = dict[str, Any]
Send = Callable[[Values], None]

logger = logging.getLogger("shop.work")
logger.addHandler(logging.StreamHandler())  # as in many applications


def handle(request: Values, send: Send) -> Values:
    answer: Values = globals()[request["do"]](request, send)
    return answer


def nothing(request: Values, send: Send) -> Values:
    return {"pid": os.getpid()}


def echo(request: Values, send: Send) -> Values:
    return {"text": request["text"]}


# ---------------------------------------------------------------------- work


def sleep(request: Values, send: Send) -> Values:
    send({"pid": os.getpid()})
    time.sleep(60)
    return {}


def compute(request: Values, send: Send) -> Values:
    """Compute in C and hold the GIL: no thread and no signal handler of Python can run."""
    send({"pid": os.getpid()})
    return {"sum": sum(range(10**13))}


def wait_for_file(request: Values, send: Send) -> Values:
    send({"pid": os.getpid()})
    logger.warning("waiting for %s", "a file", extra={"shelf": 7, "who": Path("me")})
    while not Path(request["file"]).exists():
        time.sleep(0.005)
    return {"pid": os.getpid()}


def wait_for_cancel(request: Values, send: Send) -> Values:
    send({"pid": os.getpid()})
    while not child.cancelled():
        time.sleep(0.005)
    return {"cancelled": True}


def is_cancelled(request: Values, send: Send) -> Values:
    return {"cancelled": child.cancelled()}


def log(request: Values, send: Send) -> Values:
    logger.debug("not wanted")
    logger.info("wanted")
    try:
        raise LookupError("on the shelf")
    except LookupError:
        logging.getLogger("afterword").exception("not found")
    return {}


# ---------------------------------------------------------------------- ends


def segfault(request: Values, send: Send) -> Values:
    ctypes.string_at(0)
    return {}


def end_at_once(request: Values, send: Send) -> Values:
    os._exit(request["code"])


def kill_itself(request: Values, send: Send) -> Values:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def system_exit(request: Values, send: Send) -> Values:
    sys.exit("that is all")


def interrupt(request: Values, send: Send) -> Values:
    raise KeyboardInterrupt


def fail(request: Values, send: Send) -> Values:
    raise LookupError("no such shelf")


def not_json(request: Values, send: Send) -> Values:
    return {"path": Path("x")}


# ---------------------------------------------------------------------- side effects


def use_standard_streams(request: Values, send: Send) -> Values:
    print("printed")
    os.write(1, b"written\n")
    subprocess.run(["echo", "echoed"], check=True)
    return {"read": sys.stdin.read()}


def write_everywhere(request: Values, send: Send) -> Values:
    for descriptor in range(3, 30):
        try:
            os.write(descriptor, b"nonsense\n")
        except OSError:
            continue
    time.sleep(60)
    return {}


def signal_itself(request: Values, send: Send) -> Values:
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)
    time.sleep(0.05)
    return {"group": os.getpgrp()}


def spoil_signals(request: Values, send: Send) -> Values:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return {"pid": os.getpid()}


def terminate_others(request: Values, send: Send) -> Values:
    """Terminate a started program and a fork: SIGTERM ends them, as everywhere."""
    program = subprocess.Popen(["sleep", "60"])
    program.terminate()
    fork = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    fork.start()
    fork.terminate()
    fork.join()
    return {"program": program.wait(), "fork": fork.exitcode}


def log_in_a_fork(request: Values, send: Send) -> Values:
    """Fork: the fork of a task can neither answer nor hold the pipe."""
    pid = os.fork()
    if pid == 0:
        logger.warning("from a fork")
        send({"from": "a fork"})
        os._exit(0)
    return {"status": os.waitpid(pid, 0)[1]}


def start_program(request: Values, send: Send) -> Values:
    program = subprocess.Popen(["sleep", "60"])
    send({"pid": os.getpid(), "program": program.pid})
    time.sleep(request["seconds"])
    return {}


def send_later(request: Values, send: Send) -> Values:
    def send_all() -> None:
        for _ in range(100):
            send({"late": True})
            time.sleep(0.005)

    threading.Thread(target=send_all).start()
    return {}


def write_at_exit(request: Values, send: Send) -> Values:
    atexit.register(Path(request["file"]).write_text, "exited", encoding="utf-8")
    return {"pid": os.getpid()}


def hang_at_exit(request: Values, send: Send) -> Values:
    atexit.register(time.sleep, 60)
    return {"pid": os.getpid()}


def flags(request: Values, send: Send) -> Values:
    return {"optimize": sys.flags.optimize, "warnings": sys.warnoptions, "x": sys._xoptions}
