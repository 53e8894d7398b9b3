"""`afterword worker` and `afterword dev`: real processes, real signals, one SQLite file."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.util._once import Once

from afterword import Afterword, JobRecord, JobState
from afterword.cli.opentelemetry import Telemetry
from afterword.telemetry import listeners
from tests import warm, work_site
from tests.command_line import opened
from tests.helpers import ROOT, Server, free_port, running, wait_until

TARGET = "tests.work_site:app"


class Command:
    """An `afterword` process in a folder, with its log."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.log = folder / f"command-{time.monotonic_ns()}.log"
        paths = (str(folder), str(ROOT), os.environ.get("PYTHONPATH", ""))
        self.stdout = self.log.with_suffix(".out")
        with self.log.open("wb") as log, self.stdout.open("wb") as stdout:
            self.process = warm.Popen(
                [sys.executable, "-m", "afterword", *arguments],
                cwd=folder,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, paths)),
                    "LEDGER": str(folder / "ledger"),
                    **environment,
                },
                stdout=stdout,
                stderr=log,
            )

    def said(self) -> str:
        """Return the log so far."""
        return self.log.read_text()

    def wait_said(self, text: str, times: int = 1) -> None:
        """Wait until the log has this text so many times."""
        wait_until(
            lambda: self.said().count(text) >= times, description=f"{text!r}; see {self.log}"
        )

    def signal(self, number: int) -> None:
        """Send a signal to this process."""
        self.process.send_signal(number)

    def ends(self) -> int:
        """Wait until it ends; returns its exit code."""
        return self.process.wait(60)


@contextmanager
def commanding(folder: Path, *arguments: str, **environment: str) -> Iterator[Command]:
    """Run a command, and kill it afterwards."""
    command = Command(folder, *arguments, **environment)
    try:
        yield command
    finally:
        command.process.kill()
        command.process.wait()


@contextmanager
def working(folder: Path, *arguments: str, **environment: str) -> Iterator[Command]:
    """Run `afterword worker`, and wait until it claims jobs."""
    with commanding(folder, "worker", TARGET, *arguments, **environment) as command:
        command.wait_said("started store=")
        yield command


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Afterword]:
    """An Afterword with which a script adds jobs and looks at them."""
    script = Afterword(url=f"sqlite:///{tmp_path / 'jobs.db'}")
    script.runtime.group.start()
    yield script
    script.close()


def ledger(folder: Path) -> list[list[str]]:
    """The lines that tasks have written, as words."""
    file = folder / "ledger"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def noted(folder: Path, *words: str) -> Callable[[], bool]:
    """Return True if a line begins with these words."""
    return lambda: any(line[: len(words)] == list(words) for line in ledger(folder))


def wait_noted(folder: Path, *words: str) -> None:
    wait_until(noted(folder, *words), description=f"{words} in {folder}")


def record(store: Afterword, job_id: str) -> JobRecord:
    return store.runtime.store.get([job_id])[0]


def wait_state(store: Afterword, job_id: str, state: JobState) -> JobRecord:
    wait_until(lambda: record(store, job_id).state is state, description=f"{job_id} is {state}")
    return record(store, job_id)


# ---------------------------------------------------------------------- at work


def test_web_processes_store_and_workers_run(tmp_path: Path, store: Afterword) -> None:
    web = Server(TARGET, tmp_path, environment={"LEDGER": str(tmp_path / "ledger")})
    with running(web), working(tmp_path) as worker, web.client() as client:
        job = client.post("/work/a").json()

        done = wait_state(store, job, JobState.COMPLETED)
        assert ["end", "a", str(worker.process.pid), "client"] in ledger(tmp_path)
        assert done.attempt == 1  # the hold of the web process was given back, not lost
        assert 0 == done.lost


def test_what_a_task_forks_can_be_terminated(tmp_path: Path, store: Afterword) -> None:
    """Forks have no handlers of the worker, for which `multiprocessing.Pool` would wait."""
    job = store.add_task_sync(work_site.terminate_forks, "worker")
    with working(tmp_path):
        wait_state(store, job.id, JobState.COMPLETED)

    assert ["forks", "worker", "-15", "-15", "-15"] in ledger(tmp_path)


