"""`afterword queues` and `schedules`: lists, and rules that people change."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from afterword.admin.queues import unnamed
from afterword.schedules.recurrence import NEVER
from afterword.store.protocol import Declared, Due
from tests.command_line import ALL_KINDS, WORKER, Shell

pytestmark = pytest.mark.parametrize("shell", ALL_KINDS, indirect=True)


def rules(shell: Shell) -> dict[str, tuple[bool, int | None]]:
    """Return whether a queue is paused, and its limit, from the store."""
    return {each.name: (each.paused, each.concurrency) for each in shell.store.queues()}


# ---------------------------------------------------------------------- queues


def test_queues_say_who_serves_them(shell: Shell) -> None:
    shell.join()
    shell.add()
    shell.add(queue="mail", run_at=time.time() + 3600)

    lines = [line.split() for line in shell.run("queues").lines[1:]]
    found = [json.loads(line) for line in shell.run("queues", "--json").lines]

    assert ["default", "1", "0", "0", "0", "-", "0", "s", "1", "worker"] == lines[0]
    assert ["mail", "0", "1", "0", "0", "-", "-", "no", "worker"] == lines[1]
    assert [("default", 1), ("mail", 0)] == [(each["name"], each["workers"]) for each in found]


def test_a_paused_queue_gives_nothing_until_it_is_resumed(shell: Shell) -> None:
    shell.join()
    shell.add()

    paused = shell.run("queues", "pause", "default")
    taken = shell.store.claim(WORKER, ["default"], 1)
    row = shell.run("queues").lines[1].split()
    resumed = shell.run("queues", "resume", "default")

    assert (0, "default  paused\n", "") == (paused.code, paused.out, paused.err)
    assert [] == list(taken)
    assert "paused" == row[-1]
    assert (0, "default  resumed\n", "") == (resumed.code, resumed.out, resumed.err)
    assert 1 == len(shell.store.claim(WORKER, ["default"], 1))


def test_several_queues_are_paused_at_once(shell: Shell) -> None:
    done = shell.run("queues", "pause", "mail", "reports", "--json")

    assert [{"name": "mail", "paused": True}, {"name": "reports", "paused": True}] == [
        json.loads(line) for line in done.lines
    ]
    assert {"mail": (True, None), "reports": (True, None)} == rules(shell)


def test_a_queue_is_limited_and_not_limited(shell: Shell) -> None:
    limited = shell.run("queues", "limit", "mail", "5")
    row = shell.run("queues").lines[1].split()
    document = json.loads(shell.run("queues", "--json").out)
    free = shell.run("queues", "limit", "mail", "none")

    assert "mail  limited to 5 jobs at a time\n" == limited.out
    assert ["mail", "0", "0", "0", "0", "5"] == row[:6]
    assert (5, False) == (document["concurrency"], document["paused"])
    assert "mail  not limited\n" == free.out
    assert {} == rules(shell)


def test_a_rule_for_a_queue_that_nobody_serves_may_be_a_slip(shell: Shell) -> None:
    done = shell.run("queues", "pause", "mial")

    assert (0, "mial  paused\n") == (done.code, done.out)
    assert "No worker serves a queue mial" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pause", "m a i l"], "A queue's name"),
        (["pause", "default", "m\x1b"], "A queue's name"),
        (["limit", "mail", "0"], "must be 1 or more"),
        (["limit", "mail", "10001"], "must be a whole number from 1"),
        (["limit", "mail", "-1"], ""),
        (["limit", "mail", "many"], "or none, but it is 'many'"),
        (["limit", "mail", "\u00b2"], "or none"),
        (["pause"], ""),
        (["stop", "mail"], ""),
    ],
)
def test_a_rule_that_cannot_be_is_a_usage_error(
    shell: Shell, arguments: list[str], said: str
) -> None:
    done = shell.run("queues", *arguments)

    assert (2, "") == (done.code, done.out)
    assert said in done.err
    assert {} == rules(shell)


@pytest.mark.parametrize("group", ["queues", "schedules"])
def test_a_store_that_is_named_too_early_is_not_overlooked(shell: Shell, group: str) -> None:
    done = shell.run(group, "--url", "sqlite:///other.db", "pause", "mail")

    assert (2, "") == (done.code, done.out)
    assert f"afterword {group} pause NAME --url URL  # correct!" in done.err
    assert {} == rules(shell)


# ---------------------------------------------------------------------- schedules


RULE = "*/5 * * * * Europe/Berlin"
SWEEP = {"sweep": RULE}


def declare(shell: Shell, name: str = "sweep", next_at: float | None = None) -> None:
    """Declare a schedule, as an application does at its start."""
    schedule = Declared(
        name=name,
        task="shop:sweep",
        rule=RULE,
        words="Every fifth minute (Europe/Berlin)",
        next_at=time.time() + 60 if next_at is None else next_at,
    )
    shell.store.declare([schedule])


def schedules(shell: Shell) -> list[dict[str, Any]]:
    """Return the lines of `schedules`."""
    return [json.loads(line) for line in shell.run("schedules", "--json").lines]


def test_schedules_say_in_words_when_they_are_due(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    declare(shell, next_at=datetime(2040, 6, 1, 9, tzinfo=UTC).timestamp())

    heading, row = shell.run("schedules").lines
    [found] = schedules(shell)
    monkeypatch.undo()
    time.tzset()

    assert heading.startswith("schedule  task        rule")
    assert row.startswith("sweep     shop:sweep  Every fifth minute (Europe/Berlin)")
    assert "2040-06-01 11:00:00+0200  2040-06-01 09:00:00Z" in row  # Berlin's, not this host's
    assert ("active", "2040-06-01T09:00:00+00:00") == (found["state"], found["next_at"])


def test_a_schedule_that_never_comes_again_says_so(shell: Shell) -> None:
    declare(shell, next_at=NEVER)

    assert ["never", "never", "-", "-"] == shell.run("schedules").lines[1].split()[-4:]


def test_a_paused_schedule_makes_no_jobs_until_it_is_resumed(shell: Shell) -> None:
    declare(shell, next_at=time.time() - 10)

    paused = shell.run("schedules", "pause", "sweep")
    due, states = shell.store.due(SWEEP), [each["state"] for each in schedules(shell)]
    note = shell.run("schedules").lines[1]
    resumed = shell.run("schedules", "resume", "sweep", "--json")

    assert (0, "sweep  paused\n") == (paused.code, paused.out)
    assert ([], ["paused"]) == (list(due), states)
    assert note.endswith("paused")
    assert {"name": "sweep", "paused": False} == json.loads(resumed.out)
    assert ["sweep"] == [each.name for each in shell.store.due(SWEEP)]


def test_a_name_that_is_no_text_is_a_usage_error(shell: Shell) -> None:
    done = shell.run("schedules", "pause", "\udcff")

    assert (2, "") == (done.code, done.out)


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_schedule_that_is_not_there_is_not_found(shell: Shell, verb: str) -> None:
    done = shell.run("schedules", verb, "sw\x1beep")

    assert (3, "") == (done.code, done.out)
    assert "There is no schedule 'sw\\x1beep'" in done.err


def test_a_schedule_that_is_not_looked_after_is_overdue(shell: Shell) -> None:
    now = time.time()
    declare(shell, next_at=now - 3600)
    declare(shell, "other")
    due = Due("other", shell.store.schedules()[0].next_at.timestamp(), now, RULE)
    shell.store.advance(due, now, now)

    done = shell.run("status")
    document = json.loads(shell.run("status", "--json").out)
    doctor = shell.run("doctor").out

    assert {"sweep": "overdue", "other": "active"} == {
        each["name"]: each["state"] for each in schedules(shell)
    }
    assert 1 == done.code
    assert "the schedule sweep has created no job since it was due at" in done.out
    assert ["sweep"] == document["overdue_schedules"]
    assert "problem  schedule: sweep has created no job since" in doctor


def test_a_schedule_that_no_code_has_any_more_says_since_when(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(shell, next_at=time.time() - 3600)
    later = time.time() + 3600
    monkeypatch.setattr("afterword.cli.options.clock.now", lambda: later)

    note = shell.run("schedules").lines[1]
    doctor = shell.run("doctor").out

    assert "not in any running code since " in note
    assert ["forgotten"] == [each["state"] for each in schedules(shell)]
    assert "note     schedules: 1 schedule in no running code, such as sweep" in doctor
    assert "sweep" not in shell.run("status").out


APPLICATION = """
from fastapi import FastAPI

