"""Child processes: real ones, which crash and are killed."""

import importlib
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from afterword.errors import ConfigurationError, UnknownTask
from afterword.worker.processes import Call, Ending, Processes, pool, process
from afterword.worker.processes.ending import describe
from tests import in_child, warm
from tests.helpers import ROOT, is_gone, wait_until

HANDLER = "tests.in_child:handle"
MODULE = in_child.__name__


@dataclass(slots=True)
class Told:
    """The messages of a pool about a call."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)

    def wait_message(self) -> dict[str, Any]:
        wait_until(lambda: self.messages, description="the child sends something")
        return self.messages[0]

    def wait_ending(self) -> Ending:
        wait_until(lambda: self.endings, description="the call ends", every=0.001)
        return self.endings[0]


def start(processes: Processes, do: str, **values: Any) -> tuple[Call, Told]:
    told = Told()
    request = {"module": MODULE, "do": do, **values}
    return processes.start(request, told.messages.append, told.endings.append), told


def run(processes: Processes, do: str, **values: Any) -> Ending:
    return start(processes, do, **values)[1].wait_ending()


def value(ending: Ending) -> dict[str, Any]:
    assert ending.value is not None, ending
    return ending.value


def pid_of(processes: Processes) -> int:
    """Return the process id of the child that the next call gets."""
    pid: int = value(run(processes, "nothing"))["pid"]
    return pid


def wait_gone(pid: int) -> None:
    wait_until(lambda: is_gone(pid), description=f"process {pid} is gone")


Make = Callable[..., Processes]


@pytest.fixture
def make() -> Iterator[Make]:
    """A function that makes pools, which are stopped after the test."""
    made: list[Processes] = []

    def make(size: int = 1, **options: Any) -> Processes:
        made.append(Processes(size, HANDLER, **options))
        return made[-1]

    yield make
    for processes in made:
        processes.stop()


@pytest.fixture
def processes(make: Make) -> Processes:
    """A new pool with one process."""
    return make()


@pytest.fixture(scope="module")
def shared() -> Iterator[Processes]:
    """A pool with one process for all tests that accept a used one."""
    processes = Processes(1, HANDLER)
    yield processes
    processes.stop()


# ---------------------------------------------------------------------- calls


def test_a_child_runs_call_after_call(shared: Processes) -> None:
    """It is another process, started once."""
    first, second = pid_of(shared), pid_of(shared)

    assert first == second
    assert os.getpid() != first


def test_two_calls_run_at_the_same_time(make: Make, tmp_path: Path) -> None:
    """Each has its own process; a third one waits for the first free one."""
    processes, gate = make(2), str(tmp_path / "gate")
    told = [start(processes, "wait_for_file", file=gate)[1] for _ in range(2)]
    pids = {each.wait_message()["pid"] for each in told}
    _, third = start(processes, "nothing")
    waited = not third.endings
    Path(gate).touch()
    ended = {value(each.wait_ending())["pid"] for each in told}

    assert 2 == len(pids)
    assert pids == ended
    assert waited
    assert value(third.wait_ending())["pid"] in pids


def test_the_child_that_was_busy_last_is_taken_first(make: Make, tmp_path: Path) -> None:
    """Processes that are not needed stay idle."""
    processes, gate = make(2), tmp_path / "gate"
    _, told = start(processes, "wait_for_file", file=str(gate))
    busy_last = told.wait_message()["pid"]
    other = pid_of(processes)
    gate.touch()
    told.wait_ending()

    assert [busy_last] * 3 == [pid_of(processes) for _ in range(3)]
    assert busy_last != other


def test_large_requests_and_answers_pass(shared: Processes) -> None:
    """They are larger than a pipe's buffer, in both directions."""
    text = "a\n€" * 700_000

    assert {"text": text} == value(run(shared, "echo", text=text))


