"""The status API, and the 202 answers that lead to it, in real applications."""

import asyncio
import functools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import apsw
import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request, Response, Security
from fastapi.security import APIKeyHeader, SecurityScopes
from starlette.testclient import TestClient

from afterword import Afterword, Job, JobState
from afterword.errors import ConfigurationError
from afterword.fastapi import Accepted, BackgroundTasks
from afterword.model.job import new_id
from afterword.model.outcome import (
    Completed,
    Failed,
    HandedOver,
    Outcome,
    RetryAt,
    describe,
    truncate,
)
from afterword.request.job_status import MESSAGE_LIMIT, JobProgress, message_of
from afterword.store.opening import open_store
from afterword.store.protocol import Claim, Putback, Report, Settlement, Store
from tests.at_work import url_in
from tests.helpers import Server, running, wait_until

PROBLEM = "application/problem+json"
PROPERTIES = {
    *("id", "state", "attempt", "cancelling", "progress", "error", "waiting"),
    *("created_at", "run_at", "started_at", "finished_at"),
}


def double(number: int) -> int:
    """A task with a result."""
    return number * 2


def nothing(secret: str) -> None:
    """Return no result."""


def broken(secret: str) -> None:
    """Fail."""
    raise ValueError("no good\nand more of it")


@dataclass(slots=True)
class Api:
    """An application with the status API; the test acts as its worker."""

    client: TestClient
    afterword: Afterword
    worker: Store
    url: str

    def add(self, func: Callable[..., Any], *args: Any, **options: Any) -> str:
        """Store a job, and wait until its process releases it; returns its id."""
        job: Job[Any] = self.afterword.options(**options).add_task_sync(func, *args)
        wait_until(
            lambda: job.refresh_sync().state is JobState.QUEUED, description="the job is let go"
        )
        return job.id

    def claim(self) -> Claim:
        """Start the attempt that is due."""
        (claim,) = self.worker.claim("hand", ["default"], 1)
        return claim

    def settle(self, claim: Claim, outcome: Outcome) -> None:
        """End an attempt."""
        assert [True] == self.worker.settle([Settlement(claim, outcome)])

    def ended(self, outcome: Outcome, func: Callable[..., Any] = nothing) -> str:
        """Store a job that has ended with this outcome; returns its id."""
        job = self.add(func, "s3cret")
        self.settle(self.claim(), outcome)
        return job

    def get(self, path: str, **headers: str) -> Any:
        """Send a GET request; returns the JSON of the answer."""
        answer = self.client.get(path, headers=headers)
        assert 200 == answer.status_code, answer.text
        return answer.json()


@contextmanager
def serving(folder: Path, url: str = "", **options: Any) -> Iterator[Api]:
    """Serve an application in development, with a jobs router with these options."""
    url = url or url_in(folder)
    app = FastAPI(debug=True)
    afterword = Afterword(app, url, worker=False)
    app.include_router(afterword.jobs_router(**options))
    worker = open_store(url)
    with TestClient(app) as client:
        worker.open()
        worker.join("hand", 3600)
        yield Api(client, afterword, worker, url)
        worker.close()


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with serving(tmp_path) as api:
        yield api