from afterword import Afterword, task

app = FastAPI()
afterword = Afterword(app, url={url!r})


@afterword.every("0 9 * * *", name="mornings", args=["ada"])
@task(queue="mail", tags=["daily"])
def send(to: str) -> None: ...
"""


@pytest.fixture
def application(shell: Shell, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A new module for each test, because it stays imported."""
    name = f"planned_{abs(hash(request.node.name)):x}"
    (tmp_path / f"{name}.py").write_text(APPLICATION.format(url=shell.url))
    return name


def test_the_job_of_a_schedule_is_added_now(shell: Shell, application: str) -> None:
    shell.url = "sqlite:///other.db"

    done = shell.run("schedules", "run", "mornings", "--app", f"{application}:app")

    job = shell.job(done.out.strip())
    assert 0 == done.code
    assert (f"{application}:send", '{"to":"ada"}', "mail") == (job.task, job.arguments, job.queue)
    assert ("daily", "schedule:mornings") == job.tags


def test_a_schedule_that_the_application_has_not_is_not_found(
    shell: Shell, application: str
) -> None:
    done = shell.run("schedules", "run", "evenings", "--app", f"{application}:app")

    assert (3, "") == (done.code, done.out)
    assert f"{application}:app has no schedule 'evenings'. Its schedules: mornings." in done.err
    assert [] == list(shell.store.find())


