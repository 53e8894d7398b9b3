"""The screen of tasks, on both stores."""

import re

import httpx
import pytest

from afterword import task
from afterword.dashboard import tasks
from afterword.model.job import JobOptions
from afterword.model.outcome import Cancelled, Completed, Failed
from afterword.store.protocol import Store
from tests.dashboard.conftest import Site, site_of
from tests.dashboard.population import HOSTILE, Population, hostile, ordinary
from tests.dashboard.test_failures import text_of


@task(queue="mail", retries=5, timeout=30, limit=1, rate="100/m", key=lambda to: to)
def send_letter(to: str) -> None:
    """Send a letter
    to a customer.

    What stands here is for developers.
    """


LETTER = f"{__name__}:send_letter"


def rows(answer: httpx.Response) -> list[str]:
    """Return the words of each task."""
    found = re.findall(r'<tr id="t-\d+">(.*?)</tr>', answer.text, re.S)
    found = [re.sub(r'<title>.*?</title>|<a class="button.*?</a>', "", row) for row in found]
    return [re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", row)).strip() for row in found]


def test_tasks_show_what_became_of_their_jobs(site: Site) -> None:
    people = Population(site.store)
    for outcome in (Completed(), Completed(), Completed(), Failed("no"), Cancelled("no")):
        people.end(outcome)
    people.start("shop.images:resize")
    people.add("shop.images:resize")

    resized, packed = rows(site.get("/tasks"))

    durations = r"[\d.]+ m?s p95 [\d.]+ m?s"
    pattern = rf"shop.orders: pack_order – 3 1 cancelled 1 25 % {durations} \d+ .* ago"
    assert re.fullmatch(pattern, packed), packed
    assert "shop.images: resize 1 queued 1 running – 0 0 – –" == resized
    assert "5 jobs ended in 24h" in site.get("/tasks").text
    assert "afterword tasks --since 24h" in text_of(site.get("/tasks"))


def test_only_the_newest_queued_jobs_are_counted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "COUNT_LIMIT", 2)
    people = Population(site.store)
    for name in "aab":
        people.add(f"shop:{name}")

    assert ["shop: a 1+ queued", "shop: b 1+ queued"] == [
        row.partition(" –")[0] for row in rows(site.get("/tasks"))
    ]
    assert "Of the queued jobs, the newest 2 were counted." in text_of(site.get("/tasks"))


def test_a_range_is_chosen(site: Site) -> None:
    ordinary(site.store)

    assert "afterword tasks --since 7d" in text_of(site.get("/tasks?range=7d"))
    assert 400 == site.get("/tasks?range=1y").status_code


def test_tasks_of_the_application_show_their_options(store: Store) -> None:
    Population(store).add("shop.gone:f")

    letter, gone = rows(site_of(store, tasks=lambda: [LETTER]).get("/tasks"))[::-1]

    options = "queue mail 5 retries timeout 30 s"
    limits = "1 job at a time for each key rate 100/m for each key"
    assert f"Send a letter to a customer. {options} {limits}" in letter
    assert "developers" not in letter
    assert "shop.gone: f 1 queued – 0 0 – –" == gone


def test_without_an_application_no_code_is_looked_at(store: Store) -> None:
    """This holds even if the process has a function of that name."""
    Population(store).add(LETTER)

    assert "Send a letter" not in site_of(store).get("/tasks").text


def test_many_tasks_are_listed_in_pages(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_TASKS", 2)
    people = Population(site.store)
    for name in "abc":
        people.add(f"shop:{name}")
    first = site.get("/tasks?range=1h")
    (older,) = re.findall(r'rel="next" href="[^"]*(/tasks[^"]*)"', first.text)

    assert 2 == len(rows(first))
    (last,) = rows(site.get(older.replace("&amp;", "&")))
    assert last.startswith("shop: c ")


def test_an_empty_store_has_no_tasks(site: Site) -> None:
    assert "No task has unfinished jobs" in text_of(site.get("/tasks"))


def test_text_of_tasks_is_never_markup(site: Site) -> None:
    hostile(site.store)

    page = site.get("/tasks").text

    assert [] == [each for each in HOSTILE if "<" in each and each in page]
    assert "\u202e" not in page


# ---------------------------------------------------------------------- run


def test_a_task_is_run_with_options(site: Site) -> None:
    form = site.get("/tasks/run?task=app.mail:send").text
    fields = {
        "task": "app.mail:send",
        "arguments": '{"to": "ada",\n "copies": 12345678901234567890}',
        "queue": "mail",
        "delay": "15m",
        "priority": "-3",
        "unique": "letter 7",
        "retries": "2",
        "timeout": "1.5",
        "tags": "gift, customer:42",
    }
    answer = site.post("/tasks/run", **fields)
    again = site.post("/tasks/run", **fields)

    (job,) = site.store.find()
    assert 'name="task" value="app.mail:send"' in form
    assert f"/jobs/{job.id}?run=added" in answer.headers["location"]
    assert f"/jobs/{job.id}?run=met" in again.headers["location"]
    assert '{"to":"ada","copies":12345678901234567890}' == job.arguments
    assert ("mail", -3, ("gift", "customer:42")) == (job.queue, job.priority, job.tags)
    assert 890 < (job.run_at - job.created_at).total_seconds() < 910
    options = JobOptions.read(job.options)
    assert (2, 1.5) == (options.retries, options.timeout)
    assert [("run", 1)] == [(each.action, each.count) for each in site.store.audit()]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"arguments": "[1]"}, "must be an object"),
        ({"task": "send"}, "must be named as module:function"),
        ({"delay": "soon"}, "delay is not understood"),
        ({"priority": "high"}, "priority must be a whole number from -1000 to 1000"),
        ({"priority": "1.5"}, "priority must be a whole number"),
        ({"retries": "-1"}, "retries must be"),
        ({"timeout": "nan"}, "timeout must be"),
        ({"queue": "a b"}, "A queue's name must be"),
        ({"tags": "x" * 101}, "A tag must be printable text"),
    ],
    ids=str,
)
def test_what_was_typed_stays_after_a_mistake(
    site: Site, fields: dict[str, str], reason: str
) -> None:
    given = {"task": "app:f", "arguments": '{"to": "ada"}', "unique": "once", **fields}
    page = site.post("/tasks/run", **given)

    assert reason in text_of(page)
    assert 'name="unique" value="once"' in page.text
    assert [] == site.store.find()


def test_the_form_shows_the_command(site: Site) -> None:
    page = site.post("/tasks/run", task="app:f", arguments='{\n"to": "ada"}', tags="a,b", queue=" ")

    assert 303 == page.status_code
    wrong = site.post("/tasks/run", task="app:f", arguments='{\n"to": 1}', tags="a,b", retries="x")
    command = """afterword run app:f --json '{"to": 1}' --tag a --tag b --retries x"""
    assert command in text_of(wrong)


def test_text_in_the_form_is_never_markup(site: Site) -> None:
    for text in HOSTILE:
        page = site.post("/tasks/run", task=text, arguments=text, queue=text, unique=text).text
        assert "<" not in text or text not in page
        assert "\u202e" not in page


def test_only_who_may_add_jobs_is_offered_to_run_tasks(store: Store) -> None:
    Population(store).add("app:f")

    assert "/tasks/run?task=app:f" in site_of(store).get("/tasks").text
    reader = site_of(store, authorize=lambda request: "read")
    assert "/tasks/run" not in reader.get("/tasks").text