def test_what_a_task_forks_in_a_web_process_can_be_terminated(
    tmp_path: Path, store: Afterword
) -> None:
    environment = {"LEDGER": str(tmp_path / "ledger"), "WORKER": "1"}
    web = Server(TARGET, tmp_path, environment=environment)
    with running(web), web.client() as client:
        wait_state(store, client.post("/forks/web").json(), JobState.COMPLETED)

    assert ["forks", "web", "-15", "-15", "-15"] in ledger(tmp_path)


def test_workers_are_on_the_list_with_what_they_serve(tmp_path: Path, store: Afterword) -> None:
    arguments = ("--queues", "mail,mial", "-q", "default", "--concurrency", "7")
    with working(tmp_path, *arguments) as command:
        (listed,) = store.runtime.store.workers()

        assert (("mail", "mial", "default"), 7) == (listed.queues, listed.concurrency)
        command.wait_said("No task, job or rule names the queue 'mial'. Did you mean 'mail'?")
        assert "queue 'mail'." not in command.said()


def test_each_worker_serves_its_queues(tmp_path: Path, store: Afterword) -> None:
    work = store.add_task_sync(work_site.work, "a")
    mail = store.add_task_sync(work_site.send, "b")
    with working(tmp_path, "--queues", "mail") as mailer:
        wait_state(store, mail.id, JobState.COMPLETED)

        assert ["sent", "b", str(mailer.process.pid)] in ledger(tmp_path)
        assert record(store, work.id).state is JobState.QUEUED
        with working(tmp_path):
            wait_state(store, work.id, JobState.COMPLETED)


def test_data_stays_off_stdout(tmp_path: Path) -> None:
    with working(tmp_path, "--log-level", "debug") as worker:
        worker.signal(signal.SIGTERM)

        assert 0 == worker.ends()
        assert "" == worker.stdout.read_text()


# ---------------------------------------------------------------------- the end


def test_sigterm_lets_running_jobs_finish_and_takes_no_more(
    tmp_path: Path, store: Afterword
) -> None:
    gate = tmp_path / "gate"
    job = store.add_task_sync(work_site.work_until, "a", str(gate))
    with working(tmp_path) as worker:
        wait_noted(tmp_path, "start", "a")
        worker.signal(signal.SIGTERM)
        worker.wait_said("draining")
        late = store.add_task_sync(work_site.work, "late")
        gate.touch()

        assert 0 == worker.ends()
    assert record(store, job.id).state is JobState.COMPLETED
    assert record(store, late.id).state is JobState.QUEUED
    assert [["end", "a"], ["shutdown"]] == [line[:2] for line in ledger(tmp_path)[-2:]]
    assert [] == store.runtime.store.workers()


def test_what_does_not_finish_in_time_is_given_back(tmp_path: Path, store: Afterword) -> None:
    job = store.add_task_sync(work_site.work, "a", 60)
    with working(tmp_path, "--grace", "0.2") as worker:
        wait_noted(tmp_path, "start", "a")
        worker.signal(signal.SIGINT)

        assert 0 == worker.ends()
    given_back = record(store, job.id)
    assert (JobState.QUEUED, 0, 1) == (given_back.state, given_back.lost, given_back.interrupted)


def test_a_thread_that_goes_on_is_no_clean_drain(tmp_path: Path, store: Afterword) -> None:
    store.add_task_sync(work_site.work_in_thread, "a", 60)
    with working(tmp_path, "--grace", "0.2") as worker:
        wait_noted(tmp_path, "start", "a")
        worker.signal(signal.SIGTERM)

        assert 1 == worker.ends()


def test_a_second_interrupt_ends_at_once(tmp_path: Path, store: Afterword) -> None:
    store.add_task_sync(work_site.work, "a", 60)
    with working(tmp_path) as worker:
        wait_noted(tmp_path, "start", "a")
        worker.signal(signal.SIGINT)
        worker.wait_said("draining")
        worker.signal(signal.SIGINT)

        assert 130 == worker.ends()


def test_a_start_up_can_be_interrupted(tmp_path: Path) -> None:
    with commanding(tmp_path, "worker", TARGET, START="hang") as worker:
        wait_noted(tmp_path, "starting")
        worker.signal(signal.SIGTERM)

        assert 0 == worker.ends()
        assert noted(tmp_path, "not", "started")()