def problem_of(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Return status, type and state, and check the media type and the repeated status."""
    problem = answer.json()
    assert PROBLEM == answer.headers["Content-Type"]
    assert answer.status_code == problem["status"]
    assert problem["title"]
    return answer.status_code, problem["type"].removeprefix("urn:afterword:"), problem.get("state")


# ---------------------------------------------------------------------- how a job is


def test_a_queued_job(api: Api) -> None:
    answer = api.client.get(f"/jobs/{api.add(nothing, 's3cret')}")

    status = answer.json()
    assert 200 == answer.status_code
    assert PROPERTIES == set(status)
    assert ("queued", 0, False) == (status["state"], status["attempt"], status["cancelling"])
    assert status["created_at"] == status["run_at"]
    unset = ("progress", "error", "waiting", "started_at", "finished_at")
    assert {None} == {status[name] for name in unset}
    assert "1" == answer.headers["Retry-After"]
    assert "private, no-cache" == answer.headers["Cache-Control"]


def test_a_job_that_no_worker_could_run(api: Api) -> None:
    """The status shows since when; the reason names functions, so it is hidden by default."""
    job = api.add(nothing, "s3cret")
    api.worker.release([Putback(api.claim(), reason="No function is called 'app:s3cret'.")])

    waiting = api.get(f"/jobs/{job}")["waiting"]

    assert "No worker could run it so far." == waiting["reason"]
    assert datetime.fromisoformat(waiting["since"]) <= datetime.now(UTC)


def test_the_whole_reason_is_shown_if_errors_are(tmp_path: Path) -> None:
    with serving(tmp_path, show_errors="full") as api:
        job = api.add(nothing, "s3cret")
        api.worker.release([Putback(api.claim(), reason="No function is called 'app:nope'.")])

        assert "No function is called 'app:nope'." == api.get(f"/jobs/{job}")["waiting"]["reason"]


def test_a_scheduled_job(api: Api) -> None:
    """It is queued, and `run_at` is its time."""
    status = api.get(f"/jobs/{api.add(nothing, 'later', delay=3600)}")

    assert "queued" == status["state"]
    assert status["created_at"] < status["run_at"]


def test_a_running_job_and_its_progress(api: Api) -> None:
    job = api.add(double, 4)
    claim = api.claim()
    api.worker.report([Report(claim, '{"current":3,"total":12,"message":"page 3"}')])
    status = api.get(f"/jobs/{job}")

    assert ("running", 1) == (status["state"], status["attempt"])
    assert {"current": 3, "total": 12, "message": "page 3", "ratio": 0.25} == status["progress"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"current":3}', {"current": 3, "total": None, "message": "", "ratio": None}),
        ('{"current":9,"total":3}', {"current": 9, "total": 3, "message": "", "ratio": 1}),
        ('{"message":"\\ud800"}', {"current": 0, "total": None, "message": "?", "ratio": None}),
        ('{"current":"many"}', None),
        ('{"message":5}', None),
        ('{"current":[],"total":1}', None),
        ("[]", None),
    ],
)
def test_progress_as_it_is_stored(api: Api, text: str, shown: object) -> None:
    """Invalid progress is not shown; the rest of the status is."""
    job = api.add(double, 4)
    api.worker.report([Report(api.claim(), text)])
    status = api.get(f"/jobs/{job}")

    assert "running" == status["state"]
    assert shown == status["progress"]


def test_a_retrying_job(api: Api) -> None:
    """The error of an attempt is not the job's error while the job may still complete."""
    job = api.add(nothing, "s3cret")
    api.settle(api.claim(), RetryAt(3600.0, "ValueError: not yet"))
    status = api.get(f"/jobs/{job}")

    assert ("queued", 1, None) == (status["state"], status["attempt"], status["error"])


def test_a_completed_job(api: Api) -> None:
    answer = api.client.get(f"/jobs/{api.ended(Completed('8'))}")

    status = answer.json()
    assert ("completed", 1, None) == (status["state"], status["attempt"], status["error"])
    assert status["created_at"] <= status["started_at"] <= status["finished_at"]
    assert "Retry-After" not in answer.headers


def test_a_job_that_was_handed_over_has_no_result_here(api: Api) -> None:
    job = api.ended(HandedOver())

    status, result = (api.client.get(f"/jobs/{job}{path}") for path in ("", "/result"))

    assert ("handed_over", None) == (status.json()["state"], status.json()["error"])
    assert "Retry-After" not in status.headers
    assert (410, "urn:afterword:job-handed-over") == (result.status_code, result.json()["type"])
    assert 409 == api.client.delete(f"/jobs/{job}").status_code


@pytest.mark.parametrize("state", [*JobState])
def test_arguments_and_names_are_never_shown(api: Api, state: JobState) -> None:
    job = api.add(broken, "s3cret", tags=["customer:s3cret"], unique="s3cret")
    if state is JobState.CANCELLED:
        api.client.delete(f"/jobs/{job}")
    elif state is not JobState.QUEUED:
        claim = api.claim()
        outcomes: dict[JobState, Outcome] = {
            JobState.COMPLETED: Completed(),
            JobState.HANDED_OVER: HandedOver(),
            JobState.FAILED: Failed("ValueError: no"),
        }
        if state in outcomes:
            api.settle(claim, outcomes[state])
    text = api.client.get(f"/jobs/{job}").text

    assert state == json.loads(text)["state"]
    assert "s3cret" not in text
    assert "broken" not in text


@pytest.mark.parametrize("upper", [False, True])
def test_ids_are_the_same_in_capitals(api: Api, upper: bool) -> None:
    """RFC 9562 requires that both are read."""
    job = api.add(nothing, "s3cret")

    assert job == api.get(f"/jobs/{job.upper() if upper else job}")["id"]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    "job",
    [
        "01a20cc7-21f3-79f0-a9c7-5a6642be4599",
        "1",
        "report",
        "%00",
        "%ff",
        "٣" * 8 + "-1111-1111-1111-111111111111",
        "{01a20cc7-21f3-79f0-a9c7-5a6642be4599}",
        "'; DROP TABLE afterword_jobs; --",
        "x" * 5000,
    ],
)
def test_what_is_no_job(api: Api, method: str, job: str) -> None:
    """Unknown, malformed and hostile ids are not found, as problem details."""
    answer = api.client.request(method, f"/jobs/{job}")
    result = api.client.get(f"/jobs/{job}/result")

    assert (404, "unknown-job", None) == problem_of(answer) == problem_of(result)


# ---------------------------------------------------------------------- why a job failed

TRACEBACK = """Traceback (most recent call last):
  File "/srv/app/tasks.py", line 7, in work
    charge(card="s3cret")
    ^^^^^^^^^^^^^^^^^^^^^
app.errors.Refused: the card was refused
by the bank"""


@pytest.mark.parametrize(
    ("show_errors", "detail"),
    [("message", "app.errors.Refused: the card was refused"), ("full", TRACEBACK), (None, None)],
)
def test_a_failed_job(tmp_path: Path, show_errors: Any, detail: str | None) -> None:
    """The error is shown as `show_errors` allows; the same in its status and its result."""
    with serving(tmp_path, show_errors=show_errors) as api:
        job = api.ended(Failed(TRACEBACK))
        status = api.get(f"/jobs/{job}")
        result = api.client.get(f"/jobs/{job}/result")

    assert "failed" == status["state"]
    assert (410, "job-failed", "failed") == problem_of(result)
    assert detail == status["error"]["detail"] == result.json().get("detail")
    assert {**status["error"], "detail": ""} == {**result.json(), "detail": ""}


