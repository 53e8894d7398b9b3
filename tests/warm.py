"""Starts of Python programs in milliseconds: each is forked from a process with FastAPI imported.

A new interpreter needs about a second of CPU time for these imports. `Popen` and `run` are those of
`subprocess`, but `python -m MODULE`, `python -c CODE`, `python FILE` and `afterword` become a copy
of one process, the *mother*, which has imported what programs of this project import, and done
nothing else. The copy takes over arguments, environment, folder and standard streams. The kernel
makes it a child of the process that called `Popen`, so signals, waiting and statuses are the real
thing. All other commands, options of the interpreter, and systems other than Linux get a new
process as usual.

Tests of the start itself (imports, their cost, their absence) use `subprocess` instead.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import inspect
import io
import json
import os
import platform
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, AnyStr

AFTERWORD = str(Path(sys.executable).with_name("afterword"))

# FastAPI is the only injection framework here: Afterword finds frameworks in `sys.modules`.
IMPORTED = (
    *("afterword.app", "afterword.background", "afterword.cli.commands", "afterword.cli.worker"),
    *(
        "afterword.fastapi",
        "afterword.store.postgres",
        "afterword.store.sqlite",
        "fastapi",
        "httpx",
    ),
    *("pytest", "sqlalchemy.orm", "uvicorn.lifespan.on", "uvicorn.loops.auto", "uvicorn.main"),
    *("uvicorn.protocols.http.auto", "uvicorn.protocols.websockets.auto"),
)
LOOKS_AT_TERMINAL = "afterword.cli.output"  # when it is imported
# Variables that an interpreter reads when it starts. A program with other values gets a new one.
READ_AT_START = ("LANG", "LC_ALL", "LC_CTYPE", "MALLOC_ARENA_MAX", "PYTHON")
TAKEN_OVER = ("PYTHONPATH", "PYTHONUNBUFFERED")
PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
ORDER_SIZE = 2**20  # bytes, most of them the environment


class Popen(subprocess.Popen[AnyStr]):
    """`subprocess.Popen`, without the time that a new interpreter needs."""

    def _execute_child(self, *given: Any) -> None:
        start: Any = super()._execute_child  # type: ignore[misc]
        asked = inspect.signature(start).bind(*given).arguments
        order = _order(asked)
        if order is None or (mother := _mother_of_this_process()) is None:
            start(*given)
            return
        pipes = [asked[name] for name in PIPES]
        # -1: this process's own stream, as it is now, because pytest replaces them
        streams = [
            number if pipes[its] == -1 else pipes[its] for number, its in enumerate((0, 3, 5))
        ]
        self.pid = mother.fork(order, streams)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Kill the process if the block failed, instead of waiting for its end."""
        if error is not None:
            self.kill()
        super().__exit__(kind, error, traceback)


def run(
    command: Sequence[str],
    *,
    input: str | None = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    text: bool = True,
    **options: Any,
) -> "subprocess.CompletedProcess[str]":
    """Do as `subprocess.run`, for text."""
    if input is not None:
        options["stdin"] = subprocess.PIPE
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Popen(command, text=text, **options) as process:
        out, err = process.communicate(input, timeout=timeout)
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def _order(asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the order for the mother; None if only a new process will do."""
    program = _program(asked["args"])
    special = asked["preexec_fn"] or asked["shell"] or asked["executable"] or asked["pass_fds"]
    environment = dict(os.environ if asked["env"] is None else asked["env"])
    if program is None or special or not asked["close_fds"]:
        return None
    if _has_an_afterword_of_its_own(environment):
        return None
    if _read_at_start(environment) != _read_at_start(os.environ):
        return None
    return {
        **program,
        "unbuffered": "-u" in asked["args"][1:2] or environment.get("PYTHONUNBUFFERED"),
        "environment": environment,
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),  # by this thread
        "folder": os.path.abspath(os.fspath(asked["cwd"] or ".")),  # noqa: PTH100
        "session": asked["start_new_session"],
        "group": asked["process_group"],
    }


def _program(command: Any) -> dict[str, Any] | None:
    if isinstance(command, (str, bytes, os.PathLike)):
        return None
    words = [os.fspath(each) for each in command]
    if words[0] == AFTERWORD:
        words.insert(0, sys.executable)
    if words[:2] == [sys.executable, "-u"]:
        del words[1]
    match words:
        case [sys.executable, "-m" | "-c" as kind, program, *arguments]:
            return {"kind": kind, "program": program, "arguments": arguments}
        case [sys.executable, file, *arguments] if not file.startswith("-"):
            return {"kind": "file", "program": file, "arguments": arguments}
    return None


def _has_an_afterword_of_its_own(environment: Mapping[str, str]) -> bool:
    """Return True for a program of another release, as in a deploy: the mother has this one."""
    folders = environment.get("PYTHONPATH", "").split(os.pathsep)
    return any(Path(each, "afterword").is_dir() for each in folders if each)


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(READ_AT_START) and name not in TAKEN_OVER
    }


# ---------------------------------------------------------------------- for callers of the mother


class Mother:
    """The process that is forked, a child of this one."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._lock = threading.Lock()
        self._socket, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        started = threading.Event()
        threading.Thread(target=self._live, args=(its_end, started), daemon=True).start()
        started.wait()
        atexit.register(self.end)

    def _live(self, its_end: socket.socket, started: threading.Event) -> None:
        """Start the mother and wait: to the kernel, the end of this thread is a parent's death."""
        environment = {name: os.environ[name] for name in os.environ if name != "PYTHONPATH"}
        with its_end:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(its_end.fileno())],
                pass_fds=[its_end.fileno()],
                env=environment,
            )
        started.set()
        self._process.wait()

    def fork(self, order: Mapping[str, Any], streams: Sequence[int]) -> int:
        """Return the id of a new child of this process, once it handles signals."""
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(order).encode()], streams)
            said = self._socket.recv(1_000)
        assert said, f"the process that is forked has ended: {self._process.wait()}"
        answer = json.loads(said)
        if error := answer.get("error"):
            raise OSError(*error)
        return int(answer["pid"])

    def end(self) -> None:
        """End the mother, and wait for that."""
        if self.owner == os.getpid():
            self._socket.close()
            self._process.wait()


