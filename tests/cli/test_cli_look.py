"""Commands that only look: their output for a real store."""

import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from afterword.admin import health
from afterword.model.job import new_id
from afterword.schedules.recurrence import Cron
from afterword.store.protocol import Declared, Putback
from tests.command_line import WORKER, Shell

UNKNOWN = "01a20513-3665-7354-9284-afba1b0dace4"  # no job of any test has this id


HOSTILE = "KeyError: '\x1b[31mred\x07' [bold]x[/bold]\u202e\nforged line"

# ---------------------------------------------------------------------- the whole store


def test_an_empty_store_is_healthy(shell: Shell) -> None:
    done = shell.run("status")

    assert 0 == done.code
    assert "status   healthy" == done.lines[0]
    assert "0 queued, 0 running, 0 completed, 0 failed, 0 cancelled" in done.out
    assert "" == done.err


def test_status_counts_and_names_what_is_wrong(shell: Shell) -> None:
    shell.end()
    shell.add(queue="mail")

    done = shell.run("status")

    assert 1 == done.code
    assert "problem  no worker serves the queue mail: 1 due job waits" in done.lines
    assert "1 queued, 0 running, 1 completed, 0 failed, 0 cancelled" in done.out
    assert "1 with 4 slots, 0 running" in done.out
    assert "mail     1          0        0        0      -  0 s         no worker" == done.lines[-1]


def test_status_for_a_program(shell: Shell) -> None:
    shell.fail()
    shell.add(queue="mail", run_at=time.time() - 3600)

    done = shell.run("status", "--json")

    said = json.loads(done.out)
    assert 1 == done.code
    assert not said["healthy"]
    assert 2 == len(said["problems"])
    assert (1, 1) == (said["jobs"]["queued"], said["jobs"]["failed"])
    assert ["mail"] == said["unserved_queues"]
    assert 1 == said["workers"]
    assert 3600 <= said["oldest_due_seconds"] < 3700


def test_workers_say_where_they_are_and_how_busy(shell: Shell) -> None:
    shell.join(queues=("default", "mail"))
    shell.start()

    row = shell.run("workers").lines[1].split()
    found = json.loads(shell.run("workers", "--json").out)

    assert [WORKER, "alive"] == row[:2]
    assert ["1", "4", "default,mail"] == row[4:7]
    assert ("alive", 1, ["default", "mail"]) == (
        found["state"],
        found["running"],
        found["queues"],
    )


def test_tasks_say_what_became_of_their_jobs(shell: Shell) -> None:
    shell.end()
    shell.fail(task="shop:pay")
    shell.add(task="shop:pay", queue="mail")

    lines = {line.split()[0]: line.split()[1:6] for line in shell.run("tasks").lines[1:]}
    later = shell.run("tasks", "--since", "2099-01-01", "--json")

    assert {"shop:pack": list("00100"), "shop:pay": list("10010")} == lines
    assert ["shop:pay"] == [json.loads(line)["name"] for line in later.lines]


def test_tasks_say_how_often_they_failed_and_how_long_they_ran(shell: Shell) -> None:
    shell.end()
    shell.fail()

    (task,) = [json.loads(line) for line in shell.run("tasks", "--json").lines]

    counts = (task["completed"], task["failed"], task["failure_rate"])
    assert ("shop:pack", (1, 1, 0.5)) == (task["name"], counts)
    assert 0 <= task["run_p50_seconds"] <= task["run_p95_seconds"]
    assert datetime.fromisoformat(task["last_at"]) <= datetime.now(UTC)
    assert re.search(r"\d ms|\d s", shell.run("tasks").lines[1])


APPLICATION = """
from fastapi import FastAPI
from afterword import Afterword, task

app = FastAPI()
afterword = Afterword(app, {url!r})


@task(queue="mail", retries=5)
def send() -> None:
    '''Send a
    letter.

    More.'''
"""


def test_tasks_of_an_application_are_listed_with_their_options(
    shell: Shell, tmp_path: Path
) -> None:
    name = f"shop_of_tasks_in_{shell.url.partition(':')[0]}"  # it stays imported
    (tmp_path / f"{name}.py").write_text(APPLICATION.format(url=shell.url))
    shell.end()
    command = ("tasks", "--app", f"{name}:app")

    (line,) = [each for each in shell.run(*command).lines if each.startswith(f"{name}:send ")]
    documents = map(json.loads, shell.run(*command, "--json").lines)
    found = {each["name"]: each for each in documents}

    assert line.endswith("queue mail, 5 retries")
    assert "Send a letter." == found[f"{name}:send"]["description"]
    assert ["queue mail", "5 retries"] == found[f"{name}:send"]["options"]
    assert "description" not in found["shop:pack"]