def test_a_cancelled_job(api: Api) -> None:
    job = api.add(nothing, "s3cret")
    api.worker.cancel([job], "the customer has left")
    status = api.get(f"/jobs/{job}")
    result = api.client.get(f"/jobs/{job}/result")

    assert (410, "job-cancelled", "cancelled") == problem_of(result)
    assert "the customer has left" == result.json()["detail"] == status["error"]["detail"]


def _raised(error: BaseException, cause: BaseException | None = None) -> str:
    try:
        raise error from cause
    except BaseException as raised:
        return describe(raised)


def _noted(error: Exception) -> Exception:
    error.add_note("a note: s3cret")
    return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (_raised(ValueError("no")), "ValueError: no"),
        (_raised(ValueError("no\nand more")), "ValueError: no"),
        (_raised(KeyError()), "KeyError"),
        (_raised(_noted(ValueError("no"))), "ValueError: no"),
        (_raised(ValueError("no"), OSError("s3cret")), "ValueError: no"),
        (
            _raised(ExceptionGroup("some", [ValueError("s3cret")])),
            "ExceptionGroup: some (1 sub-exception)",
        ),
        (truncate(_raised(ValueError("no"), OSError("s3cret " * 90)), 200), "ValueError: no"),
        (truncate(_raised(ValueError("no" + "\nx" * 900)), 400), "ValueError: no"),
        (truncate(_raised(ValueError("no" + "\n  x" * 900)), 400), "x"),
        ("its worker was lost 3 times", "its worker was lost 3 times"),
        ("x" * 900, "x" * MESSAGE_LIMIT),
        ("", ""),
    ],
)
def test_the_message_of_an_error(error: str, message: str) -> None:
    """It is the exception's own first line: no frame, no cause, no note."""
    assert message == message_of(error)


# ---------------------------------------------------------------------- results


@pytest.mark.parametrize("text", ["8", '{"rows": 2}', '"ünï"', "[1.50, null]", "null"])
def test_a_result_is_shown_as_json(api: Api, text: str) -> None:
    answer = api.client.get(f"/jobs/{api.ended(Completed(text))}/result")

    assert (200, "application/json") == (answer.status_code, answer.headers["Content-Type"])
    assert json.loads(text) == answer.json()


def test_a_job_without_a_result(api: Api) -> None:
    """The result is null, like `job.result`, which is None."""
    assert api.get(f"/jobs/{api.ended(Completed())}/result") is None


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_result_that_is_not_there_yet(tmp_path: Path, state: str) -> None:
    """It is a conflict with the job's state, which will pass."""
    with serving(tmp_path, retry_after=7) as api:
        job = api.add(nothing, "s3cret")
        if state == "running":
            api.claim()
        answer = api.client.get(f"/jobs/{job}/result")

    assert (409, "job-not-ended", state) == problem_of(answer)
    assert "7" == answer.headers["Retry-After"]


# ---------------------------------------------------------------------- cancelling


def test_a_queued_job_is_cancelled_at_once(api: Api) -> None:
    job = api.add(nothing, "s3cret")
    answer = api.client.delete(f"/jobs/{job}")

    assert (200, "cancelled") == (answer.status_code, answer.json()["state"])
    assert "cancelled on request" == answer.json()["error"]["detail"]
    assert answer.json() == api.get(f"/jobs/{job}")
    assert [("", "API", "cancel", job)] == audited(api)


def audited(api: Api) -> list[tuple[str, str, str, str]]:
    """Return the actors of cancellations, and their jobs, from the audit."""
    found = api.worker.audit()
    return [(each.name, each.place, each.action, each.target) for each in found]


class Customer:
    """A user, as an application represents one."""

    username = "ada"


class Broken:
    """A user whose name raises."""

    @property
    def display_name(self) -> str:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("user", "name"),
    [(Customer(), "ada"), (Broken(), ""), ("a-token", ""), (True, "")],
    ids=["user", "broken", "text", "bool"],
)
def test_the_user_whom_authorize_returns_is_in_the_audit(
    tmp_path: Path, user: object, name: str
) -> None:
    with serving(tmp_path, authorize=lambda: user) as api:
        job = api.add(nothing, "s3cret")
        api.client.delete(f"/jobs/{job}")

        assert [(name, "API", "cancel", job)] == audited(api)


def test_a_running_job_is_asked_to_end(api: Api) -> None:
    job = api.add(nothing, "s3cret")
    claim = api.claim()
    answer = api.client.delete(f"/jobs/{job}")

    assert (202, "running", True) == (
        answer.status_code,
        answer.json()["state"],
        answer.json()["cancelling"],
    )
    assert "1" == answer.headers["Retry-After"]
    assert [claim.id] == [each.id for each in api.worker.cancelling("hand")]