# ---------------------------------------------------------------------- several processes


def pids(worker: Command) -> list[int]:
    """Return the children that a supervisor has logged as started."""
    lines = [line for line in worker.said().splitlines() if " started pid=" in line]
    return [int(line.rpartition("=")[2]) for line in lines]


def test_a_killed_process_is_replaced_and_its_job_runs_again(
    tmp_path: Path, store: Afterword
) -> None:
    gate = tmp_path / "gate"
    job = store.add_task_sync(work_site.work_until, "a", str(gate))
    with working(tmp_path, "--processes", "2") as worker:
        worker.wait_said("started store=", 2)
        wait_noted(tmp_path, "start", "a")
        os.kill(int(ledger(tmp_path)[0][2]), signal.SIGKILL)
        gate.touch()
        done = wait_state(store, job.id, JobState.COMPLETED)
        worker.wait_said("started store=", 3)
        worker.signal(signal.SIGTERM)

        assert 0 == worker.ends()
        assert (2, 1) == (done.attempt, done.lost)
        assert 3 == len(pids(worker))
        assert "ended: SIGKILL" in worker.said()


def test_children_drain_when_their_parent_is_killed(tmp_path: Path, store: Afterword) -> None:
    gate = tmp_path / "gate"
    job = store.add_task_sync(work_site.work_until, "a", str(gate))
    with working(tmp_path, "--processes", "2") as worker:
        worker.wait_said("started store=", 2)
        wait_noted(tmp_path, "start", "a")
        worker.process.kill()
        worker.wait_said("draining", 2)
        gate.touch()
        wait_until(
            lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids(worker)),
            description=f"the children have ended; see {worker.log}",
        )

    assert record(store, job.id).state is JobState.COMPLETED
    assert [] == store.runtime.store.workers()


def test_ctrl_c_twice_kills_every_process(tmp_path: Path, store: Afterword) -> None:
    store.add_task_sync(work_site.work, "a", 60)
    with working(tmp_path, "--processes", "2") as worker:
        wait_noted(tmp_path, "start", "a")
        worker.signal(signal.SIGINT)
        worker.wait_said("SIGINT: the workers drain")
        worker.signal(signal.SIGINT)

        assert 130 == worker.ends()