def test_messages_and_logs_come_while_it_runs(
    shared: Processes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = tmp_path / "gate"
    _, told = start(shared, "wait_for_file", file=str(gate))
    sent = told.wait_message()
    wait_until(lambda: caplog.records, description="a log record arrives")
    running = not told.endings
    gate.touch()
    told.wait_ending()
    record = caplog.records[0]

    assert running
    assert [sent] == told.messages
    assert ("shop.work", logging.WARNING, "waiting for a file") == caplog.record_tuples[0]
    assert (sent["pid"], "in_child.py", 7, "me") == (
        record.process,
        record.filename,
        vars(record)["shelf"],
        vars(record)["who"],
    )


def test_logs_are_the_parents_affair(
    processes: Processes,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the parent's levels, at the time of the call, and its handlers count."""
    monkeypatch.setattr(in_child.logger, "handlers", [])  # here; the child has it
    run(processes, "nothing")
    with caplog.at_level(logging.INFO, "shop"):
        run(processes, "log")
    records = [(name, level) for name, level, _ in caplog.record_tuples]

    assert [("shop.work", logging.INFO), ("afterword", logging.ERROR)] == records
    assert caplog.messages[1].startswith("not found\nTraceback (most recent call last)")
    assert caplog.messages[1].endswith("LookupError: on the shelf")
    assert "" == capfd.readouterr().err


def test_what_a_task_prints_goes_to_standard_error(
    processes: Processes, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its input is empty: neither it nor its programs may use the pipes."""
    answer = value(run(processes, "use_standard_streams"))

    assert {"read": ""} == answer
    assert ("", "printed\nwritten\nechoed\n") == tuple(capfd.readouterr())
    assert value(run(processes, "nothing"))


def test_a_call_hears_that_it_is_cancelled(shared: Processes) -> None:
    """The next call of the same child is not cancelled."""
    call, told = start(shared, "wait_for_cancel")
    told.wait_message()
    call.cancel()
    call.cancel()

    assert {"cancelled": True} == value(told.wait_ending())
    call.cancel()
    assert {"cancelled": False} == value(run(shared, "is_cancelled"))


def test_a_call_can_be_cancelled_before_its_turn(shared: Processes) -> None:
    """It is told when it has begun."""
    first, told = start(shared, "wait_for_cancel")
    second, waiting = start(shared, "wait_for_cancel")
    second.cancel()
    first.cancel()

    assert {"cancelled": True} == value(told.wait_ending())
    assert {"cancelled": True} == value(waiting.wait_ending())


def test_what_is_sent_too_late_reaches_no_other_call(shared: Processes, tmp_path: Path) -> None:
    """A thread left behind by a task cannot report for the next task."""
    run(shared, "send_later")
    gate = tmp_path / "gate"
    _, told = start(shared, "wait_for_file", file=str(gate))
    told.wait_message()
    time.sleep(0.1)
    gate.touch()
    told.wait_ending()

    assert ["pid"] == [key for message in told.messages for key in message]


# ---------------------------------------------------------------------- failures of the handler


@pytest.mark.parametrize(
    ("do", "last_line"),
    [
        ("fail", "LookupError: no such shelf"),
        ("system_exit", "SystemExit: that is all"),
        ("interrupt", "KeyboardInterrupt"),
    ],
)
def test_a_handler_that_raises_ends_its_call(shared: Processes, do: str, last_line: str) -> None:
    """Any error is an answer; the next call gets a process that is like new."""
    first = pid_of(shared)
    ending = run(shared, do)

    assert ending.error is not None
    assert last_line == ending.error.splitlines()[-1]
    assert (None, None) == (ending.value, ending.died)
    assert first != pid_of(shared)


def test_an_answer_that_is_not_json_is_an_error(shared: Processes) -> None:
    ending = run(shared, "not_json")

    assert ending.error is not None
    assert "must be JSON" in ending.error


def test_a_request_that_is_not_json_is_refused(shared: Processes) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        start(shared, "nothing", path=Path("x"))


def test_a_callback_that_raises_harms_nobody(
    shared: Processes, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(told: object) -> None:
        raise LookupError("not at home")

    shared.start({"module": MODULE, "do": "nothing"}, fail, fail)

    assert value(run(shared, "nothing"))
    assert "LookupError: not at home" in caplog.text


# ---------------------------------------------------------------------- deaths


@pytest.mark.parametrize(
    ("do", "reason"),
    [
        ("segfault", "was killed by SIGSEGV (Segmentation fault)"),
        ("kill_itself", "was killed by SIGKILL: perhaps the system had no memory left"),
        ("end_at_once", "ended with exit code 3, as os._exit(3) would do it"),
        ("write_everywhere", "was killed, because something has written into the pipe of its"),
    ],
)
def test_a_death_ends_one_call(make: Make, tmp_path: Path, do: str, reason: str) -> None:
    """The reason is in words; the other call goes on, and the next one finds a process."""
    processes, gate = make(2), tmp_path / "gate"
    _, neighbour = start(processes, "wait_for_file", file=str(gate))
    neighbour.wait_message()
    ending = run(processes, do, code=3)
    next_value = run(processes, "nothing").value
    undisturbed = not neighbour.endings
    gate.touch()

    assert ending.died is not None
    assert ending.died.startswith(f"The process of the task {reason}")
    assert (None, None) == (ending.value, ending.error)
    assert next_value
    assert undisturbed
    assert value(neighbour.wait_ending())


def test_a_crash_says_where_it_was(processes: Processes, capfd: pytest.CaptureFixture[str]) -> None:
    """It is Python's own report, on standard error."""
    run(processes, "segfault")
    report = capfd.readouterr().err

    assert "Fatal Python error: Segmentation fault" in report
    assert "in segfault" in report


def test_exit_codes_in_words() -> None:
    """This includes signals without a known name."""
    assert "was killed by signal 77" == describe(-77)
    assert "was killed by SIGABRT (Aborted)" == describe(-6)


@pytest.mark.parametrize("do", ["sleep", "compute"])
def test_a_call_is_killed_whatever_it_is_in(shared: Processes, do: str) -> None:
    """It may be in C code that holds the GIL; the first given reason counts."""
    call, told = start(shared, do)
    pid = told.wait_message()["pid"]
    began = time.monotonic()
    call.kill("It has reached its time limit.")
    call.kill("For another reason.")
    ending = told.wait_ending()
    seconds = time.monotonic() - began

    assert Ending(died="It has reached its time limit.") == ending
    assert seconds < 30
    assert is_gone(pid)
    assert pid != pid_of(shared)


def test_a_call_is_killed_together_with_what_it_has_started(shared: Processes) -> None:
    """No process of it is left that could go on writing a file."""
    call, told = start(shared, "start_program", seconds=60)
    program = told.wait_message()["program"]
    call.kill("enough")

    wait_gone(program)


def test_what_a_crashed_task_has_started_ends_too(shared: Processes) -> None:
    """The reason is still the crash."""
    _, told = start(shared, "start_program", seconds=60)
    sent = told.wait_message()
    os.kill(sent["pid"], signal.SIGSEGV)
    ending = told.wait_ending()

    assert ending.died is not None
    assert "SIGSEGV" in ending.died
    wait_gone(sent["program"])


def test_a_call_is_killed_before_its_process_is_ready(processes: Processes) -> None:
    call, told = start(processes, "sleep")
    call.kill("too early")

    assert Ending(died="too early") == told.wait_ending()
    assert [] == told.messages


def test_a_call_is_killed_before_its_turn(shared: Processes) -> None:
    """It never runs, and its callback is not called by the thread that kills it."""
    running, told = start(shared, "wait_for_cancel")
    threads: list[threading.Thread] = []
    request = {"module": MODULE, "do": "nothing"}
    waiting = shared.start(request, print, lambda _: threads.append(threading.current_thread()))
    waiting.kill("not needed")
    wait_until(lambda: threads, description="the waiting call has ended")
    undisturbed = not told.endings
    running.cancel()

    assert threading.current_thread() != threads[0]
    assert undisturbed
    assert value(told.wait_ending())


def test_an_ended_call_cannot_be_killed(shared: Processes) -> None:
    """Its process has another call now."""
    call, told = start(shared, "nothing")
    told.wait_ending()
    next_call, next_told = start(shared, "wait_for_cancel")
    next_told.wait_message()
    call.kill("too late")
    next_call.cancel()

    assert {"cancelled": True} == value(next_told.wait_ending())
    assert 1 == len(told.endings)


def test_an_idle_process_that_dies_is_replaced(shared: Processes) -> None:
    pid = pid_of(shared)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not shared._idle, description="the pool has noticed")

    assert pid != pid_of(shared)


def test_each_call_ends_once(make: Make) -> None:
    """Ends, kills, deaths and more calls than processes come at the same time."""
    processes, told = make(2), []
    for number in range(12):
        call, each = start(processes, ["nothing", "end_at_once", "fail"][number % 3], code=1)
        told.append(each)
        if number % 4 == 0:
            call.kill("by chance")
    wait_until(lambda: all(each.endings for each in told), description="all end", timeout=60)
    processes.stop()

    assert [1] * 12 == [len(each.endings) for each in told]


# ---------------------------------------------------------------------- signals


def test_a_child_leaves_signals_to_its_parent(shared: Processes) -> None:
    """It has its own process group, so it gets systemd's SIGTERM, but not Ctrl-C."""
    pid = value(run(shared, "spoil_signals"))["pid"]

    assert {"group": pid} == value(run(shared, "signal_itself"))


def test_a_child_leaves_signals_to_its_parent_from_the_start(processes: Processes) -> None:
    """This holds before its handlers are set, too."""
    _, told = start(processes, "nothing")
    child = next(iter(processes._busy))
    wait_until(lambda: child._process, description="the process has been started", every=0.0001)
    assert child._process is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(child._process.pid, number)

    assert value(told.wait_ending())


def test_signals_work_in_what_a_task_starts(shared: Processes) -> None:
    """Its programs inherit neither the ignored SIGTERM nor the pipes."""
    assert {"program": -15, "fork": -15} == value(run(shared, "terminate_others"))


def test_a_fork_of_a_task_answers_nobody(
    processes: Processes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its logs go to its own handlers again."""
    _, told = start(processes, "log_in_a_fork")

    assert {"status": 0} == value(told.wait_ending())
    assert [] == told.messages
    assert [] == caplog.records
    assert "from a fork\n" == capfd.readouterr().err


# ---------------------------------------------------------------------- starting


def test_the_module_must_be_one_of_the_parents(shared: Processes) -> None:
    """A name in a store imports no module that the application has not imported."""
    with pytest.raises(UnknownTask, match="'wave' is none of them"):
        shared.start({"module": "wave"}, print, print)


def test_a_size_is_positive() -> None:
    with pytest.raises(ConfigurationError, match="but it is 0"):
        Processes(0, HANDLER)


def imported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a module, `fickle`, that this process has imported."""
    file = folder / "fickle.py"
    file.write_text("")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setitem(sys.modules, "fickle", importlib.import_module("fickle"))
    return file


@pytest.mark.parametrize(
    ("source", "last_line"),
    [
        (
            "import nowhere_to_be_found",
            "ModuleNotFoundError: No module named 'nowhere_to_be_found'",
        ),
        ("def", "SyntaxError: invalid syntax"),
        ("raise SystemExit(0)", "SystemExit: 0"),
    ],
)
def test_a_module_that_cannot_be_imported_ends_its_call(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, last_line: str
) -> None:
    """The error has the traceback; the next call tries again, in a new process."""
    file, processes = imported(tmp_path, monkeypatch), make()
    file.write_text(source)
    request = {"module": "fickle", "do": "nothing"}
    told, later = Told(), Told()
    processes.start(request, print, told.endings.append)
    error = told.wait_ending().error
    file.write_text("repaired = True")
    processes.start(request, print, later.endings.append)

    assert error is not None
    assert error.startswith("The module 'fickle' cannot be imported in a child process.")
    assert last_line == error.splitlines()[-1]
    assert "importlib" not in error
    assert value(later.wait_ending())


@pytest.mark.usefixtures("new_children")
def test_a_process_that_dies_at_its_start_ends_its_call(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This happens once for each call; processes are not started in a loop."""
    started = tmp_path / "started"
    (tmp_path / "sitecustomize.py").write_text(
        f"import os; open({str(started)!r}, 'a').write('x'); os._exit(7)"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    endings = [start(processes, "nothing")[1] for _ in range(2)]
    reasons = [each.wait_ending().died for each in endings]

    assert [
        "The process of the task ended with exit code 7, as os._exit(7) would do it while it"
        " started; its standard error may say why."
    ] * 2 == reasons
    assert "xx" == started.read_text()


@pytest.mark.usefixtures("new_children")
def test_a_process_outlives_the_thread_that_asked_for_it(processes: Processes) -> None:
    """To Linux, the end of the thread that started a process is the parent's death."""
    told: list[Told] = []
    thread = threading.Thread(target=lambda: told.append(start(processes, "nothing")[1]))
    thread.start()
    thread.join()
    pid = value(told[0].wait_ending())["pid"]
    time.sleep(1.2)  # the kernel's signal is deadly after a second

    assert pid == pid_of(processes)


@pytest.mark.usefixtures("new_children")
def test_without_a_python_the_call_ends(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    ending = run(processes, "nothing")

    assert ending.died is not None
    assert "could not be started: [Errno 2]" in ending.died


def test_without_a_thread_the_call_ends(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system cannot start a thread; later calls work again."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        ending = run(processes, "nothing")

    assert Ending(died="No process was started for the task: can't start new thread.") == ending
    assert value(run(processes, "nothing"))


# ---------------------------------------------------------------------- stopping


def test_an_idle_process_ends_after_a_while(make: Make, tmp_path: Path) -> None:
    """It ends by itself, with its exit handlers."""
    processes, file = make(idle_seconds=0.05), tmp_path / "exit"
    pid = value(run(processes, "write_at_exit", file=str(file)))["pid"]
    wait_gone(pid)

    assert "exited" == file.read_text()
    assert pid != pid_of(processes)


def test_a_process_that_does_not_end_is_killed(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "END_WITHIN", 0.1)
    monkeypatch.setattr(pool, "END_WITHIN", 30.0)
    pid = value(run(processes, "hang_at_exit"))["pid"]
    processes.stop()

    assert is_gone(pid)


def test_stop_ends_everything(make: Make, tmp_path: Path) -> None:
    """Running, waiting and idle: when it returns, all callers know and all processes are gone."""
    processes, file = make(2), tmp_path / "exit"
    _, running = start(processes, "compute")
    pids = [running.wait_message()["pid"]]
    pids += [value(run(processes, "write_at_exit", file=str(file)))["pid"]]
    processes.stop()
    _, late = start(processes, "nothing")

    assert Ending(died="The worker has ended the processes of its tasks.") == running.endings[0]
    assert late.wait_ending() == running.endings[0]
    assert [True, True] == [is_gone(pid) for pid in pids]
    assert "exited" == file.read_text()


def test_stop_ends_what_waits_and_what_starts(processes: Processes) -> None:
    told = [start(processes, "sleep")[1] for _ in range(3)]
    processes.stop()

    assert [1, 1, 1] == [len(each.endings) for each in told]
    assert 1 == len({each.endings[0] for each in told})


def test_a_callback_may_stop_the_pool(processes: Processes) -> None:
    stopped = threading.Event()

    def stop(ending: Ending) -> None:
        processes.stop()
        stopped.set()

    processes.start({"module": MODULE, "do": "nothing"}, print, stop)

    assert stopped.wait(60)


# ---------------------------------------------------------------------- programs of their own


def program(folder: Path, body: str, *options: str) -> "subprocess.Popen[str]":
    """Start a script, main.py, with a pool of one; its children have it as a module."""
    head = """
        import json, os, sys, threading, time
        from tests import in_child
        from tests.in_child import handle
        from afterword.worker.processes import Processes

        def run(pool, do, seconds=60):
            told, ended = [], threading.Event()
            request = {"module": "main", "do": do, "seconds": seconds}
            pool.start(request, told.append, lambda ending: (told.append(ending), ended.set()))
            ended.wait(60)
            return told[-1].value or told[-1]

        def show(message):
            print(json.dumps(message), flush=True)
    """
    main = f"pool = Processes(1, 'main:handle')\n{textwrap.dedent(body)}"
    file = folder / "main.py"
    file.write_text(
        f"{textwrap.dedent(head)}\nif __name__ == '__main__':\n{textwrap.indent(main, '    ')}"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return warm.Popen(
        [sys.executable, *options, str(file)], env=environment, stdout=subprocess.PIPE, text=True
    )


def line(script: "subprocess.Popen[str]") -> dict[str, Any]:
    assert script.stdout is not None
    shown: dict[str, Any] = json.loads(script.stdout.readline())
    return shown


def test_a_script_is_imported_by_its_name(tmp_path: Path) -> None:
    """`__main__` is another module there; the interpreter's options are the same."""
    options = ("-O", "-W", "error::UserWarning", "-X", "int_max_str_digits=5000")
    with program(tmp_path, "show(run(pool, 'flags')); pool.stop()", *options) as script:
        flags = line(script)

    assert 0 == script.returncode
    assert 1 == flags["optimize"]
    assert "error::UserWarning" in flags["warnings"]
    assert "5000" == flags["x"]["int_max_str_digits"]


DEATHS = {
    "killed": "os.kill(os.getpid(), 9)",
    "terminated": "os.kill(os.getpid(), 15); time.sleep(60)",
    "over, without stop()": "pass",
    "ended at once": "os._exit(0)",
}


@pytest.mark.parametrize("death", DEATHS.values(), ids=DEATHS)
@pytest.mark.parametrize("do", ["start_program", "compute"])
def test_no_process_outlives_its_parent(tmp_path: Path, do: str, death: str) -> None:
    """The parent may die in any way, at any time; programs of a task end as well."""
    body = f"""
        sent = threading.Event()
        request = {{"module": "main", "do": "{do}", "seconds": 60}}
        pool.start(request, lambda message: (show(message), sent.set()), print)
        sent.wait(60)
        {death}
    """
    with program(tmp_path, body) as script:
        pids = line(script).values()
    for pid in pids:
        wait_gone(pid)


def test_an_idle_process_does_not_outlive_its_parent(tmp_path: Path) -> None:
    with program(tmp_path, "show(run(pool, 'nothing')); os.kill(os.getpid(), 9)") as script:
        pid = line(script)["pid"]

    wait_gone(pid)


def test_a_forked_parent_shares_no_process(tmp_path: Path) -> None:
    """Parent and child go on, with their own processes."""
    body = """
        show(run(pool, 'nothing'))
        if os.fork() == 0:
            show(run(pool, 'nothing'))
            pool.stop()
            os._exit(0)
        show({"status": os.wait()[1]})
        show(run(pool, 'nothing'))
        pool.stop()
    """
    with program(tmp_path, body) as script:
        before, forked, status, after = (line(script) for _ in range(4))

    assert {"status": 0} == status
    assert before == after
    assert before != forked