@pytest.mark.parametrize(
    ("outcome", "state"), [(Completed(), "completed"), (Failed("ValueError: no"), "failed")]
)
def test_what_has_ended_cannot_be_cancelled(api: Api, outcome: Outcome, state: str) -> None:
    answer = api.client.delete(f"/jobs/{api.ended(outcome)}")

    assert (409, "job-ended", state) == problem_of(answer)


def test_cancelling_twice(api: Api) -> None:
    job = api.add(nothing, "s3cret")
    first, second = (api.client.delete(f"/jobs/{job}") for _ in range(2))

    assert 200 == first.status_code
    assert (409, "job-ended", "cancelled") == problem_of(second)


# ---------------------------------------------------------------------- asking often


def test_asking_again_is_cheap(api: Api) -> None:
    """While nothing has changed, the answer is empty."""
    job = api.add(double, 4)
    tag = api.client.get(f"/jobs/{job}").headers["ETag"]
    unchanged = api.client.get(f"/jobs/{job}", headers={"If-None-Match": f'"x", W/{tag}'})
    api.worker.report([Report(api.claim(), '{"current":1}')])
    changed = api.client.get(f"/jobs/{job}", headers={"If-None-Match": tag})

    assert (304, b"", tag) == (unchanged.status_code, unchanged.content, unchanged.headers["ETag"])
    assert "1" == unchanged.headers["Retry-After"]
    assert (200, "running") == (changed.status_code, changed.json()["state"])
    assert tag != changed.headers["ETag"]


def test_any_state_is_known_to_a_star(api: Api) -> None:
    job = api.add(double, 4)

    assert 304 == api.client.get(f"/jobs/{job}", headers={"If-None-Match": "*"}).status_code


# ---------------------------------------------------------------------- who may ask


def in_thread(x_key: Annotated[str, Header()]) -> None:
    """Check access in a `def` dependency that needs a header."""
    if x_key != "s3same":
        raise HTTPException(401, "who are you?")


async def on_loop(request: Request, job_id: str) -> str:
    """Check access in an `async def` dependency that needs the request and the job's id."""
    if request.headers.get("X-Key") != "s3same":
        raise HTTPException(401, f"not {job_id}")
    return "who it is"


async def says_no(request: Request) -> bool:
    """Return False instead of raising."""
    return request.headers.get("X-Key") == "s3same"


async def needs_another(user: Annotated[str, Depends(on_loop)]) -> str:
    """Check access with another dependency."""
    return user


def with_scopes(
    scopes: SecurityScopes, key: Annotated[str, Security(APIKeyHeader(name="X-Key"))]
) -> None:
    """Check access for `Security`."""
    if [key, *scopes.scopes] != ["s3same", "jobs"]:
        raise HTTPException(401, "no key")


AUTHORIZE = [in_thread, on_loop, says_no, needs_another, Security(with_scopes, scopes=["jobs"])]


@pytest.mark.parametrize("authorize", AUTHORIZE)
def test_every_route_asks_authorize(tmp_path: Path, authorize: Any) -> None:
    """A refused client learns nothing, and changes nothing."""
    with serving(tmp_path, authorize=authorize) as api:
        job = api.add(nothing, "s3cret")
        refused = [
            api.client.request(method, f"/jobs/{each}{path}", headers={"X-Key": "wrong"})
            for each in (job, new_id())
            for method, path in (("GET", ""), ("GET", "/result"), ("DELETE", ""))
        ]
        status = api.get(f"/jobs/{job}", **{"X-Key": "s3same"})

    assert {answer.status_code for answer in refused} in ({401}, {403})
    assert "queued" == status["state"]


class Check:
    """A dependency that is an object, with an `async def` inside."""

    async def __call__(self, x_key: Annotated[str, Header()]) -> bool:
        return x_key == "s3same"


async def is_right(key: str) -> bool:
    return key == "s3same"


def unawaited(x_key: Annotated[str, Header()]) -> Any:
    """Return a coroutine that is not awaited."""
    return is_right(x_key)


async def unawaited_twice(x_key: Annotated[str, Header()]) -> Any:
    return asyncio.ensure_future(is_right(x_key))


def yielding(x_key: Annotated[str, Header()]) -> Iterator[bool]:
    """Yield: a dependency that ends with its request."""
    yield x_key == "s3same"


NEVER_RUN = "authorize must raise HTTPException or return False"


@pytest.mark.parametrize(
    "authorize",
    [
        unawaited,
        unawaited_twice,
        yielding,
        Check(),
        functools.partial(unawaited),
        Depends(unawaited),
        lambda x_key=Header(): is_right(x_key),
    ],
)
def test_what_can_be_awaited_is_awaited_before_it_is_judged(tmp_path: Path, authorize: Any) -> None:
    with serving(tmp_path, authorize=authorize) as api:
        job = api.add(nothing, "s3cret")
        refused, granted = (
            api.client.get(f"/jobs/{job}", headers={"X-Key": key}).status_code
            for key in ("wrong", "s3same")
        )

    assert (403, 200) == (refused, granted)