def test_the_job_of_a_schedule_needs_the_application(shell: Shell) -> None:
    done = shell.run("schedules", "run", "mornings")

    assert (2, "") == (done.code, done.out)
    assert "No application was found" in done.err


# ---------------------------------------------------------------------- what they mean for health


def test_a_paused_queue_is_a_note(shell: Shell) -> None:
    shell.store.pause(["mail"])
    shell.add(queue="mail", run_at=time.time() - 3600)

    done = shell.run("status")
    document = json.loads(shell.run("status", "--json").out)
    doctor = shell.run("doctor")

    assert 0 == done.code
    assert "note     the queue mail is paused: 1 due job waits" in done.lines
    assert "the queue mail is paused" in shell.run("top").out
    assert (True, ["mail"], 1) == (
        document["healthy"],
        document["paused_queues"],
        len(document["notes"]),
    )
    assert "note     paused: mail is paused: 1 due job waits" in doctor.lines
    assert "         To resume it: afterword queues resume mail" in doctor.lines


def test_a_job_that_was_asked_to_end_and_runs_is_a_note(shell: Shell) -> None:
    running = shell.start().id
    shell.store.cancel([running], "no")

    done = shell.run("status")
    document = json.loads(shell.run("status", "--json").out)

    assert 0 == done.code
    assert f"note     1 job was asked to end and still runs: {running}" in done.lines
    assert [running] == document["asked_to_end"]
    assert f"cancelling: 1 running job asked to end, such as {running}" in shell.run("doctor").out


def test_a_queue_that_nothing_names_may_be_mistyped(shell: Shell) -> None:
    shell.add(queue="parcels")
    shell.run("queues", "limit", "reports", "5")

    assert [] == unnamed(shell.store, ["default", "mail", "parcels", "reports"], ["mail"])
    assert [
        "No task, job or rule names the queue 'mial'. Did you mean 'mail'?",
        "No task, job or rule names the queue 'x'.",
    ] == unnamed(shell.store, ["mial", "default", "x"], ["mail"])
