"""The screens and changes of the dashboard, on both stores."""

import csv
import io
import json
import re
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from markupsafe import escape

from afterword.admin import found
from afterword.dashboard import change, jobs
from afterword.errors import ConfigurationError
from afterword.model.job import JobOptions, JobState, new_id
from afterword.model.outcome import Completed, Failed, HandedOver, RetryAt
from afterword.model.records import Filter
from afterword.store.opening import open_store
from afterword.store.protocol import Settlement, Store
from afterword.store.sqlite.reader import Reader
from tests.dashboard.conftest import ROOT, Site, site_of
from tests.dashboard.population import HOSTILE, Population, hostile, ordinary


def text_of(answer: httpx.Response) -> str:
    """Return the words of a page, in one line."""
    assert 200 == answer.status_code, answer.text
    body = re.sub(r"<(script|svg|style)\b.*?</\1>", " ", answer.text, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", body))


def shown_ids(answer: httpx.Response) -> list[str]:
    """Return the jobs in the rows of a page."""
    return re.findall(r'<tr id="j-([0-9a-f-]{36})"', answer.text)


# ---------------------------------------------------------------------- overview


def test_the_overview_of_an_empty_store_says_how_to_begin(site: Site) -> None:
    text = text_of(site.get("/"))

    assert "healthy" in text
    assert "No jobs yet" in text
    assert "background_tasks.add_task" in text


def test_the_overview_says_what_is_wrong(site: Site) -> None:
    ordinary(site.store)

    text = text_of(site.get("/"))

    assert "1 problem" in text
    assert "no worker serves the queue exports: 1 due job waits" in text
    assert "1 job was asked to end" in text
    assert "of 8 slots" in text
    assert "httpx.ConnectError: [Errno #] Connection refused" in text


# ---------------------------------------------------------------------- jobs


def test_a_job_that_was_handed_over_is_shown_in_words(site: Site) -> None:
    """Such jobs have their own mark, and a tab once there are some."""
    people = Population(site.store)
    people.end(Completed())
    assert "handed over" not in text_of(site.get("/jobs"))

    job_id = people.end(HandedOver())

    answer = site.get("/jobs?q=state:handed_over")
    assert [job_id] == shown_ids(answer)
    assert "handed over 1" in text_of(answer)
    assert 'class="state k-handed-over"' in answer.text
    page = site.get(f"/jobs/{job_id}")
    assert 'class="step o-handed-over"' in page.text
    assert 'class="outcome">handed over' in page.text


def test_jobs_are_listed_newest_first_in_pages(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PAGE", 3)
    people = Population(site.store)
    ids = [people.add() for _ in range(7)]
    seen: list[str] = []
    path = "/jobs"
    while path:
        answer = site.get(path)
        seen += shown_ids(answer)
        older = re.search(rf'rel="next" href="{ROOT}([^"]*)"', answer.text)
        path = older[1].replace("&amp;", "&") if older else ""

    assert ids[::-1] == seen


def test_tabs_count_the_jobs_that_match(site: Site) -> None:
    ordinary(site.store)

    text = text_of(site.get("/jobs"))
    narrowed = text_of(site.get("/jobs?q=task:shop.mail:send_receipt state:failed"))

    assert "queued 5 running 2 completed 13 failed 4 cancelled 1" in text
    assert "queued running completed failed 3 cancelled" in narrowed


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state:failed task:shop.mail:send_receipt", 3),
        ("shop.orders:ship state:failed", 1),
        ('error:"has no address"', 1),
        ("tag:gift", 1),
        ("queue:exports", 1),
        ("arg.order.number:12345678901234567890", 4),
        ("arg.number:77", 1),
        ("arg.number:78", 0),
        ("request:req-7f3a9c", 5),
        ("since:1h state:cancelled", 1),
    ],
)
def test_a_search_finds_what_matches(site: Site, query: str, expected: int) -> None:
    ordinary(site.store)

    answer = site.client.get(f"{ROOT}/jobs", params={"q": query})

    assert expected == len(shown_ids(answer))