@pytest.mark.parametrize(
    "answer",
    [None, True, "user", 0, "", {}, [], object()],
    ids=lambda each: f"{type(each).__name__}-{each!s:.4}",
)
def test_whatever_is_not_false_grants(tmp_path: Path, answer: object) -> None:
    """As in FastAPI, a dependency that returns a user grants access."""
    with serving(tmp_path, authorize=lambda: answer) as api:
        job = api.add(nothing, "")

        assert 200 == api.client.get(f"/jobs/{job}").status_code


def test_an_exception_that_is_returned_refuses_as_if_it_were_raised(tmp_path: Path) -> None:
    with serving(tmp_path, authorize=lambda: HTTPException(401)) as api:
        job = api.add(nothing, "")

        assert 401 == api.client.get(f"/jobs/{job}").status_code


@pytest.mark.parametrize(
    "answer", [Response(status_code=401), is_right, Check().__call__, (each for each in "x")]
)
def test_what_is_no_answer_refuses_and_is_told(tmp_path: Path, answer: object) -> None:
    with serving(tmp_path, authorize=lambda: answer) as api:
        job = api.add(nothing, "")

        with pytest.raises(ConfigurationError, match=NEVER_RUN):
            api.client.get(f"/jobs/{job}")


def test_authorize_is_in_the_documentation(tmp_path: Path) -> None:
    """A security scheme of a dependency is in the API's documentation."""
    with serving(tmp_path, authorize=AUTHORIZE[-1]) as api:
        document = api.get("/openapi.json")

    assert {"APIKeyHeader"} == set(document["components"]["securitySchemes"])
    security = document["paths"]["/jobs/{job_id}"]["delete"]["security"]
    assert [{"APIKeyHeader"}] == [set(each) for each in security]


@pytest.mark.parametrize("authorize", [True, "me", 5])
def test_authorize_must_be_a_dependency(tmp_path: Path, authorize: Any) -> None:
    afterword = Afterword(FastAPI(), f"sqlite:///{tmp_path / 'jobs.db'}")

    with pytest.raises(ConfigurationError, match="authorize must be a dependency"):
        afterword.jobs_router(authorize=authorize)


def test_without_authorize_it_refuses(tmp_path: Path) -> None:
    """The message has the reason, and both ways out."""
    afterword = Afterword(FastAPI(), f"sqlite:///{tmp_path / 'jobs.db'}")

    with pytest.raises(ConfigurationError, match="cancel them") as caught:
        afterword.jobs_router()
    assert "authorize=current_user" in str(caught.value)
    assert "AFTERWORD_DEV=1" in str(caught.value)


def test_a_script_has_no_application_to_be_in_development(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="authorize"):
        Afterword(url=f"sqlite:///{tmp_path / 'jobs.db'}").jobs_router()


@pytest.mark.parametrize(("value", "allowed"), [("1", True), ("0", False), ("", False)])
def test_the_environment_can_say_that_it_is_development(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, allowed: bool
) -> None:
    monkeypatch.setenv("AFTERWORD_DEV", value)
    afterword = Afterword(FastAPI(), f"sqlite:///{tmp_path / 'jobs.db'}")
    try:
        afterword.jobs_router()
    except ConfigurationError:
        opened = False
    else:
        opened = True

    assert allowed == opened


@pytest.mark.parametrize(
    "options", [{"show_errors": "all"}, {"retry_after": -1}, {"retry_after": 1.5}]
)
def test_options_are_checked(tmp_path: Path, options: Any) -> None:
    afterword = Afterword(FastAPI(debug=True), f"sqlite:///{tmp_path / 'jobs.db'}")

    with pytest.raises(ConfigurationError, match=next(iter(options))):
        afterword.jobs_router(**options)


# ---------------------------------------------------------------------- the documentation


