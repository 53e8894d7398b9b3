"""SIGTERM and other signals on real servers: draining begins at the signal."""

import asyncio
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterword import Afterword, JobRecord, JobState
from tests.at_work import at_work, wait_for
from tests.helpers import Server, is_gone, running, wait_until

APPLICATION = """
import asyncio
import os
import time
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from afterword import Afterword, task
from afterword.fastapi import BackgroundTasks

app = FastAPI()
afterword = Afterword(
    app, os.environ["STORE"], grace=float(os.environ.get("GRACE", "20")), order="concurrent",
    concurrency=8,
)


def note(*words):
    with open("ledger", "a") as ledger:
        ledger.write(" ".join(map(str, (os.getpid(), *words))) + "\\n")


async def work(name: str):
    note("start", name)
    while not Path("gate").exists():
        await asyncio.sleep(0.02)
    note("end", name)


def work_in_thread(name: str):
    note("start", name)
    while not Path("gate").exists():
        time.sleep(0.02)
    note("end", name)


@task(executor="process")
def work_in_process(name: str):
    work_in_thread(name)


WAYS = {"async": work, "thread": work_in_thread, "process": work_in_process}


@app.post("/work/{way}/{name}")
async def order(way: str, name: str, background_tasks: BackgroundTasks) -> str:
    return background_tasks.add_task(WAYS[way], name).id


@app.get("/stream")
async def stream():
    async def events():
        while True:
            yield "data: x\\n\\n"
            await asyncio.sleep(0.1)

    return StreamingResponse(events(), media_type="text/event-stream")
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the application."""
    (tmp_path / "draining_app.py").write_text(APPLICATION)
    return tmp_path


def a_server(folder: Path, url: str, **environment: str) -> Server:
    return Server("draining_app:app", folder, environment={"STORE": url, **environment})


def words(folder: Path) -> list[list[str]]:
    """Return the lines of the ledger: time, process, event, name."""
    file = folder / "ledger"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def has(folder: Path, event: str, name: str) -> bool:
    return any(line[1:] == [event, name] for line in words(folder))


def records(url: str) -> list[JobRecord]:
    """Return every job of the store, as another program sees it."""
    script = Afterword(None, url)
    try:
        return list(script.inquiries.store().find(limit=1_000))
    finally:
        script.close()


@pytest.fixture
def open_stream() -> Iterator[list[socket.socket]]:
    """A list of connections to close at the end."""
    streams: list[socket.socket] = []
    yield streams
    for each in streams:
        each.close()


def listen(server: Server) -> socket.socket:
    """Open an event stream that the client does not end."""
    stream = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    stream.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert stream.recv(64).startswith(b"HTTP/1.1 200")
    return stream


def signal_and_wait(server: Server, number: signal.Signals) -> None:
    """Send a signal that ends the server, and wait until it has been handled."""
    server.process.send_signal(number)
    wait_until(lambda: "Shutting down" in server.log.read_text(), description="it shuts down")


def test_nothing_starts_after_the_signal_though_a_stream_holds_the_server(
    site: Path, store_url: str, open_stream: list[socket.socket]
) -> None:
    """Running jobs may end, queued ones are left to others, and no row stays running."""
    server = a_server(site, store_url)
    with running(server), server.client() as client:
        for number in range(8):
            way = ("async", "thread", "process")[number % 3]
            client.post(f"/work/{way}/first{number}")
        wait_until(
            lambda: all(has(site, "start", f"first{number}") for number in range(8)),
            description="all slots work",
        )
        for number in range(40):
            client.post(f"/work/async/later{number}")
        open_stream.append(listen(server))
        signal_and_wait(server, signal.SIGTERM)
        (site / "gate").touch()
        wait_until(
            lambda: all(has(site, "end", f"first{number}") for number in range(8)),
            description="what ran has ended",
        )
        open_stream[0].close()
        status = server.process.wait(60)

    left = records(store_url)
    assert [] == [line for line in words(site) if line[2].startswith("later")]
    assert status in (0, -signal.SIGTERM)
    assert [] == [each for each in left if each.state is JobState.RUNNING]
    assert [] == [each for each in left if each.lost]
    done = {each.state for each in left if "first" in each.arguments}
    assert {JobState.COMPLETED} == done


def test_a_thread_that_does_not_end_is_run_again_once(site: Path, store_url: str) -> None:
    """The process ends after the grace time; the job is not lost, and runs as attempt 2."""
    with running(a_server(site, store_url, GRACE="0.5")) as server, server.client() as client:
        client.post("/work/thread/slow")
        wait_until(lambda: has(site, "start", "slow"), description="it works")
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
    (before,) = records(store_url)
    with running(a_server(site, store_url)):
        wait_until(
            lambda: sum(line[1:] == ["start", "slow"] for line in words(site)) == 2,
            description="it runs again",
        )
        (after,) = records(store_url)

    assert before.state in (JobState.RUNNING, JobState.QUEUED)
    assert (JobState.RUNNING, 2) == (after.state, after.attempt)


def test_a_second_ctrl_c_while_a_stream_is_open_fails_no_job(
    site: Path, store_url: str, open_stream: list[socket.socket]
) -> None:
    """asyncio then cancels all tasks; for a job this is a shutdown like any other."""
    with running(a_server(site, store_url)) as server, server.client() as client:
        client.post("/work/async/long")
        wait_until(lambda: has(site, "start", "long"), description="it works")
        open_stream.append(listen(server))
        signal_and_wait(server, signal.SIGINT)
        server.process.send_signal(signal.SIGINT)
        server.process.wait(60)
    (found,) = records(store_url)

    assert found.state in (JobState.QUEUED, JobState.RUNNING)
    assert 0 == found.failures


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)  # any: processes end alike
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL])
def test_no_child_process_outlives_its_worker(
    number: signal.Signals, site: Path, store_url: str
) -> None:
    with running(a_server(site, store_url)) as server, server.client() as client:
        client.post("/work/process/long")
        wait_until(lambda: has(site, "start", "long"), description="its process works")
        child = int(words(site)[0][0])
        server.process.send_signal(number)
        server.process.wait(60)
        wait_until(lambda: is_gone(child), description="the child is gone")

    assert child != server.process.pid


def test_a_second_ctrl_c_ends_the_server_and_loses_nothing(site: Path, store_url: str) -> None:
    with running(a_server(site, store_url, GRACE="5")) as server, server.client() as client:
        client.post("/work/async/long")
        client.post("/work/process/long-too")
        wait_until(lambda: len(words(site)) == 2, description="both work")
        children = {int(line[0]) for line in words(site)} - {server.process.pid}
        signal_and_wait(server, signal.SIGINT)
        server.process.send_signal(signal.SIGINT)
        server.process.wait(60)
        wait_until(lambda: all(map(is_gone, children)), description="no child is left")

    assert {1} == {each.attempt for each in records(store_url)}
    assert not {each.state for each in records(store_url)} & {JobState.FAILED, JobState.CANCELLED}


def test_the_handlers_that_were_there_are_called_and_put_back(tmp_path: Path) -> None:
    """Earlier handlers of the signal still get it."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    mine = signal.getsignal(signal.SIGTERM)
    try:
        asyncio.run(_be_signalled(tmp_path))
        after = signal.getsignal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert [signal.SIGTERM] == heard
    assert mine is after


async def _be_signalled(folder: Path) -> None:
    async with at_work(folder) as afterword:
        signal.raise_signal(signal.SIGTERM)
        worker = afterword.runtime.worker
        assert worker is not None
        await wait_for(lambda: worker._draining, description="nothing is claimed any more")