def test_a_job_is_found_by_a_part_of_its_id(site: Site) -> None:
    named = ordinary(site.store)

    for part in (named["failed"], named["failed"][-8:], f"id:{named['failed'][-12:]}"):
        assert [named["failed"]] == shown_ids(site.client.get(f"{ROOT}/jobs", params={"q": part}))
    assert [] == shown_ids(site.client.get(f"{ROOT}/jobs", params={"q": new_id()}))


@pytest.mark.parametrize("query", ["state:lost", "task:", "since:soon"])
def test_a_mistake_in_a_search_is_shown_beside_it(site: Site, query: str) -> None:
    answer = site.client.get(f"{ROOT}/jobs", params={"q": query})

    assert 'role="alert"' in answer.text
    assert f'value="{query}"' in answer.text


@pytest.mark.parametrize("path", ["/jobs?before=x", "/jobs?from=x", "/jobs?q=%00", "/jobs?q=%ff"])
def test_other_mistakes_are_explained(site: Site, path: str) -> None:
    assert site.get(path).status_code in (200, 400)


def test_a_search_in_arguments_reads_a_window(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found, "READ", 4)
    monkeypatch.setattr(found, "PAGE", 2)
    people = Population(site.store)
    oldest = people.add(arguments='{"number": 1}')
    for _ in range(6):
        people.add(arguments='{"number": 2}')

    first = site.get("/jobs?q=arg.number:1")
    older = re.search(r'href="([^"]*)">Search older ones', first.text)
    assert older
    second = site.client.get(older[1].replace("&amp;", "&"))

    assert [] == shown_ids(first)
    assert "looked at the newest jobs only" in text_of(first)
    assert [oldest] == shown_ids(second)


def test_a_search_without_an_index_looks_at_a_window(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(found, "WINDOW", 3)
    people = Population(site.store)
    oldest = people.add(tags=("rare",))
    for _ in range(8):
        people.add()
    path, seen, asked = "/jobs?q=tag:rare", list[str](), 0
    while path and asked < 9:
        answer, asked = site.get(path), asked + 1
        seen += shown_ids(answer)
        older = re.search(rf'href="{ROOT}([^"]*)">Search older ones', answer.text)
        path = older[1].replace("&amp;", "&") if older else ""

    assert [oldest] == seen
    assert 3 == asked
    assert "queued 0+" in text_of(site.get("/jobs?q=tag:rare state:queued"))


# ---------------------------------------------------------------------- live


def poll(site: Site, answer: httpx.Response) -> httpx.Response:
    """Poll for news, as an open page does."""
    url = re.search(r'data-live="([^"]*)" data-tag="([^"]*)"', answer.text)
    assert url
    headers = {"HX-Request": "true", "If-None-Match": url[2].replace("&#34;", '"')}
    polled: httpx.Response = site.client.get(url[1].replace("&amp;", "&"), headers=headers)
    return polled


@pytest.mark.parametrize("path", ["/", "/jobs", "/jobs?q=state:failed", "/jobs/{failed}"])
def test_a_poll_is_empty_until_something_changes(site: Site, path: str) -> None:
    path = path.format(**ordinary(site.store))
    first = site.get(path)

    # The tag changes with time as well: a minute may have ended just now.
    unchanged = [poll(site, first), poll(site, site.get(path))]
    Population(site.store).add()
    changed = poll(site, first)

    assert 304 in [each.status_code for each in unchanged]
    assert all(b"" == each.content for each in unchanged if each.status_code == 304)
    assert 200 == changed.status_code
    assert changed.text.startswith("<main")


def test_an_empty_poll_asks_the_store_one_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'jobs.db'}")
    store.open()
    ordinary(store)
    site = site_of(store)
    asked: list[str] = []
    read = Reader.read_text

    def counted(self: Reader, text: str, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        asked.append(text)
        return read(self, text, values)

    first = site.get("/")
    monkeypatch.setattr(Reader, "read_text", counted)
    second = poll(site, first)
    if second.status_code == 200:  # a quarter of a minute has ended just now
        asked.clear()
        second = poll(site, second)
    store.close()

    assert 304 == second.status_code
    assert ["PRAGMA data_version"] == asked


def test_new_jobs_wait_behind_a_link(site: Site) -> None:
    people = Population(site.store)
    old = people.add()
    first = site.get("/jobs")
    claim = people.start()
    people.add()

    second = poll(site, first)

    assert [old] == shown_ids(first)
    assert [old] == shown_ids(second)
    assert "2 new jobs" in text_of(second)
    assert claim.id in shown_ids(site.get("/jobs"))


def test_other_permissions_make_another_tag(store: Store) -> None:
    reader = site_of(store, authorize=lambda request: "read").get("/jobs")
    operator = site_of(store).get("/jobs")

    assert reader.headers["etag"] != operator.headers["etag"]


# ---------------------------------------------------------------------- job


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("failed", ["failed", "attempt 1: failed", "2 frames of libraries", "in send_receipt"]),
        ("completed", ["completed", "Result", "9007199254740993"]),
        ("retrying", ["retrying", "Why it is waiting", "retrying at", "retries 5"]),
        ("running", ["running", "41 %, 40 of 96: resizing"]),
        ("ending", ["ending", "asked to end: not needed any more"]),
        ("scheduled", ["scheduled", "scheduled for"]),
        ("queued", ["queued", "waits for a free worker", "vip", "gift"]),
        ("waiting", ["waiting", "behind job", "Other jobs of the same request", "Follows"]),
    ],
)
def test_a_job_shows_its_state_and_why(site: Site, name: str, words: list[str]) -> None:
    named = ordinary(site.store)

    text = text_of(site.get(f"/jobs/{named[name]}"))

    assert [] == [each for each in words if each not in text]
    assert f"afterword show {named[name]}" in text