def test_the_openapi_document(api: Api) -> None:
    document = api.get("/openapi.json")
    operations = {
        f"{method} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }

    assert {
        "get /jobs/{job_id}": "get_job",
        "get /jobs/{job_id}/result": "get_job_result",
        "delete /jobs/{job_id}": "cancel_job",
    } == {route: operation["operationId"] for route, operation in operations.items()}
    assert {("jobs",)} == {tuple(operation["tags"]) for operation in operations.values()}
    assert {
        "get_job": {"200", "304", "404", "503"},
        "get_job_result": {"200", "404", "409", "410", "503"},
        "cancel_job": {"200", "202", "404", "409", "503"},
    } == {each["operationId"]: set(each["responses"]) - {"422"} for each in operations.values()}


def test_every_reference_in_the_document_leads_somewhere(api: Api) -> None:
    """Every property of the models has a description, too."""
    document = api.get("/openapi.json")
    schemas = document["components"]["schemas"]
    ours = [schemas[name] for name in ("JobStatus", "JobProgress", "JobProblem")]
    references = {
        each.split('"')[0] for each in json.dumps(document).split("#/components/schemas/")[1:]
    }

    assert references <= set(schemas)
    assert all(each.get("description") for model in ours for each in model["properties"].values())
    problem = document["paths"]["/jobs/{job_id}"]["get"]["responses"]["404"]["content"]
    assert {PROBLEM: {"schema": {"$ref": "#/components/schemas/JobProblem"}}} == problem


def test_it_can_be_elsewhere_and_left_out_of_the_document(tmp_path: Path) -> None:
    with serving(tmp_path, prefix="/work", include_in_schema=False) as api:
        job = api.add(nothing, "s3cret")

        assert "queued" == api.get(f"/work/{job}")["state"]
        assert {} == api.get("/openapi.json")["paths"]


def test_tags_are_the_users_choice(tmp_path: Path) -> None:
    with serving(tmp_path, tags=["work"]) as api:
        document = api.get("/openapi.json")

    assert ["work"] == document["paths"]["/jobs/{job_id}"]["get"]["tags"]


# ---------------------------------------------------------------------- a store that is away


def test_a_store_that_is_busy(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another transaction holds a lock: problem details, with a time for the next try."""
    monkeypatch.setattr("afterword.store.sqlite.drivers.BUSY_TIMEOUT", 0.05)
    job = api.add(nothing, "s3cret")
    with closing(apsw.Connection(str(tmp_path / "jobs.db"))) as other:
        other.set_busy_timeout(60_000)
        other.execute("BEGIN IMMEDIATE")
        answer = api.client.delete(f"/jobs/{job}")
        other.execute("ROLLBACK")
        again = api.client.delete(f"/jobs/{job}")

    assert (503, "unavailable", None) == problem_of(answer)
    assert "1" == answer.headers["Retry-After"]
    assert 200 == again.status_code


# ---------------------------------------------------------------------- Accepted


@dataclass(slots=True)
class Site:
    """An application that answers with Accepted; its worker runs the jobs."""

    app: FastAPI
    afterword: Afterword


def site(folder: Path, *, router: bool = True, **options: Any) -> Site:
    """Routes that add jobs, on a router and on the application."""
    app = FastAPI(debug=True)
    afterword = Afterword(app, url_in(folder), **options)
    if router:
        app.include_router(afterword.jobs_router(), prefix="/v1")
    app.include_router(_routes())
    return Site(app, afterword)


def _routes() -> APIRouter:
    router = APIRouter()

    @router.post("/double/{number}", status_code=202, responses=Accepted.responses)
    async def add(number: int, background_tasks: BackgroundTasks) -> Accepted:
        return Accepted(background_tasks.add_task(double, number))

    @router.post("/unique/{key}", status_code=202)
    def add_unique(key: str, background_tasks: BackgroundTasks) -> Accepted:
        return Accepted(background_tasks.options(unique=key, delay=60).add_task(double, 1))

    @router.post("/elsewhere", status_code=202)
    async def elsewhere(background_tasks: BackgroundTasks) -> Accepted:
        job = background_tasks.add_task(double, 1)
        headers = {"X-Mine": "kept"}
        return Accepted(job, location="/größe/{id}?a=1", retry_after=9, headers=headers)

    @router.post("/here", status_code=202)
    async def here(background_tasks: BackgroundTasks) -> Accepted:
        return Accepted(background_tasks.add_task(lambda: None))

    return router


def test_accepted(tmp_path: Path) -> None:
    """The answer is 202 with the job and its `Location`, which works."""
    made = site(tmp_path)
    with TestClient(made.app) as client:
        answer = client.post("/double/4")
        location = answer.headers["Location"]
        wait_until(
            lambda: client.get(location).json()["state"] == "completed", description="the result"
        )
        result = client.get(f"{location}/result").json()

    assert 202 == answer.status_code
    assert {"id": location.rpartition("/")[2], "state": "queued"} == answer.json()
    assert f"/v1/jobs/{answer.json()['id']}" == location
    assert "1" == answer.headers["Retry-After"]
    assert len(answer.content) == int(answer.headers["Content-Length"])
    assert 8 == result


def test_accepted_in_the_openapi_document(tmp_path: Path) -> None:
    with TestClient(site(tmp_path).app) as client:
        document = client.get("/openapi.json").json()

    documented = document["paths"]["/double/{number}"]["post"]["responses"]["202"]
    assert {"Location", "Retry-After"} == set(documented["headers"])
    schema = documented["content"]["application/json"]["schema"]
    assert {"$ref": "#/components/schemas/AcceptedJob"} == schema


def test_a_place_of_ones_own(tmp_path: Path) -> None:
    with TestClient(site(tmp_path, router=False).app) as client:
        answer = client.post("/elsewhere")

    assert f"/gr%C3%B6%C3%9Fe/{answer.json()['id']}?a=1" == answer.headers["Location"]
    assert ("9", "kept") == (answer.headers["Retry-After"], answer.headers["X-Mine"])


def test_without_a_router_there_is_no_place(tmp_path: Path) -> None:
    with TestClient(site(tmp_path, router=False).app) as client:
        answer = client.post("/double/4")

    assert 202 == answer.status_code
    assert "Location" not in answer.headers


def test_what_runs_in_its_request_cannot_be_looked_at(tmp_path: Path) -> None:
    """A lambda is not stored."""
    with TestClient(site(tmp_path).app) as client:
        answer = client.post("/here")

    assert 202 == answer.status_code
    assert "Location" not in answer.headers


def test_an_application_that_has_not_been_started(tmp_path: Path) -> None:
    """With a bare test client the task runs in its request, so there is no status."""
    answer = TestClient(site(tmp_path).app).post("/double/4")

    assert 202 == answer.status_code
    assert "Location" not in answer.headers


@pytest.mark.parametrize("root_path", ["", "/api", "/api/"])
def test_behind_a_proxy(tmp_path: Path, root_path: str) -> None:
    """The `Location` is the client's view."""
    with TestClient(site(tmp_path).app, root_path=root_path) as client:
        answer = client.post("/double/4")

    assert f"{root_path.rstrip('/')}/v1/jobs/{answer.json()['id']}" == answer.headers["Location"]


@pytest.mark.parametrize("name", [None, "shop"])
def test_a_mounted_application_leads_to_its_own_jobs(tmp_path: Path, name: str | None) -> None:
    """Two mounted applications have an Afterword each; the `Location` works from the outside."""
    outer = FastAPI()
    sites = {path: site(tmp_path / path) for path in ("first", "second")}
    for path, each in sites.items():
        outer.mount(f"/{path}", each.app, name=name and f"{name}-{path}")
    with (
        TestClient(sites["first"].app),
        TestClient(sites["second"].app),
        TestClient(outer, root_path="/api") as client,
    ):
        answers = {path: client.post(f"/api/{path}/double/4") for path in sites}
        places = {path: answer.headers["Location"] for path, answer in answers.items()}
        seen = [client.get(place).status_code for place in places.values()]

    assert {
        path: f"/api/{path}/v1/jobs/{answer.json()['id']}" for path, answer in answers.items()
    } == places
    assert [200, 200] == seen


def test_a_mounted_application_leads_to_the_jobs_around_it(tmp_path: Path) -> None:
    """It has no router itself; the outer application has one."""
    outer, inner = site(tmp_path), FastAPI()
    inner.include_router(_routes())
    outer.app.mount("/inner", inner)
    with TestClient(outer.app) as client:
        answer = client.post("/inner/double/4")

    assert f"/v1/jobs/{answer.json()['id']}" == answer.headers["Location"]


def test_a_job_that_was_stored_before(tmp_path: Path) -> None:
    """`Afterword.add_task` works, too."""
    made = site(tmp_path, worker=False)

    @made.app.post("/now")
    async def now() -> Accepted:
        return Accepted(await made.afterword.add_task(double, 4))

    with TestClient(made.app) as client:
        answer = client.post("/now")
        status = client.get(answer.headers["Location"]).json()

    assert answer.json() == {"id": status["id"], "state": "queued"}


@pytest.mark.parametrize("retry_after", [-1, 0.5, "1"])
def test_seconds_are_whole(retry_after: Any) -> None:
    with pytest.raises(ConfigurationError, match="retry_after"):
        Accepted(Job("id", "app:send"), retry_after=retry_after)


# ---------------------------------------------------------------------- which job it is


def test_two_requests_at_once_with_one_unique_key(tmp_path: Path) -> None:
    """The second one finds no job when it adds; the store then returns the first one's."""
    made = site(tmp_path, worker=False)
    both = asyncio.Barrier(2)

    @made.app.post("/racing")
    async def racing(background_tasks: BackgroundTasks) -> Accepted:
        job = background_tasks.options(unique="one").add_task(double, 1)
        before = job.id
        await both.wait()
        return Accepted(job, headers={"X-Before": before})

    with TestClient(made.app) as client, ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda _: client.post("/racing"), range(2)))
        places = {answer.headers["Location"] for answer in answers}
        seen = [client.get(place).status_code for place in places]

    assert 2 == len({answer.headers["X-Before"] for answer in answers})
    assert 1 == len({answer.json()["id"] for answer in answers}) == len(places)
    assert [200] == seen