def test_a_configuration_error_is_printed_once(tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    with commanding(tmp_path, "worker", "bare:app", "--processes", "2") as worker:
        assert 2 == worker.ends()
        assert 1 == worker.said().count("afterword: bare:app must have an Afterword")


def test_processes_that_hang_at_their_start_are_killed(tmp_path: Path) -> None:
    source = "import pathlib, time\npathlib.Path('hangs').touch()\ntime.sleep(600)\n"
    (tmp_path / "hangs_site.py").write_text(source)
    arguments = ("worker", "hangs_site:app", "--processes", "2", "--grace", "0.3")
    with commanding(tmp_path, *arguments) as worker:
        wait_until((tmp_path / "hangs").exists, description="it is being imported")
        worker.signal(signal.SIGTERM)

        assert 1 == worker.ends()
        assert "was still starting" in worker.said()


def test_a_change_of_the_source_restarts(tmp_path: Path, store: Afterword) -> None:
    source = tmp_path / "own_site.py"
    text = "from tests.work_site import app, note\n\n\ndef work() -> None:\n    note('old')\n"
    source.write_text(text)
    with commanding(tmp_path, "worker", "own_site:app", "--reload") as worker:
        worker.wait_said("started store=")
        source.write_text(text.replace("old", "new"))
        worker.wait_said("started store=", 2)
        store.runtime.group.run_blocking(_adding("own_site:work"))
        wait_noted(tmp_path, "new")
        worker.signal(signal.SIGINT)

        assert 0 == worker.ends()
        assert f"{source} has changed" in worker.said()


def _adding(task: str) -> Any:
    from afterword.client.operation import adding
    from afterword.model.job import NewJob, new_id

    return adding([NewJob(id=new_id(), task=task)], None)


# ---------------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere:app"], "no module 'nowhere'"),
        (["tests.work_site:work"], "it is a function"),
        ([], "No application was found"),
        ([TARGET, "--queues", "a b"], "A queue's name must be"),
        ([TARGET, "--queues", "a,a"], "each queue once"),
        ([TARGET, "--grace", "-1"], "--grace"),
        ([TARGET, "--concurrency", "0"], "--concurrency"),
        ([TARGET, "--processes", "0"], "--processes"),
        ([TARGET, "--log-level", "loud"], "--log-level"),
    ],
    ids=str,
)
def test_a_wrong_command_line_is_a_usage_error(
    tmp_path: Path,
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with opened(f"sqlite:///{tmp_path / 'jobs.db'}", tmp_path, capsys, monkeypatch) as shell:
        done = shell.run("worker", *arguments)

    assert 2 == done.code
    assert said in done.err


@pytest.mark.parametrize("processes", [[], ["--processes", "2"]], ids=["alone", "several"])
def test_a_wrong_command_line_leaves_no_traceback(tmp_path: Path, processes: list[str]) -> None:
    with commanding(tmp_path, "worker", "nowhere:app", *processes) as worker:
        assert 2 == worker.ends()
        assert "no module 'nowhere'" in worker.said()
        assert "Traceback" not in worker.said()


def test_a_start_up_that_fails_is_told(tmp_path: Path) -> None:
    with commanding(tmp_path, "worker", TARGET, START="fail") as worker:
        assert 1 == worker.ends()
        assert "The application's startup failed" in worker.said()
        assert "RuntimeError: no database" in worker.said()


def test_a_store_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_text("this is no database, but it is long enough to be read " * 20)
    with commanding(tmp_path, "worker", TARGET) as worker:
        assert 5 == worker.ends()
        assert "jobs.db" in worker.said()
        assert "Traceback" not in worker.said()


# ---------------------------------------------------------------------- dev


def test_dev_serves_and_works(tmp_path: Path, store: Afterword) -> None:
    port = free_port()
    with commanding(tmp_path, "dev", TARGET, "--no-reload", "--port", str(port)) as server:
        server.wait_said("Uvicorn running")
        job = httpx.post(f"http://127.0.0.1:{port}/work/a").json()
        wait_state(store, job, JobState.COMPLETED)
        server.signal(signal.SIGINT)

        assert 0 == server.ends()
        assert f"http://127.0.0.1:{port}" in server.said()
        assert "jobs are kept in sqlite:///" in server.said()


def test_dev_without_an_application_is_a_usage_error(tmp_path: Path) -> None:
    with commanding(tmp_path, "dev") as server:
        assert 2 == server.ends()
        assert "No application was found" in server.said()


def test_a_worker_sends_what_the_variables_of_opentelemetry_ask_for(
    tmp_path: Path, store: Afterword
) -> None:
    """The application has no code for it; it begins with the first job, and flushes at the end."""
    job = store.add_task_sync(work_site.work, "a")  # it waits when the worker starts
    environment = {"OTEL_TRACES_EXPORTER": "none,console", "OTEL_METRICS_EXPORTER": "console"}
    with working(tmp_path, **environment) as worker:
        wait_state(store, job.id, JobState.COMPLETED)
        worker.signal(signal.SIGTERM)

        assert 0 == worker.ends()
        assert "otel signal=metrics exporter=console" in worker.said()
        sent = worker.stdout.read_text()
    assert '"name": "process tests.work_site:work"' in sent
    assert '"name": "afterword.jobs"' in sent


def test_opentelemetry_that_cannot_be_set_up_stops_no_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "unknown")
    telemetry = Telemetry()
    telemetry.begin()
    telemetry.end(20.0)

    assert "otel_not_configured" in caplog.text
    assert "pip install" in caplog.text


def test_a_collector_that_does_not_answer_holds_up_no_end() -> None:
    """The process still ends, and the other signal is still sent."""
    telemetry, gate, sent = Telemetry(), threading.Event(), threading.Event()
    telemetry._ends = [lambda: gate.wait(60), sent.set]
    telemetry.end(0.1)

    assert sent.wait(20)
    assert not gate.is_set()
    gate.set()


def test_the_rest_of_opentelemetry_is_set_up_and_sent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One signal's exporter is missing."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "of_nobody")
    telemetry = Telemetry()
    telemetry.begin()
    is_set = listeners.want_spans()
    telemetry.end(20.0)

    assert is_set
    assert 1 == len(telemetry._ends)
    assert "otel_not_configured signal=metrics" in caplog.text