def test_big_integers_and_fractions_are_shown_exactly(site: Site) -> None:
    numbers = '{"big": 12345678901234567890123, "cents": 49.90, "tiny": 1e-400}'
    job_id = Population(site.store).add(arguments=numbers)

    text = text_of(site.get(f"/jobs/{job_id}"))

    for number in ("12345678901234567890123", "1e-400"):
        assert number in text


@pytest.mark.parametrize("name", ["beginning", "unknown", "no id"])
def test_a_job_that_is_not_there(site: Site, name: str) -> None:
    job_id = Population(site.store).add()
    path = {"beginning": job_id[:20], "unknown": new_id(), "no id": "x"}[name]

    assert (200 if name == "beginning" else 404) == site.get(f"/jobs/{path}").status_code


def test_a_copy_is_a_new_job(site: Site) -> None:
    named = ordinary(site.store)
    (old,) = site.store.get([named["failed"]])

    answer = site.post(f"/jobs/{old.id}/copy")
    copy_id = answer.headers["location"].partition("?")[0].rpartition("/")[2]
    (copy,) = site.store.get([copy_id])

    assert 303 == answer.status_code
    assert JobState.QUEUED == copy.state
    for name in ("task", "arguments", "queue", "tags", "priority", "options"):
        assert getattr(old, name) == getattr(copy, name)
    assert "Added as a copy" in text_of(site.client.get(answer.headers["location"]))


def test_a_copy_can_have_other_arguments(site: Site) -> None:
    named = ordinary(site.store)
    (old,) = site.store.get([named["failed"]])

    form = text_of(site.get(f"/jobs/{old.id}/copy"))
    answer = site.post(f"/jobs/{old.id}/copy", arguments='{"to": "bob", "order": {"n": 1}}')
    copy_id = answer.headers["location"].partition("?")[0].rpartition("/")[2]
    (copy,) = site.store.get([copy_id])

    assert "12345678901234567890" in form
    assert 303 == answer.status_code
    assert '{"to":"bob","order":{"n":1}}' == copy.arguments
    for name in ("task", "queue", "tags", "priority", "options"):
        assert getattr(old, name) == getattr(copy, name)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ('{"to": "</textarea><b>"', "must be valid JSON"),
        ("[1]", "must be an object, by parameter name, but it is a list"),
        ('{"a": ' * 70 + "1" + "}" * 70, "64 levels deep"),
        ("", "must be valid JSON"),
    ],
    ids=["no JSON", "no object", "deep", "nothing"],
)
def test_arguments_that_are_wrong_stay_in_the_form(site: Site, typed: str, words: str) -> None:
    job_id = Population(site.store).add()

    answer = site.post(f"/jobs/{job_id}/copy", arguments=typed)

    assert words in text_of(answer)
    assert f">\n{escape(typed)}</textarea>" in answer.text
    assert [job_id] == [job.id for job in site.store.find()]