def test_a_unique_key_that_is_taken(tmp_path: Path) -> None:
    with TestClient(site(tmp_path).app) as client:
        first, second, other = (client.post(f"/unique/{key}") for key in ("a", "a", "b"))

    assert first.json()["id"] == second.json()["id"]
    assert first.headers["Location"] == second.headers["Location"]
    assert first.json()["id"] != other.json()["id"]


def test_a_repeated_request_gets_the_same_job(tmp_path: Path) -> None:
    """The Idempotency-Key finds it, even when it has completed, as the answer then says."""
    made = site(tmp_path, idempotent=True)
    key = {"Idempotency-Key": "k1"}
    with TestClient(made.app) as client:
        first = client.post("/double/4", headers=key)
        place = first.headers["Location"]
        wait_until(
            lambda: client.get(place).json()["state"] == "completed", description="completed"
        )
        again = client.post("/double/4", headers=key)
        other = client.post("/double/4", headers={"Idempotency-Key": "k2"})
        result = client.get(f"{again.headers['Location']}/result").json()

    assert (202, 202) == (first.status_code, again.status_code)
    assert {"id": first.json()["id"], "state": "completed"} == again.json()
    assert (place, "0") == (again.headers["Location"], again.headers["Retry-After"])
    assert first.json()["id"] != other.json()["id"]
    assert 8 == result


# ---------------------------------------------------------------------- when it cannot be stored