@pytest.mark.parametrize("command", ["jobs", "failures", "queues", "schedules", "workers", "tasks"])
def test_an_empty_list_is_said_on_stderr(shell: Shell, command: str) -> None:
    done = shell.run(command)

    assert (0, "") == (done.code, done.out)
    assert 1 == len(done.err.splitlines())
    assert (0, "", "") == (
        (json_done := shell.run(command, "--json")).code,
        json_done.out,
        json_done.err,
    )


def test_top_without_a_terminal_is_one_picture(shell: Shell) -> None:
    running = shell.start()
    failed = shell.fail("ValueError: no")

    done = shell.run("top")

    assert 0 == done.code
    assert "status   healthy" == done.lines[0]
    assert running.id in done.out
    assert failed in done.out
    assert "ValueError: no" in done.out


# ---------------------------------------------------------------------- jobs


def ids(shell: Shell, *arguments: str) -> list[str]:
    """Return the jobs that `jobs` lists."""
    return [json.loads(line)["id"] for line in shell.run("jobs", "--json", *arguments).lines]


def test_jobs_are_listed_newest_first_in_pages(shell: Shell) -> None:
    added = [shell.add() for _ in range(5)]

    first = shell.run("jobs", "--limit", "3")
    second = ids(shell, "--limit", "3", "--before", added[2])

    assert added[:1:-1] == [line.split()[0] for line in first.lines[1:]]
    assert f"The next page: --before {added[2]}" in first.err
    assert added[1::-1] == second


def test_jobs_are_filtered(shell: Shell) -> None:
    failed = shell.fail("ValueError: no such order")
    other = shell.fail("KeyError", task="shop:pay")
    request = new_id()
    queued = shell.add(queue="mail", request_id=request, tags=("eu", "import"))

    assert [other, failed] == ids(shell, "--state", "failed")
    assert [other] == ids(shell, "--task", "shop:pay")
    assert [queued] == ids(shell, "--queue", "mail")
    assert [queued] == ids(shell, "--tag", "import")
    assert [] == ids(shell, "--tag", "imp")
    assert [failed] == ids(shell, "--error", "no such")
    assert [queued] == ids(shell, "--request", request)
    assert [queued, other, failed] == ids(shell, "--since", "1h")
    assert [] == ids(shell, "--since", "2099-01-01")


@pytest.mark.parametrize("option", ["--task", "--queue", "--tag", "--error"])
def test_bytes_that_are_no_text_are_a_usage_error(shell: Shell, option: str) -> None:
    done = shell.run("jobs", option, "\udcff")  # Python's form of an invalid byte

    assert (2, "") == (done.code, done.out)
    assert f"{option} must be text in UTF-8" in done.err


def test_a_job_for_a_program_has_its_arguments_as_values(shell: Shell) -> None:
    shell.add(arguments='{"to": "Zoë", "n": [1, null]}')

    done = shell.run("jobs", "--json")

    assert {"to": "Zoë", "n": [1, None]} == json.loads(done.out)["arguments"]
    assert done.out.isascii()


def test_what_a_task_wrote_cannot_move_the_cursor_or_forge_a_line(shell: Shell) -> None:
    failed = shell.fail(HOSTILE, task="shop:\x1b[2Jpack", arguments='{"a": "\u202e"}')

    for command in (["jobs"], ["failures"], ["tasks"], ["show", failed], ["top"]):
        out = shell.run(*command).out
        assert all(character.isprintable() or character == "\n" for character in out)
        assert not [line for line in out.splitlines() if line.startswith("forged")]


def test_markup_in_an_error_is_text(shell: Shell) -> None:
    shell.fail("KeyError: [bold]x[/bold]")

    assert "[bold]x[/bold]" in shell.run("jobs").out


# ---------------------------------------------------------------------- failures


def test_failures_are_grouped_by_task_and_error(shell: Shell) -> None:
    for number in range(3):
        shell.fail(f"Traceback (most recent call last):\nKeyError: 'order {number}'")
    shell.fail("KeyError: 'order 1'", task="shop:pay")

    rows = [line.split() for line in shell.run("failures").lines[1:]]
    groups = [json.loads(line) for line in shell.run("failures", "--json").lines]

    assert [["3", "shop:pack"], ["1", "shop:pay"]] == [row[:2] for row in rows]
    assert ["KeyError: <text>"] * 2 == [group["error"] for group in groups]
    assert [("KeyError", "<text>", 3)] * 1 == [
        (each["exception"], each["message"], each["count"]) for each in groups[:1]
    ]
    assert "KeyError: 'order 2'" in shell.run("show", groups[0]["example"]).out