def test_an_argument_with_odd_characters_survives_the_form(site: Site) -> None:
    odd = json.dumps({"a": "\u202e \x85 \\ \n &amp; <b>", "n": 12345678901234567890})
    job_id = Population(site.store).add(arguments=odd)

    form = re.search(
        r"<textarea[^>]*>\n(.*)</textarea>", site.get(f"/jobs/{job_id}/copy").text, re.S
    )
    assert form
    answer = site.post(f"/jobs/{job_id}/copy", arguments=unescape(form[1]))
    copy_id = answer.headers["location"].partition("?")[0].rpartition("/")[2]
    (copy,) = site.store.get([copy_id])

    assert json.loads(odd) == json.loads(copy.arguments)


def test_logs_are_shown_with_their_attempts(store: Store) -> None:
    people = Population(store)
    claim = people.start()
    log = "INFO shop: packing\nWARNING shop: <b>no tape</b>\n"
    store.settle([Settlement(claim, RetryAt(600.0, "ValueError: no"), log=log)])
    quiet = people.start()

    shown = site_of(store).get(f"/jobs/{claim.id}")
    reader = text_of(site_of(store, authorize=lambda request: "read").get(f"/jobs/{claim.id}"))

    assert "log, 2 lines" in text_of(shown)
    assert "WARNING shop: &lt;b&gt;no tape&lt;/b&gt;" in shown.text
    assert "no tape" not in reader
    assert "log," not in text_of(site_of(store).get(f"/jobs/{quiet.id}"))


def test_a_job_links_to_its_trace(store: Store) -> None:
    trace_id = "ab" * 16
    options = JobOptions(trace={"traceparent": f"00-{trace_id}-{'cd' * 8}-01"}).text()
    job_id = Population(store).add(options=options)
    plain_id = Population(store).add()
    site = site_of(store, trace_url="https://traces.example.org/{trace_id}?tab=1")

    linked = site.get(f"/jobs/{job_id}").text

    assert f'<a href="https://traces.example.org/{trace_id}?tab=1" rel="noreferrer">' in linked
    assert trace_id in site_of(store).get(f"/jobs/{job_id}").text
    assert "Trace" not in text_of(site.get(f"/jobs/{plain_id}"))


@pytest.mark.parametrize("url", ["javascript:alert('{trace_id}')", "https://example.org", 7])
def test_the_url_of_a_trace_is_one(store: Store, url: Any) -> None:
    with pytest.raises(ConfigurationError, match="trace_url must be the URL of a page"):
        site_of(store, trace_url=url)


def test_a_job_is_copied_as_a_command_as_python_and_as_json(site: Site) -> None:
    job_id = Population(site.store).add(
        "shop.mail:Letters.send", queue="mail", arguments='{"to": "ada", "class": 1, "gift": true}'
    )
    odd_id = Population(site.store).add("shop:pack", arguments="[1]")

    answer = site.get(f"/jobs/{job_id}")
    odd = text_of(site.get(f"/jobs/{odd_id}"))

    text = unescape(text_of(answer))
    assert "Copy as command, Python, JSON" in text
    assert "afterword run shop.mail:Letters.send --json" in text
    assert "from shop.mail import Letters await afterword.add_task(Letters.send" in text
    assert "Letters.send, to='ada', gift=True, **{'class': 1})" in text
    assert '"queue": "mail"' in text
    assert "Copy as JSON" in odd


@pytest.mark.parametrize("name", ["celery:shop.pack", "resize", "shop.mail.send"])
def test_a_task_that_only_a_fleet_has_is_copied_but_not_as_python(site: Site, name: str) -> None:
    job_id = Population(site.store).add(name, arguments='{"*args": [1]}')

    text = unescape(text_of(site.get(f"/jobs/{job_id}")))
    answer = site.post(f"/jobs/{job_id}/copy", arguments='{"*args": [2]}')

    assert "Copy as command, JSON" in text
    assert 303 == answer.status_code
    copy_id = answer.headers["location"].partition("?")[0].rpartition("/")[2]
    assert '{"*args":[2]}' == site.store.get([copy_id])[0].arguments


