"""The dashboard in an application that runs its jobs, on both stores."""

import httpx
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from afterword import Afterword, task
from afterword.model.job import JobState
from tests.helpers import wait_until

done: list[str] = []
OWN = {
    "sec-fetch-site": "same-origin",
    "content-type": "application/x-www-form-urlencoded",
}


@task
def note(text: str) -> None:
    """Note a text; the text "wrong" fails."""
    if text == "wrong":
        raise ValueError("wrong")
    done.append(text)


def client_of(store_url: str) -> tuple[Afterword, TestClient]:
    """Make an application with a dashboard under a path; returns a client."""
    application = FastAPI()
    afterword = Afterword(application, store_url, tasks=[note])

    @application.post("/notes/{text}")
    async def add(text: str) -> str:
        return (await afterword.add_task(note, text)).id

    def staff(request: Request) -> str | None:
        return "operate" if request.headers.get("x-user") == "ada" else None

    application.mount("/ops/afterword", afterword.dashboard(authorize=staff))
    return afterword, TestClient(application, headers={"x-user": "ada"})


def state_of(client: TestClient, job_id: str) -> str:
    """Return the state in the dashboard's export."""
    answer: httpx.Response = client.get("/ops/afterword/jobs/export.json", params={"q": job_id})
    return str(answer.json()[0]["state"])


def test_a_failed_job_is_retried_and_a_copy_runs(store_url: str) -> None:
    _, client = client_of(store_url)
    with client:
        job_id = client.post("/notes/wrong").json()
        good = client.post("/notes/right").json()
        wait_until(lambda: state_of(client, job_id) == "failed", description="it has failed")
        wait_until(lambda: state_of(client, good) == "completed", description="it has completed")
        screen = client.get(f"/ops/afterword/jobs/{job_id}")
        retried = client.post("/ops/afterword/jobs/change/retry", data={"id": job_id}, headers=OWN)
        copied = client.post(
            f"/ops/afterword/jobs/{good}/copy", headers=OWN, follow_redirects=False
        )
        copy_id = copied.headers["location"].partition("?")[0].rpartition("/")[2]
        wait_until(lambda: state_of(client, copy_id) == "completed", description="the copy has run")

    assert "ValueError: wrong" in screen.text
    assert "1 retried." in retried.text
    assert ["right", "right"] == done[-2:]
    assert copied.headers["location"].startswith("/ops/afterword/jobs/")


def test_edited_arguments_are_checked_as_add_task_does(store_url: str) -> None:
    _, client = client_of(store_url)
    with client:
        job_id = client.post("/notes/wrong").json()
        path = f"/ops/afterword/jobs/{job_id}/copy"
        wrong = client.post(path, data={"arguments": '{"text": 1, "more": 2}'}, headers=OWN)
        right = client.post(path, data={"arguments": '{"text": "edited"}'}, headers=OWN)
        wait_until(lambda: "edited" in done, description="the edited job has run")

    assert "does not fit tests.dashboard.test_mounted:note(text: str)" in wrong.text
    assert 200 == right.status_code
    assert "Added as a copy" in right.text


def test_a_task_is_run_as_add_task_adds_it(store_url: str) -> None:
    _, client = client_of(store_url)
    name = f"{__name__}:note"
    fields = {"task": name, "tags": "by hand"}
    with client:
        form = client.get("/ops/afterword/tasks/run", params={"task": name}).text
        path = "/ops/afterword/tasks/run"
        wrong = client.post(path, data={**fields, "arguments": '{"txt": "no"}'}, headers=OWN)
        right = client.post(path, data={**fields, "arguments": '{"text": "run"}'}, headers=OWN)
        wait_until(lambda: "run" in done, description="the job has run")

    assert "text: str" in form
    assert "&#34;text&#34;: &#34;&#34;" in form
    assert "does not fit tests.dashboard.test_mounted:note(text: str)" in wrong.text
    assert "Added." in right.text
    assert "by hand" in right.text


def test_it_opens_the_store_itself(store_url: str) -> None:
    afterword, client = client_of(store_url)

    # Without `with`, no lifespan runs, so nothing else has opened the store.
    assert 200 == client.get("/ops/afterword/").status_code
    afterword.close()


def test_a_job_is_cancelled_while_it_waits(store_url: str) -> None:
    afterword, client = client_of(store_url)
    with client:
        later = afterword.options(delay=3600)
        job = client.portal and client.portal.call(later.add_task, note, "later")
        assert job
        client.post("/ops/afterword/jobs/change/cancel", data={"id": job.id}, headers=OWN)

        assert JobState.CANCELLED == state_of(client, job.id)