def test_the_jobs_of_a_group_are_found_and_retried(shell: Shell) -> None:
    for number in range(2):
        shell.fail(f"KeyError: 'order {number}'")
    shell.fail("KeyError: 7")
    shell.fail("KeyError: 'order 1'", task="shop:pay")
    words = ("--search", 'task:shop:pack group:"KeyError: <text>"')

    assert 2 == len(shell.run("jobs", *words, "--json").lines)
    assert ["2"] == [line.split()[0] for line in shell.run("failures", *words).lines[1:]]
    asked = shell.run("retry", "--all", "--dry-run", *words)
    assert (
        "would retry 2 failed jobs with task shop:pack, error like 'KeyError: <text>'\n"
        == asked.out
    )
    assert "retried 2 jobs\n" == shell.run("retry", "--all", "--yes", *words).out


@pytest.mark.parametrize("text", ["id:456789ab", "arg.to:ada", "state:queued"])
def test_failures_are_not_grouped_by_what_only_jobs_have(shell: Shell, text: str) -> None:
    done = shell.run("failures", "--search", text)

    assert 2 == done.code
    assert "Groups of failures can be narrowed by task" in done.err


def test_failures_can_be_narrowed_and_cut(shell: Shell) -> None:
    shell.fail("A")
    shell.fail("B")

    cut = shell.run("failures", "--limit", "1")
    narrowed = shell.run("failures", "--error", "A", "--json")

    assert 2 == len(cut.lines)
    assert "1 more group: --limit 2" in cut.err
    assert ["A"] == [json.loads(line)["error"] for line in narrowed.lines]


# ---------------------------------------------------------------------- watch


def test_watching_a_completed_job_says_how_it_went(shell: Shell) -> None:
    job_id = shell.end()

    done = shell.run("watch", job_id)
    document = json.loads(shell.run("watch", job_id, "--json").out)

    assert 0 == done.code
    assert done.out.startswith("completed shop:pack in 0.5")
    assert "completed" == document["state"]


def test_watching_a_failed_job_is_a_failure(shell: Shell) -> None:
    done = shell.run("watch", shell.fail("Traceback\nValueError: no"))

    assert 1 == done.code
    assert done.out.endswith(": ValueError: no\n")


def test_watching_has_an_end(shell: Shell) -> None:
    done = shell.run("watch", shell.add(queue="mail"), "--timeout", "0.01")

    assert (1, "") == (done.code, done.out)
    assert ["queued: no worker serves the queue mail", "Not ended after 0.01 s; it is queued."] == (
        done.err.splitlines()
    )


# ---------------------------------------------------------------------- which store


