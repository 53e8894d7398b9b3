"""The examples of FastAPI's page on background tasks, with one import changed.

Each is the code of a reader of that page after the change, and must do as the page promises. They
write a relative `log.txt`, as there.
"""

from pathlib import Path
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI

from afterword import JobState
from afterword.fastapi import BackgroundTasks
from tests.sites import serving

BOTH = pytest.mark.parametrize("started", [True, False], ids=["started", "bare"])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_notification(email: str, message: str = "") -> None:
    Path("log.txt").write_text(f"notification for {email}: {message}")


def write_log(message: str) -> None:
    with Path("log.txt").open("a") as log:
        log.write(message)


def write_to_a_full_disk(email: str) -> None:
    raise OSError(28, f"no space left for {email}")


@BOTH
def test_a_task_is_added_by_the_path_operation(tmp_path: Path, started: bool) -> None:
    app = FastAPI()

    @app.post("/send-notification/{email}")
    async def send_notification(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
        background_tasks.add_task(write_notification, email, message="some notification")
        return {"message": "sent in the background"}

    with serving(app, tmp_path, started=started) as site:
        response = site.client.post("/send-notification/ada@example.com")
        site.ran()

    assert {"message": "sent in the background"} == response.json()
    assert "notification for ada@example.com: some notification" == Path("log.txt").read_text()


@BOTH
@pytest.mark.parametrize("style", ["default", "Annotated"])
def test_tasks_are_added_by_a_dependency_and_the_path_operation(
    tmp_path: Path, started: bool, style: str
) -> None:
    app = FastAPI()

    def get_query(background_tasks: BackgroundTasks, q: str | None = None) -> str | None:
        if q:
            background_tasks.add_task(write_log, f"query {q}\n")
        return q

    if style == "default":

        @app.post("/send-notification/{email}")
        async def send_by_default(
            email: str, background_tasks: BackgroundTasks, q: str = Depends(get_query)
        ) -> str:
            background_tasks.add_task(write_log, f"message to {email}\n")
            return q
    else:

        @app.post("/send-notification/{email}")
        async def send(
            email: str, background_tasks: BackgroundTasks, q: Annotated[str, Depends(get_query)]
        ) -> str:
            background_tasks.add_task(write_log, f"message to {email}\n")
            return q

    with serving(app, tmp_path, started=started) as site:
        response = site.client.post("/send-notification/ada@example.com?q=asked")
        site.ran()

    assert "asked" == response.json()
    assert "query asked\nmessage to ada@example.com\n" == Path("log.txt").read_text()


def test_a_task_that_fails_leaves_the_response_alone_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = FastAPI()

    @app.post("/send-notification/{email}")
    async def send_notification(email: str, background_tasks: BackgroundTasks) -> str:
        background_tasks.add_task(write_to_a_full_disk, email)
        return "sent"

    with serving(app, tmp_path) as site:
        response = site.client.post("/send-notification/ada@example.com")
        states = site.states()

    assert (200, "sent") == (response.status_code, response.json())
    assert [JobState.FAILED] == states
    assert "no space left for ada@example.com" in caplog.text