def test_large_arguments_are_cut(site: Site) -> None:
    arguments = json.dumps({"text": "x" * 100_000, "list": list(range(10_000)), "deep": deep(400)})
    job_id = Population(site.store).add(arguments=arguments)

    answer = site.get(f"/jobs/{job_id}")

    assert "(100,000 characters)" in answer.text
    assert "… more" in answer.text


def deep(levels: int) -> list[object]:
    """Return a list in a list, and so on."""
    inner: list[object] = []
    for _ in range(levels):
        inner = [inner]
    return inner


# ---------------------------------------------------------------------- changes


def test_a_change_is_shown_before_it_is_made(site: Site) -> None:
    ordinary(site.store)

    text = text_of(site.get("/jobs/change/retry?q=task:shop.mail:send_receipt"))

    assert "Retry failed jobs with task shop.mail:send_receipt?" in text
    assert "Retry 3 jobs" in text
    assert "afterword retry --all --search task:shop.mail:send_receipt" in text
    assert 4 == site.store.count(Filter(state=JobState.FAILED))[JobState.FAILED]


def test_all_that_match_are_retried(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary(site.store)
    monkeypatch.setattr(change, "BATCH", 2)

    answer = site.post("/jobs/change/retry", q="task:shop.mail:send_receipt")

    counts = site.store.count(Filter(task="shop.mail:send_receipt"))
    assert (303, 3, 0) == (answer.status_code, counts[JobState.QUEUED], counts[JobState.FAILED])
    assert "3 retried." in text_of(site.client.get(answer.headers["location"]))


def test_a_selection_is_changed(site: Site) -> None:
    people = Population(site.store)
    ids = [people.add() for _ in range(3)]

    shown = text_of(site.get(f"/jobs/change/cancel?id={ids[0]}&id={ids[1]}"))
    answer = site.post("/jobs/change/cancel", id=ids[:2])

    states = {job.id: job.state for job in site.store.get(ids)}
    assert "Cancel 2 selected jobs?" in shown
    assert f"afterword cancel {ids[0]} {ids[1]}" in shown
    assert ["cancelled", "cancelled", "queued"] == [states[each] for each in ids]
    assert "2 cancelled." in text_of(site.client.get(answer.headers["location"]))


def test_a_running_job_is_asked_to_end(site: Site) -> None:
    running = Population(site.store).start()

    answer = site.post("/jobs/change/cancel", id=running.id, job=running.id)

    (job,) = site.store.get([running.id])
    assert "cancelled in the dashboard" == job.cancelling
    assert "1 asked to end." in text_of(site.client.get(answer.headers["location"]))


def test_a_deleted_job_is_gone(site: Site) -> None:
    job_id = Population(site.store).add()

    answer = site.post("/jobs/change/delete", id=job_id, job=job_id)

    assert [] == list(site.store.get([job_id]))
    assert answer.headers["location"].startswith(f"{ROOT}/jobs?")


def test_what_cannot_be_changed_is_counted(site: Site) -> None:
    people = Population(site.store)
    ids = [people.end(Completed()), people.add()]

    answer = site.post("/jobs/change/retry", id=ids)

    text = text_of(site.client.get(answer.headers["location"]))
    assert "1 retried, 1 refused: only a job that has ended can be retried, or it is gone." in text


def test_a_change_of_nothing_says_so(site: Site) -> None:
    answer = site.post("/jobs/change/retry", q="task:nothing:here")

    assert "0 retried." in text_of(site.client.get(answer.headers["location"]))


def test_a_state_that_cannot_be_changed_is_explained(site: Site) -> None:
    answer = site.get("/jobs/change/delete?q=state:running")

    assert 400 == answer.status_code
    assert "a running job cannot be deleted" in answer.text


def test_a_large_change_is_made_in_parts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change, "BATCH", 2)
    monkeypatch.setattr(change, "SECONDS", -1.0)
    people = Population(site.store)
    for _ in range(5):
        people.end(Failed("ValueError: no"))
    parts = 0
    fields: dict[str, str] = {"q": "state:failed"}
    while True:
        answer = site.post("/jobs/change/retry", **fields)
        if answer.status_code == 303:
            break
        parts += 1
        assert "data-continue" in answer.text
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', answer.text))

    assert parts in (2, 3)
    assert 5 == site.store.count()[JobState.QUEUED]
    assert "5 retried." in text_of(site.client.get(answer.headers["location"]))