def test_a_store_that_is_locked(tmp_path: Path) -> None:
    """The answer is 503, nothing is stored, and the request's dependencies roll back."""
    made = site(tmp_path, store_timeout=1.0)
    left: list[str] = []

    async def session() -> Any:
        try:
            yield
            left.append("committed")
        except BaseException as error:
            left.append(type(error).__name__)
            raise

    made.app.include_router(_routes(), prefix="/with", dependencies=[Depends(session)])
    with TestClient(made.app) as client, closing(apsw.Connection(f"{tmp_path}/jobs.db")) as other:
        other.set_busy_timeout(10_000)
        other.execute("BEGIN IMMEDIATE")
        answer = client.post("/with/double/4")
        other.execute("ROLLBACK")
        jobs = made.afterword.runtime.store.find()
        again = client.post("/with/double/4")

    assert (503, "1") == (answer.status_code, answer.headers["Retry-After"])
    assert "could not be stored" in answer.json()["detail"]
    assert "Location" not in answer.headers
    assert [] == list(jobs)
    assert 202 == again.status_code
    assert ["StoreUnavailable", "committed"] == left


def test_a_handler_that_raises_stores_nothing(tmp_path: Path) -> None:
    made = site(tmp_path)

    @made.app.post("/raises")
    async def raises(background_tasks: BackgroundTasks) -> Accepted:
        Accepted(background_tasks.add_task(double, 4))
        raise HTTPException(400, "after all not")

    with TestClient(made.app) as client:
        answer = client.post("/raises")
        jobs = made.afterword.runtime.store.find()

    assert 400 == answer.status_code
    assert [] == list(jobs)


# ---------------------------------------------------------------------- with a real server

SERVED = """
import time
from pathlib import Path
from fastapi import FastAPI, HTTPException, Request
from afterword import Afterword, current_task
from afterword.fastapi import Accepted, BackgroundTasks

def key(request: Request) -> None:
    if request.headers.get("X-Key") != "s3same":
        raise HTTPException(401)

app = FastAPI()
afterword = Afterword(app, idempotent=True)
app.include_router(afterword.jobs_router(authorize=key))

def long() -> str:
    while not (current_task().cancelled and Path("may_end").exists()):
        time.sleep(0.01)
    return "not reached"

def fails() -> None:
    raise ValueError("no good")

@app.post("/long")
async def start(background_tasks: BackgroundTasks) -> Accepted:
    return Accepted(background_tasks.add_task(long))

@app.post("/fails")
async def fail(background_tasks: BackgroundTasks) -> Accepted:
    return Accepted(background_tasks.add_task(fails))
"""


def test_a_real_server(tmp_path: Path) -> None:
    """A job is started, watched, cancelled and gone; another one fails; strangers see nothing."""
    (tmp_path / "served.py").write_text(SERVED, encoding="utf-8")
    server = Server(
        "served:app",
        tmp_path,
        environment={"AFTERWORD_URL": f"sqlite:///{tmp_path / 'jobs.db'}"},
        arguments=("--root-path", "/api"),
    )
    key = {"X-Key": "s3same"}
    with running(server), server.client() as client:
        answer = client.post("/long")
        place = answer.headers["Location"].removeprefix("/api")
        stranger = client.get(place).status_code

        def state() -> str:
            return str(client.get(place, headers=key).json()["state"])

        wait_until(lambda: state() == "running", description="the job runs")
        cancelled = client.delete(place, headers=key).status_code
        (tmp_path / "may_end").touch()  # after the answer, which contains the state
        wait_until(lambda: state() == "cancelled", description="the job has heeded it")
        result = client.get(f"{place}/result", headers=key)
        failing = client.post("/fails").headers["Location"].removeprefix("/api")
        wait_until(
            lambda: client.get(failing, headers=key).json()["state"] == "failed",
            description="fails",
        )
        error = client.get(failing, headers=key).json()["error"]

    assert f"/api/jobs/{answer.json()['id']}" == answer.headers["Location"]
    assert (401, 202) == (stranger, cancelled)
    assert (410, "job-cancelled", "cancelled") == problem_of(result)
    assert "ValueError: no good" == error["detail"]


def test_in_postgresql(postgres_url: str, tmp_path: Path) -> None:
    """The same answers from the other store."""
    with serving(tmp_path, postgres_url) as api:
        queued, running = api.add(nothing, "s3cret", delay=60), api.add(nothing, "s3cret")
        claim = api.claim()
        api.worker.report([Report(claim, '{"current":1,"total":2}')])
        progress = api.get(f"/jobs/{running}")["progress"]
        deleted = [api.client.delete(f"/jobs/{each}").status_code for each in (queued, running)]
        api.settle(claim, Completed('{"rows": 2}'))
        result = api.client.get(f"/jobs/{running}/result").json()
        unknown = [api.client.get(f"/jobs/{each}").status_code for each in (new_id(), "1", "%00")]

    assert 0.5 == progress["ratio"]
    assert [200, 202] == deleted
    assert {"rows": 2} == result
    assert [404, 404, 404] == unknown


def test_counts_of_items_are_whole_numbers() -> None:
    progress = JobProgress.read('{"current": 3, "total": 12, "message": ""}')
    share = JobProgress.read('{"current": 0.5, "total": 1.5, "message": ""}')

    assert progress
    assert '"current":3,"total":12,' in progress.model_dump_json()
    assert share
    assert '"current":0.5,"total":1.5,' in share.model_dump_json()