def test_the_store_is_named_by_option_environment_project_or_default(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text('[tool.afterword]\nurl = "sqlite:///project.db"\n')

    assert "/elsewhere.db" in shell.run("jobs", "--url", "sqlite:///elsewhere.db").err
    assert 0 == shell.run("jobs").code
    shell.url = ""
    assert "/project.db" in shell.run("jobs").err
    project.unlink()
    assert "/afterword.db" in shell.run("jobs").err
    assert not (tmp_path / "afterword.db").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.afterword", "cannot be read"),
        ("[tool.afterword]\nurl = 7\n", "must be text"),
        ("tool = 3\n", "cannot be read"),
    ],
)
def test_a_project_that_cannot_be_read_is_a_usage_error(
    shell: Shell, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    shell.url = ""

    done = shell.run("status")

    assert 2 == done.code
    assert said in done.err


@pytest.mark.parametrize("command", [["status"], ["top"], ["retry", UNKNOWN], ["export"]])
def test_a_store_that_is_not_there_is_unreachable_and_not_made(
    shell: Shell, tmp_path: Path, command: list[str]
) -> None:
    shell.url = f"sqlite:///{tmp_path / 'typo.db'}"

    done = shell.run(*command)

    assert (5, "") == (done.code, done.out)
    assert 1 == len(done.err.splitlines())
    assert str(tmp_path / "typo.db") in done.err
    assert not (tmp_path / "typo.db").exists()


def test_a_url_that_is_none_is_a_usage_error(shell: Shell) -> None:
    done = shell.run("status", "--url", "redis://here")

    assert 2 == done.code
    assert "starts with sqlite://, sqlite+pysqlite:// or postgresql://" in done.err


# ---------------------------------------------------------------------- the end of an id


def test_a_job_is_found_by_the_end_of_its_id(shell: Shell) -> None:
    ids = [shell.add() for _ in range(3)]

    shown = shell.run("show", ids[1][-12:], "--json")
    assert ids[1] == json.loads(shown.out)["id"]


def test_the_end_of_several_ids_is_refused(shell: Shell) -> None:
    for beginning in ("01aaaaaa", "01bbbbbb"):
        shell.add(id=f"{beginning}-0000-7000-8000-0123456789ab")

    refused = shell.run("show", "456789ab")
    assert refused.code
    assert "several ids end with 456789ab" in refused.err
    assert 0 == shell.run("show", "01aaaaaa").code


def test_an_end_that_no_job_has(shell: Shell) -> None:
    shell.add()

    assert "There is no job 00000000" in shell.run("show", "00000000").err


# ---------------------------------------------------------------------- zones


def test_a_schedule_is_shown_in_its_own_zone(shell: Shell) -> None:
    due = datetime(2030, 7, 1, 7, tzinfo=UTC).timestamp()
    rule = Cron("0 9 * * *", "Europe/Berlin")
    daily = Declared(name="daily", task="shop:pack", rule=rule.text, words=rule.words, next_at=due)
    shell.store.declare([daily])

    (_, line) = shell.run("schedules").lines
    assert "2030-07-01 09:00:00+0200" in line
    assert "2030-07-01 07:00:00Z" in line


# ---------------------------------------------------------------------- what cannot run


REASON = "No function of this application is called 'shop:gone'. If it was renamed, ..."


def put_back(shell: Shell) -> str:
    """Add a job that a worker with free slots could not run; returns its id."""
    claim = shell.start("shop:gone")
    shell.store.release([Putback(claim, reason=REASON)])
    return claim.id


def test_a_job_that_no_worker_can_run_is_seen(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every status command shows it, with the reason and the time."""
    monkeypatch.setattr(health, "_TAKEN_WITHIN", -1.0)  # without a wait
    job_id = put_back(shell)

    status = shell.run("status")
    said = json.loads(shell.run("status", "--json").out)
    shown = shell.run("show", job_id)

    problem = r"problem  1 job of shop:gone waits for a worker that can run it, for \d+ s"
    reason = "No function of this application is called 'shop:gone'\n"
    assert 1 == status.code
    assert re.search(f"{problem}: {reason}", status.out)
    assert (False, [job_id]) == (said["healthy"], said["parked_jobs"])
    assert re.search(problem, shell.run("top").out)
    assert "waiting  put back by each worker that claimed it since 2" in shown.out
    assert REASON in shown.out
    assert "waits for a free worker" not in shown.out
    assert f"put back: {REASON}" in shell.run("jobs").out


def test_failures_list_jobs_that_no_worker_can_run(shell: Shell) -> None:
    """They are below the failed ones; in JSON their state differs."""
    shell.fail("ValueError: no")
    job_id = put_back(shell)

    done = shell.run("failures")
    groups = [json.loads(line) for line in shell.run("failures", "--json").lines]

    assert "Not failed yet, but no worker could run these jobs so far:" in done.err
    assert REASON.replace("'shop:gone'", "<text>") in done.lines[-1]
    assert [("failed", "shop:pack"), ("queued", "shop:gone")] == [
        (each["state"], each["task"]) for each in groups
    ]
    assert job_id == groups[1]["example"]
    assert "shop:gone" not in shell.run("failures", "--task", "shop:pack").out


def test_the_doctor_names_the_fix_for_jobs_that_no_worker_can_run(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the module that was not imported, or the name that was changed."""
    put_back(shell)
    waits = shell.run("doctor")
    monkeypatch.setattr(health, "_TAKEN_WITHIN", -1.0)
    done = shell.run("doctor")

    assert "note     put back: 1 job of shop:gone" in waits.out
    assert "problem  put back: 1 job of shop:gone" in done.out
    assert "import its module or restore its name" in done.out


def test_top_says_for_how_long_jobs_run(shell: Shell) -> None:
    shell.start()

    done = shell.run("top")

    (heading,) = [line for line in done.lines if line.startswith("running")]
    assert ["running", "for", "task"] == heading.split()[:3]


def test_jobs_are_searched_as_in_the_dashboard(shell: Shell) -> None:
    shell.add(arguments='{"user": {"id": 7}}', tags=("vip",))
    found = shell.add(arguments='{"user": {"id": 8}}', tags=("vip",))

    done = shell.run("jobs", "--search", "tag:vip arg.user.id:8", "--json")

    assert [found] == [json.loads(line)["id"] for line in done.lines]


def test_a_search_must_not_repeat_an_option(shell: Shell) -> None:
    done = shell.run("jobs", "--search", "queue:mail", "--queue", "default")

    assert 2 == done.code
    assert "--search must not repeat another option" in done.err