def test_a_change_by_arguments_leaves_the_others(site: Site) -> None:
    people = Population(site.store)
    ids = [
        people.end(Failed("ValueError: no"), arguments=f'{{"n": {number}}}') for number in range(4)
    ]

    site.post("/jobs/change/retry", q="arg.n:2")

    assert [ids[2]] == [job.id for job in site.store.find(Filter(state=JobState.QUEUED))]


# ---------------------------------------------------------------------- export


def test_jobs_are_exported_as_json(site: Site) -> None:
    named = ordinary(site.store)

    answer = site.get("/jobs/export.json?q=tag:vip")
    found = answer.json()

    assert 'attachment; filename="jobs.json"' == answer.headers["content-disposition"]
    assert 4 == len(found)
    failed = next(each for each in found if each["id"] == named["failed"])
    assert "ada@example.org" == failed["arguments"]["to"]
    assert [] == site.get("/jobs/export.json?q=tag:none").json()


def test_jobs_are_exported_as_csv_without_formulas(site: Site) -> None:
    Population(site.store).end(Failed("=1+1"), tags=("-2",))

    rows = list(csv.DictReader(io.StringIO(site.get("/jobs/export.csv").text)))

    assert ["'=1+1"] == [row["error"] for row in rows]


def test_there_is_no_other_format(site: Site) -> None:
    assert 404 == site.get("/jobs/export.xml").status_code


# ---------------------------------------------------------------------- trouble


def test_a_store_that_cannot_be_reached_is_explained(store: Store) -> None:
    site = site_of(store)
    store.close()

    for path in ("/", "/jobs", f"/jobs/{new_id()}"):
        answer = site.get(path)
        assert 503 == answer.status_code
        assert "The store cannot be reached" in answer.text
        assert "5" == answer.headers["refresh"]


def test_text_of_jobs_is_never_markup(site: Site) -> None:
    ids = hostile(site.store)
    pages = ["/", "/jobs", *(f"/jobs/{each}" for each in ids)]
    pages += [f"/jobs/change/retry?q=tag:{len(pages)}"]
    for path in pages:
        answer = site.get(path)
        text = answer.text
        assert 200 == answer.status_code, path
        for mark in ("<script>alert", "<img src=x", "onload=alert(1)>", "\x1b", "\u202e", "{{ 7"):
            found = text.find(mark)
            assert found < 0 or mark == "{{ 7", (
                f"{mark!r} in {path}: {text[found - 80 : found + 80]}"
            )
        assert "' onmouseover='" not in text
        assert 1 == text.partition("<body")[0].count("<title>")
        assert "49" not in re.findall(r"<bdi>([^<]*)</bdi>", text)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_search_is_only_text(site: Site, text: str) -> None:
    answer = site.client.get(f"{ROOT}/jobs", params={"q": text, "did": text, "before": ""})

    assert answer.status_code in (200, 400)
    assert "<script>alert" not in answer.text
    assert "<img src=x" not in answer.text
    assert "\x1b" not in answer.text


@pytest.mark.parametrize(
    "path", ["/jobs/{}", "/jobs/{}/copy", "/jobs/export.json", "/jobs/export.csv"]
)
def test_the_note_on_fields_that_were_not_set_is_not_shown(site: Site, path: str) -> None:
    text = '{"item":{"size":1.10},"#unset":[[["size"],[["item"]]]]}'
    job_id = Population(site.store).add(arguments=text)

    shown = site.get(path.format(job_id)).text

    assert "size" in shown
    assert "unset" not in shown