_mothers: list[Mother] = []
_one_at_a_time = threading.Lock()


def _mother_of_this_process() -> Mother | None:
    if sys.platform != "linux" or platform.machine() not in CLONE:
        return None
    with _one_at_a_time:
        if not _mothers:
            _mothers.append(Mother())
    return _mothers[0] if _mothers[0].owner == os.getpid() else None


# ---------------------------------------------------------------------- in the mother


def serve(orders: socket.socket) -> None:
    """Fork for each order, until the socket is closed; the fork runs the program."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the tests, which end this process
    for name in IMPORTED:
        with contextlib.suppress(ImportError):  # scripts/test-oldest lacks some of them
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    while True:
        message, streams, _, _ = socket.recv_fds(orders, ORDER_SIZE, 3)
        if not message:
            return
        if fork_as_sibling() == 0:
            break
        for descriptor in streams:
            os.close(descriptor)
    order = json.loads(message)
    try:
        become(order, streams)
    except OSError as error:
        orders.send(json.dumps({"error": [error.errno, error.strerror, error.filename]}).encode())
        os._exit(255)
    orders.send(json.dumps({"pid": os.getpid()}).encode())
    orders.close()
    try:
        execute(order)
    except SystemExit as end:
        if isinstance(end.code, int | None):
            leave(end.code or 0)
        raise
    leave(0)


PR_GET_TID_ADDRESS = 40
CLONE = {"x86_64": 56, "aarch64": 220}  # the numbers of this system call
AS_SIBLING = 0x8000  # CLONE_PARENT: the child of our parent
SET_TID = 0x01000000 | 0x00200000  # CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID: as in every `fork`


def fork_as_sibling() -> int:
    """Fork as `os.fork`, but the new process is a child of this one's parent."""
    libc = ctypes.PyDLL(None, use_errno=True)  # keeps the GIL
    tid = ctypes.c_long()  # the address where glibc keeps the thread's number
    libc.prctl(PR_GET_TID_ADDRESS, ctypes.byref(tid), 0, 0, 0)
    flags = signal.SIGCHLD | AS_SIBLING | (SET_TID if tid.value else 0)
    machine = platform.machine()
    last = [tid.value, 0] if machine == "x86_64" else [0, tid.value]
    ctypes.pythonapi.PyOS_BeforeFork()
    pid: int = libc.syscall(*map(ctypes.c_long, (CLONE[machine], flags, 0, 0, *last)))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    else:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone failed")
    return pid


def become(order: Mapping[str, Any], streams: Sequence[int]) -> None:
    """Take over what a new interpreter gets from its parent."""
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if order["session"]:
        os.setsid()
    if order["group"] >= 0:
        os.setpgid(0, order["group"])
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _stream(number, getattr(sys, name), unbuffered=bool(order["unbuffered"]))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, order["blocked"])
    if (module := sys.modules.get(LOOKS_AT_TERMINAL)) is not None:
        importlib.reload(module)


def leave(status: int) -> None:
    """End as an interpreter does, but without destroying objects, which takes most of the time.

    Return if the streams cannot be written, so that the interpreter reports it.
    """
    threading._shutdown()  # type: ignore[attr-defined] # it waits for the program's threads
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
        os._exit(status)


def _stream(number: int, former: Any, *, unbuffered: bool) -> io.TextIOWrapper:
    mode, newline = ("rb", None) if number == 0 else ("wb", "\n")
    return io.TextIOWrapper(
        open(number, mode, 0 if unbuffered and number else -1, closefd=False),
        encoding=former.encoding,
        errors=former.errors,
        newline=newline,
        line_buffering=not unbuffered and (number == 2 or os.isatty(number)),
        write_through=unbuffered,
    )


def execute(order: Mapping[str, Any]) -> None:
    """Run the program as `__main__`; an exception ends this process as it would any other."""
    kind, program = order["kind"], order["program"]
    first = {"-m": os.getcwd(), "-c": "", "file": str(Path(program).resolve().parent)}[kind]  # noqa: PTH109
    added = filter(None, order["environment"].get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:] = [first, *dict.fromkeys(map(os.path.abspath, added)), *sys.path[1:]]
    sys.argv[:] = [{"-m": "-m", "-c": "-c", "file": program}[kind], *order["arguments"]]
    importlib.invalidate_caches()
    main = sys.modules["__main__"] = ModuleType("__main__")
    if kind == "-m":
        runpy._run_module_as_main(program)  # type: ignore[attr-defined]
    elif kind == "-c":
        exec(compile(program, "<string>", "exec"), main.__dict__)
    else:
        main.__file__ = str(Path(program).absolute())
        exec(compile(Path(program).read_bytes(), main.__file__, "exec"), main.__dict__)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
