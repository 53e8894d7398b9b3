"""Every example runs: in a test client with its lifespan, and some in a server that is killed."""

import asyncio
import importlib
import logging
import re
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import apsw
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MessageHandler
from aiosmtpd.smtp import SMTP, Envelope, Session
from starlette.testclient import TestClient

from afterword import Afterword, Job, JobRecord, JobState
from afterword.client.handle import ProgressRecord
from tests.helpers import ROOT, Server, free_port, running, wait_until

EXAMPLES = ROOT / "examples"
Load = Callable[[str], ModuleType]


@pytest.fixture
def store_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of the example's store; its other files go to the current folder, tmp_path."""
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    monkeypatch.setenv("AFTERWORD_URL", url)
    monkeypatch.chdir(tmp_path)
    return url


@pytest.fixture
def load(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Import an example again, under its own name, by which its jobs find functions."""

    def load(name: str) -> ModuleType:
        monkeypatch.delitem(sys.modules, f"examples.{name}", raising=False)
        return importlib.import_module(f"examples.{name}")

    return load


@contextmanager
def started(module: ModuleType) -> Iterator[TestClient]:
    """Run the example with its lifespan, which starts the worker."""
    with TestClient(module.app) as client:
        yield client


def lines(path: str) -> list[str]:
    """Return the lines that a task has written so far."""
    file = Path(path)
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def ended(client: TestClient, module: ModuleType, job_id: str) -> JobRecord:
    """Wait until a job has ended; returns its record, as the application sees it."""
    record = ended_in(client, module.afterword, job_id).record
    assert record is not None
    return record


def ended_in(client: TestClient, afterword: Afterword, job_id: str) -> Job[Any]:
    """Wait until a job has ended; returns it."""
    portal = client.portal
    assert portal is not None

    def look() -> Job[Any]:
        found: Job[Any] | None = portal.call(afterword.job, job_id)
        assert found is not None
        return found

    wait_until(lambda: look().state.final, description=f"{job_id} has ended")
    return look()


def record_in(url: str, job_id: str) -> JobRecord:
    """Return the job's record, as any other program on the machine sees it."""
    store = Afterword(url=url)
    try:
        found = asyncio.run(store.job(job_id))
    finally:
        store.close()
    assert found is not None
    assert found.record is not None
    return found.record


# ---------------------------------------------------------------------- one after the other


def test_log_line(load: Load) -> None:
    """The line is written, with the time of the visit."""
    with started(load("log_line")) as client:
        answer = client.post("/visits/ada").json()
        wait_until(lambda: lines("visits.log"), description="the line is written")

    assert {"message": "Welcome, ada"} == answer
    (line,) = lines("visits.log")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00 'ada'", line)


def test_tutorial(load: Load) -> None:
    """The cup is brewed; coffee fails; an unknown job is not found."""
    module = load("tutorial")
    with started(module) as client:
        tea = client.post("/cups/tea?seconds=0").json()
        coffee = client.post("/cups/coffee").json()
        error = [ended(client, module, each["job"]).error for each in (tea, coffee)][1]
        shown = [client.get(f"/jobs/{each['job']}").json() for each in (tea, coffee)]
        unknown = client.get("/jobs/00000000-0000-0000-0000-000000000000").status_code

    assert "Your tea is coming" == tea["message"]
    assert [{"state": "completed", "attempt": 1}, {"state": "failed", "attempt": 1}] == shown
    assert "ValueError: this is a teapot" == (error or "").splitlines()[-1]
    assert 404 == unknown
    assert ["tea is ready"] == lines("cups.log")


def test_several_tasks_run_in_order(load: Load) -> None:
    """`def` and `async def` tasks of one request keep their order."""
    with started(load("several_tasks")) as client:
        client.post("/orders?item=lamp").raise_for_status()
        wait_until(lambda: len(lines("orders.log")) == 3, description="all three have run")

    assert ["reserved lamp", "packed lamp", "announced lamp"] == lines("orders.log")


def test_several_tasks_stop_at_a_failure(load: Load) -> None:
    """The first fails, the others are cancelled, and their records say why."""
    module = load("several_tasks")
    with started(module) as client:
        ids = client.post("/orders?item=moon").json()
        error, reason, _ = [ended(client, module, each).error for each in ids]
        states = [client.get(f"/jobs/{each}").json() for each in ids]

    assert ["failed", "cancelled", "cancelled"] == states
    assert (error or "").endswith("LookupError: 'moon' is not in stock")
    assert "an earlier task of this request failed" == reason
    assert [] == lines("orders.log")


def test_task_from_dependency(load: Load) -> None:
    """The dependency's task comes first; a refused request leaves nothing."""
    with started(load("task_from_dependency")) as client:
        headers = {"X-User": "ada"}
        statuses = [
            client.delete("/documents/7", headers=headers).status_code,
            client.delete("/documents/1", headers=headers).status_code,
            client.delete("/documents/7").status_code,
        ]
        wait_until(lambda: len(lines("audit.log")) == 2, description="both lines")

    assert [202, 403, 422] == statuses
    assert ["ada may delete 7", "7 deleted"] == lines("audit.log")


def test_error_handling(load: Load, caplog: pytest.LogCaptureFixture) -> None:
    """The client sees 202 and a state, the record the traceback; a failed route leaves nothing."""
    caplog.set_level(logging.INFO)
    module = load("error_handling")
    with started(module) as client:
        statuses = [client.post("/refunds/0").status_code]
        answers = [client.post(f"/refunds/{order}") for order in (13, 14)]
        jobs = [answer.json()["job"] for answer in answers]
        error, _ = [ended(client, module, job).error or "" for job in jobs]
        failed, done = [client.get(f"/refunds/jobs/{job}").json() for job in jobs]
        statuses += [answer.status_code for answer in answers]

    assert [404, 202, 202] == statuses
    assert {"state": "failed", "message": "That did not work; we have been told"} == failed
    assert {"state": "completed", "message": "The money is on its way"} == done
    assert error.startswith("Traceback")
    assert error.endswith("RefundRefused: account closed")
    assert "refunded order=14" in caplog.text
    assert "refunded order=0" not in caplog.text


# ---------------------------------------------------------------------- with files and a database


def test_csv_upload(load: Load) -> None:
    """Rows are counted from a private file with a generated name, and nothing is left of it."""
    module = load("csv_upload")
    with started(module) as client:
        upload = {"file": ("../../evil.csv", b'name,age\n"Ada\nLovelace",36\nBob,7\n')}
        upload_id = client.post("/uploads", files=upload).json()["id"]
        wait_until(
            lambda: client.get(f"/uploads/{upload_id}").status_code == 200, description="counted"
        )
        result = client.get(f"/uploads/{upload_id}").json()
        spooled = Path("uploads", f"{upload_id}.csv")
        wait_until(lambda: not spooled.exists(), description="the clean-up, a task of its own")
        outside = client.get("/uploads/..%2F..%2Fevil").status_code

    assert {"rows": 2} == result
    assert 0o700 == Path("uploads").stat().st_mode & 0o777
    assert [f"{upload_id}.json"] == [file.name for file in Path("uploads").iterdir()]
    assert [] == list(Path().rglob("*evil*"))
    assert outside in {404, 422}


def test_csv_upload_cleans_up_after_a_failure(load: Load) -> None:
    """The count fails at a broken file, which is still removed: `on_failure="continue"`."""
    with started(load("csv_upload")) as client:
        upload_id = client.post("/uploads", files={"file": b"name\n\xff\xfe\n"}).json()["id"]
        spooled = Path("uploads", f"{upload_id}.csv")
        wait_until(lambda: not spooled.exists(), description="the clean-up")

    assert [] == list(Path("uploads").iterdir())


def test_csv_upload_keeps_nothing_of_a_refused_upload(load: Load) -> None:
    """An upload that is too large leaves neither a file nor a job."""
    module = load("csv_upload")
    module.LIMIT = 10  # type: ignore[attr-defined]
    with started(module) as client:
        status = client.post("/uploads", files={"file": b"name\n" + b"x\n" * 10}).status_code
        kept = list(Path("uploads").iterdir())

    assert 413 == status
    assert [] == kept


def test_csv_upload_keeps_nothing_when_its_jobs_cannot_be_stored(load: Load) -> None:
    """Another program locks the store: the client gets a 503, and the upload is deleted."""
    module = load("csv_upload")
    module.afterword.intake.store_timeout = 0.2  # the example does not set it
    with started(module) as client, closing(apsw.Connection("jobs.db")) as other:
        other.set_busy_timeout(10_000)
        other.execute("BEGIN IMMEDIATE")
        answer = client.post("/uploads", files={"file": b"name\nAda\n"})
        other.execute("ROLLBACK")
        kept = list(Path("uploads").iterdir())

    assert 503 == answer.status_code
    assert "1" == answer.headers["Retry-After"]
    assert "could not be stored" in answer.json()["detail"]
    assert [] == kept


def test_database(load: Load) -> None:
    """The task finds the row that the request has committed in its dependency's exit."""
    with started(load("database")) as client:
        article_id = client.post("/articles", json={"text": "one two three"}).json()["id"]
        wait_until(
            lambda: client.get(f"/articles/{article_id}").json()["words"] is not None,
            description="the words are counted",
        )
        words = client.get(f"/articles/{article_id}").json()["words"]
        unknown = client.get("/articles/99").status_code

    assert 3 == words
    assert 404 == unknown


def test_session_dependency(load: Load) -> None:
    """The session commits or rolls back as a whole; a receipt is for packed items only."""
    module = load("session_dependency")
    with started(module) as client:
        whole = client.post("/orders", json={"items": ["tea", "cake"]}).json()
        broken = client.post("/orders", json={"items": ["tea", "unicorn"]}).json()
        jobs = [ended(client, module, each["job"]) for each in (whole, broken)]
        shown = [client.get(f"/orders/{each['order']}").json() for each in (whole, broken)]
        wait_until(lambda: lines("receipts.log"), description="the receipt is written")
        unknown = client.get("/orders/99").status_code

    assert [JobState.COMPLETED, JobState.FAILED] == [job.state for job in jobs]
    assert [{"tea": True, "cake": True}, {"tea": False, "unicorn": False}] == shown
    assert ProgressRecord(2, 2) == ProgressRecord.read(jobs[0].progress)
    assert ProgressRecord(1, 2) == ProgressRecord.read(jobs[1].progress)
    assert ["order 1: 2 items"] == lines("receipts.log")
    assert 404 == unknown


def test_wireup_app(load: Load) -> None:
    """The services are made for the attempt; the scoped one gets the task's error."""
    module = load("wireup_app")
    with started(module) as client:
        jobs = [client.post(f"/greetings/{name}").json()["job"] for name in ("ada", "r2d2")]
        states = [ended_in(client, module.aw, job).state for job in jobs]

    assert [JobState.COMPLETED, JobState.FAILED] == states
    assert ["attempt 1: Dear Sir or Madam", "attempt 1: Hello ada"] == lines("greetings.log")


def test_transactional(load: Load) -> None:
    """An order comes with its job, and is billed once."""
    with started(load("transactional")) as client:
        order_id = client.post("/orders", json={"item": "tea"}).json()["id"]
        wait_until(
            lambda: client.get(f"/orders/{order_id}").json()["bills"],
            description="the order is billed",
        )
        bills = client.get(f"/orders/{order_id}").json()["bills"]
        unknown = client.get("/orders/99").status_code

    assert 1 == bills
    assert 404 == unknown


def test_progress(load: Load) -> None:
    """The client sees the number rise until the report is complete."""
    seen = []
    with started(load("progress")) as client:
        report = client.post("/reports?pages=10").json()["id"]

        def completed() -> bool:
            seen.append(client.get(f"/reports/{report}").json())
            return bool(seen[-1]["state"] == "completed")

        wait_until(completed, description="the report is complete")
        unknown = client.get("/reports/00000000-0000-0000-0000-000000000000").status_code

    done = [each["done"] for each in seen]
    assert {"state": "completed", "done": 10, "pages": 10} == seen[-1]
    assert sorted(done) == done
    assert len(set(done)) > 2
    assert 404 == unknown


def test_status(load: Load) -> None:
    """Ada follows her job to its result, Bob finds none; one job fails, and she cancels one."""
    ada, bob = ({"Authorization": f"Bearer {name}-s3cret"} for name in ("ada", "bob"))
    with started(load("status")) as client:

        def post(text: str, seconds: float) -> str:
            url = f"/counts?seconds_per_word={seconds}"
            answer = client.post(url, json={"text": text}, headers=ada)
            assert 202 == answer.status_code
            return str(answer.headers["Location"])

        def state(place: str) -> str:
            return str(client.get(place, headers=ada).json()["state"])

        job = post("to be or not to be", 0.01)
        wait_until(lambda: state(job) == "completed", description="the words are counted")
        result = client.get(f"{job}/result", headers=ada).json()
        failing, slow = post(" ", 0), post("a " * 600, 0.1)
        wait_until(lambda: state(failing) == "failed", description="no words")
        error = client.get(failing, headers=ada).json()["error"]["detail"]
        wait_until(lambda: state(slow) == "running", description="many words")
        refused = [client.delete(slow, headers=each).status_code for each in (bob, {})]
        cancelled = client.delete(slow, headers=ada).status_code
        wait_until(lambda: state(slow) == "cancelled", description="the task has looked")

    assert {"to": 2, "be": 2, "or": 1, "not": 1} == result
    assert "ValueError: there are no words in this text" == error
    assert 404 == refused[0]
    assert refused[1] in {401, 403}  # depends on FastAPI's release
    assert 202 == cancelled


def test_schedule(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """A draft is deleted; the report is scheduled, and added by hand."""
    monkeypatch.setenv("KEPT_FOR", "0.1")
    module = load("schedule")
    with started(module) as client:
        written = client.post("/drafts/poem").status_code
        job = client.post("/reports").json()["job"]
        reported = ended(client, module, job)
        wait_until(lambda: client.get("/drafts").json() == [], description="the draft is gone")
        planned = {each.name: each.rule for each in module.afterword.inquiries.store().schedules()}

    assert 201 == written
    assert JobState.COMPLETED is reported.state
    assert re.fullmatch(r"[01] drafts", lines("drafts.log")[0])
    assert {"examples.schedule.sweep", "morning-report"} == set(planned)
    assert "0 9 * * MON-FRI Europe/Berlin" == planned["morning-report"]


def test_cpu_work(load: Load) -> None:
    """A process computes while the server answers; cancelling kills another one."""
    module = load("cpu_work")
    with started(module) as client:
        jobs = [
            client.post(f"/primes?below={below}").json()["job"] for below in (100, 1_000_000_000)
        ]
        ended(client, module, jobs[0])
        counted = client.get(f"/primes/{jobs[0]}").json()
        wait_until(
            lambda: client.get(f"/primes/{jobs[1]}").json()["state"] == "running",
            description="it computes",
        )
        asked = client.delete(f"/primes/{jobs[1]}").json()
        stopped = ended(client, module, jobs[1])
        asked_again = client.delete(f"/primes/{jobs[1]}").json()

    assert {"state": "completed", "primes": 25} == counted
    assert [{"asked": True}, {"asked": False}] == [asked, asked_again]
    assert JobState.CANCELLED is stopped.state
    assert "the client lost interest" == stopped.error


def test_cancel_and_wait(load: Load) -> None:
    """One client waits for its file; another one cancels, and its file is removed."""
    with started(load("cancel_and_wait")) as client:
        short, long = (
            client.post(f"/renderings?frames={frames}").json()["job"] for frames in (2, 10_000)
        )
        waited = client.get(f"/renderings/{short}?wait=20").json()
        in_vain = client.get(f"/renderings/{long}?wait=0.1").json()
        wait_until(lambda: Path(f"renderings/{long}.part").exists(), description="it renders")
        asked = client.delete(f"/renderings/{long}").json()
        stopped = client.get(f"/renderings/{long}?wait=20").json()

    assert {"state": "completed", "file": f"{short}.txt"} == waited
    assert in_vain["state"] in {"queued", "running"}
    assert {"asked": True} == asked
    assert {"state": "cancelled", "file": None} == stopped
    assert [f"{short}.txt"] == [each.name for each in Path("renderings").iterdir()]


def test_temporary_file(load: Load) -> None:
    """The client gets the whole file; then it is deleted."""
    with started(load("temporary_file")) as client:
        answer = client.get("/exports?rows=1000")
        wait_until(lambda: not list(Path("exports").iterdir()), description="the file is deleted")

    rows = answer.text.splitlines()
    assert 'attachment; filename="squares.csv"' == answer.headers["content-disposition"]
    assert 1001 == len(rows)
    assert "999,998001" == rows[-1]


def test_plain_starlette(load: Load) -> None:
    """One task, and several in order, on a response."""
    module = load("plain_starlette")
    with started(module) as client:
        client.post("/subscribers/ada").raise_for_status()
        wait_until(lambda: lines("subscribers.log"), description="the greeting")
        client.delete("/subscribers/ada").raise_for_status()
        wait_until(lambda: len(lines("subscribers.log")) == 3, description="all three lines")

    assert ["hello 'ada'", "removed 'ada'", "good-bye 'ada'"] == lines("subscribers.log")


# ---------------------------------------------------------------------- with other services


class Mailbox(MessageHandler):
    """A mail server's mailbox; `refuse` lets it refuse mails."""

    def __init__(self) -> None:
        super().__init__()
        self.mails: list[Message] = []
        self.refuse = False

    async def handle_DATA(  # noqa: N802  # the server calls it by this name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        if self.refuse:
            return "554 no thank you"
        return await super().handle_DATA(server, session, envelope)

    def handle_message(self, message: Message) -> None:
        self.mails.append(message)


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    """A real SMTP server, with its address in the example's environment."""
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    monkeypatch.setenv("SMTP_HOST", controller.hostname)
    monkeypatch.setenv("SMTP_PORT", str(controller.port))
    controller.start()
    yield box
    controller.stop()


def test_mail(load: Load, mailbox: Mailbox) -> None:
    """The mail arrives, with the Message-ID that was made in the route."""
    with started(load("mail")) as client:
        form = {"address": "ada@example.org", "name": "Ada"}
        answer = client.post("/signups", json=form)
        smuggled = client.post("/signups", json={**form, "address": "a@b\r\nBcc: c@d"})
        wait_until(lambda: mailbox.mails, description="the mail is there")

    (mail,) = mailbox.mails
    assert [202, 422] == [answer.status_code, smuggled.status_code]
    assert ("ada@example.org", "Welcome") == (mail["To"], mail["Subject"])
    assert mail["Message-ID"].endswith("@example.org>")
    assert "Hello Ada" in str(mail.get_payload())


def test_mail_is_refused(load: Load, mailbox: Mailbox, caplog: pytest.LogCaptureFixture) -> None:
    """The mail server's answer is in the log, as the job's error."""
    mailbox.refuse = True
    with started(load("mail")) as client:
        answer = client.post("/signups", json={"address": "ada@example.org", "name": "Ada"})
        wait_until(lambda: "failed job=" in caplog.text, description="the job has failed")

    assert 202 == answer.status_code
    assert [] == mailbox.mails
    assert "554, b'no thank you'" in caplog.text


@dataclass
class Peer:
    """A real HTTP server that notes its requests.

    Args:
        meet: number of requests that must arrive before any is answered.
    """

    meet: threading.Barrier
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the server calls it by this name
                self.rfile.read(int(self.headers["Content-Length"]))
                peer.answer(self)

            def do_GET(self) -> None:
                peer.answer(self)

            def log_message(self, *args: Any) -> None:
                """Stay quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.block_on_close = False

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """200 and "42"; 500 for paths that begin with /south."""
        self.requests.append((handler.path, handler.headers.get("Idempotency-Key")))
        try:
            self.meet.wait(30)
        except threading.BrokenBarrierError:
            return  # the test is over
        handler.send_response(500 if handler.path.startswith("/south") else 200)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"42")


@contextmanager
def peer_for(requests: int) -> Iterator[Peer]:
    """A peer that answers this many requests together."""
    peer = Peer(threading.Barrier(requests))
    thread = threading.Thread(target=peer.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield peer
    finally:
        peer.meet.abort()
        peer.server.shutdown()
        peer.server.server_close()
        thread.join()


def test_webhook(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver is called with the key; its error fails the job."""
    with peer_for(1) as peer:
        monkeypatch.setenv("WEBHOOK_URL", f"{peer.url}/hook")
        module = load("webhook")
        with started(module) as client:
            payment = {"order": 7, "cents": 1250}
            job = client.post("/payments", json=payment).json()["job"]
            first = ended(client, module, job)
            module.WEBHOOK_URL = f"{peer.url}/south"  # type: ignore[attr-defined]
            job = client.post("/payments", json=payment).json()["job"]
            second = ended(client, module, job)

    assert ["/hook", "/south"] == [path for path, _ in peer.requests]
    assert all(key for _, key in peer.requests)
    assert [JobState.COMPLETED, JobState.FAILED] == [first.state, second.state]
    assert "500 Internal Server Error" in (second.error or "")


def test_concurrent_tasks(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer answers only when all three calls are there; the one that fails, fails alone."""
    with peer_for(3) as peer:
        monkeypatch.setenv("SUPPLIERS_URL", peer.url)
        module = load("concurrent_tasks")
        with started(module) as client:
            jobs = client.post("/inquiries/lamp").json()
            for job in jobs.values():
                ended(client, module, job)
            states = {name: client.get(f"/jobs/{job}").json() for name, job in jobs.items()}

    assert {"north": "completed", "south": "failed", "west": "completed"} == states
    offers = ["north offers lamp for 42", "west offers lamp for 42"]
    assert offers == sorted(lines("offers.log"))


@contextmanager
def carrier(*answers: tuple[int, dict[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """A real HTTP server that gives these answers, one after the other; its URL, and the keys."""
    left, keys = list(answers), list[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the server calls it by this name
            keys.append(self.headers["Idempotency-Key"])
            status, headers = left.pop(0)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": "2"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"42")

        def log_message(self, *args: Any) -> None:
            """Stay quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", keys
        finally:
            server.shutdown()
            thread.join()


def test_retries(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried again while it may work, with one key; not when the carrier says that it never will."""
    answers: list[tuple[int, dict[str, str]]] = [
        (503, {}),
        (429, {"Retry-After": "0"}),
        (200, {}),
        (410, {}),
        (404, {}),
    ]
    with carrier(*answers) as (url, keys):
        monkeypatch.setenv("CARRIER_URL", url)
        module = load("retries")
        with started(module) as client:
            jobs = []
            for parcel in (7, 8, 9):
                jobs.append(client.post(f"/parcels/{parcel}").json()["job"])
                ended(client, module, jobs[-1])
            sent, withdrawn, unknown = (client.get(f"/jobs/{job}").json() for job in jobs)

    assert {"state": "completed", "attempt": 3, "number": "42"} == sent
    assert {"state": "cancelled", "attempt": 1, "number": None} == withdrawn
    assert {"state": "failed", "attempt": 1, "number": None} == unknown
    assert [jobs[0]] * 3 + jobs[1:] == keys


# ---------------------------------------------------------------------- killed


def test_log_line_survives_a_kill(store_url: str, tmp_path: Path) -> None:
    """Killed right after the answer, wherever the job is by then: the line is written."""
    server = Server("examples.log_line:app", tmp_path)
    with running(server):
        with server.client() as client:
            client.post("/visits/ada").raise_for_status()
        server.kill()
        server.start()
        wait_until(lambda: lines("visits.log"), description="the line is written")

    assert {"'ada'"} == {line.split(" ")[1] for line in lines("visits.log")}


def test_csv_upload_survives_a_kill(store_url: str, tmp_path: Path) -> None:
    """Killed right after the answer: counted and cleaned up after, in this order, all the same."""
    server = Server("examples.csv_upload:app", tmp_path)
    with running(server):
        with server.client() as client:
            upload_id = client.post("/uploads", files={"file": b"name\nAda\n"}).json()["id"]
        server.kill()
        server.start()
        spooled = tmp_path / "uploads" / f"{upload_id}.csv"
        wait_until(lambda: not spooled.exists(), description="the clean-up")
        with server.client() as client:
            result = client.get(f"/uploads/{upload_id}").json()

    assert {"rows": 1} == result


def test_tutorial_survives_a_kill(store_url: str, tmp_path: Path) -> None:
    """As in the tutorial, the server is killed while the cup is brewed, which is then ready."""
    server = Server("examples.tutorial:app", tmp_path)
    with running(server):
        with server.client() as client:
            job = client.post("/cups/tea?seconds=1").json()["job"]
        server.kill()
        served_when_killed = lines("cups.log")
        server.start()
        with server.client() as client:
            wait_until(
                lambda: client.get(f"/jobs/{job}").json()["state"] == "completed",
                description="the tea is ready",
            )
            shown = client.get(f"/jobs/{job}").json()

    assert [] == served_when_killed
    assert ["tea is ready"] == lines("cups.log")
    assert {"state": "completed", "attempt": 2} == shown


def test_webhook_survives_a_kill(store_url: str, tmp_path: Path) -> None:
    """Killed in the middle of the call: the receiver is called again, with the same key."""
    with peer_for(2) as peer:
        server = Server(
            "examples.webhook:app", tmp_path, environment={"WEBHOOK_URL": f"{peer.url}/hook"}
        )
        with running(server):
            with server.client() as client:
                job = client.post("/payments", json={"order": 7, "cents": 1250}).json()["job"]
            wait_until(lambda: len(peer.requests) == 1, description="the first call")
            server.kill()
            server.start()
            wait_until(
                lambda: record_in(store_url, job).state is JobState.COMPLETED, description="again"
            )
            record = record_in(store_url, job)

    assert 2 == len(peer.requests)
    assert 1 == len(set(peer.requests))
    assert (2, 1) == (record.attempt, record.lost)


def test_progress_goes_on_after_a_kill(store_url: str, tmp_path: Path) -> None:
    """The second attempt begins where the first one was killed."""

    def done() -> int:
        with closing(sqlite3.connect(tmp_path / "reports.db")) as reports:
            return int(reports.execute("SELECT done FROM report").fetchone()[0])

    seen: list[dict[str, Any]] = []
    server = Server("examples.progress:app", tmp_path)
    with running(server):
        with server.client() as client:
            report = client.post("/reports?pages=60").json()["id"]
            wait_until(lambda: done() >= 20, description="a third is done")
        server.kill()
        done_when_killed = done()
        server.start()

        def completed() -> bool:
            seen.append(client.get(f"/reports/{report}").json())
            return bool(seen[-1]["state"] == "completed")

        with server.client() as client:
            wait_until(completed, description="the report is complete")

    assert {"state": "completed", "done": 60, "pages": 60} == seen[-1]
    assert done_when_killed < 60
    assert done_when_killed <= min(each["done"] for each in seen)


def test_several_modules(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks and a schedule of different modules run in the application of a factory."""
    for name in list(sys.modules):
        if name.startswith("examples.several_modules"):
            monkeypatch.delitem(sys.modules, name)
    main = importlib.import_module("examples.several_modules.main")
    with TestClient(main.create_app()) as client:
        job = client.post("/orders/1").json()["id"]
        wait_until(
            lambda: client.get(f"/orders/receipts/{job}").json() == {"state": "completed"},
            description="the receipt is written",
        )
        client.post("/reports")
        wait_until(lambda: Path("report.log").exists(), description="the report is written")
        planned = [each.task for each in main.afterword.inquiries.store().schedules()]

    assert "receipt for order 1\n" == Path("receipts.log").read_text()
    assert "1 receipts\n" == Path("report.log").read_text()
    assert ["examples.several_modules.reports:report"] == planned


# ---------------------------------------------------------------------- all of them


def test_every_example_is_listed_and_run() -> None:
    """README.md has a line for each file, and this file has a test for each."""
    names = {file.stem for file in EXAMPLES.glob("*.py")}
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| \[(\w+)\.py\]\(\1\.py\)", readme, re.MULTILINE))
    run = set(re.findall(r'load\("(\w+)"\)', Path(__file__).read_text(encoding="utf-8")))

    assert names == listed
    assert names == {*run, "celery_fleet"}  # which needs a broker: tests/fleets/test_example.py


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_every_example_says_how_to_run_it(file: Path) -> None:
    """The docstring has the command, and the file fits on two screens."""
    text = file.read_text(encoding="utf-8")

    assert f"uvicorn examples.{file.stem}:app" in text
    assert len(text.splitlines()) <= 110
