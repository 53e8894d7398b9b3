"""`afterword show`: all data of one job, and the reason why it waits."""

import json
import re
from typing import Any

import pytest

from afterword.model.job import JobOptions, new_id
from afterword.model.outcome import Completed, Failed, Released, RetryAt
from afterword.store.protocol import Report, Settlement
from tests.command_line import ALL_KINDS, WORKER, Shell

UNKNOWN = "01a20513-3665-7354-9284-afba1b0dace4"  # no job of any test has this id
HOSTILE = "\x1b[31mred\x07\u202e\nforged line"

pytestmark = pytest.mark.parametrize("shell", ALL_KINDS, indirect=True)


def waiting(shell: Shell, job_id: str) -> list[str]:
    """Return the reason why a job waits, as in JSON."""
    said: list[str] = json.loads(shell.run("show", job_id, "--json").out)["waiting"]
    return said


def document(shell: Shell, job_id: str) -> dict[str, Any]:
    """Return all data of a job, as in JSON."""
    known: dict[str, Any] = json.loads(shell.run("show", job_id, "--json").out)
    return known


def facts(shell: Shell, job_id: str) -> dict[str, str]:
    """Return the lines of a name and its value."""
    head = shell.run("show", job_id).out.partition("\n\n")[0]
    return dict(re.split(r"  +", line, maxsplit=1) for line in head.splitlines())


def retried(shell: Shell, error: str = "ValueError: no", wait: float = 0.0, **values: Any) -> str:
    """Add a job that has failed once and is retried; returns its id."""
    return shell.end(RetryAt(wait, error), **values)


# ---------------------------------------------------------------------- what is known


def test_show_says_everything_of_a_failed_job(shell: Shell) -> None:
    failed = shell.fail("Traceback:\n  in pack\nValueError: no", arguments='{"order": 7}')

    done = shell.run("show", failed)
    known = facts(shell, failed)

    assert 0 == done.code
    assert (failed, "shop:pack", "failed", "1", WORKER) == tuple(
        known[name] for name in ("job", "task", "state", "attempt", "worker")
    )
    assert known["took"].startswith("0.5")
    assert '      "order": 7' in done.lines
    assert "    ValueError: no" == done.lines[-1]


def test_what_was_said_of_a_job_is_shown(shell: Shell) -> None:
    options = JobOptions(retries=3, timeout=30.0, on_crash="fail", limit=2, rate=(10, 60.0))
    job_id = shell.add(
        tags=("eu", "import"), unique_key="once", limit_key="disk", options=options.text()
    )

    said, known = facts(shell, job_id), document(shell, job_id)

    assert ("eu, import", "once") == (said["tags"], said["unique key"])
    assert "disk, 2 at a time, 10 in 1 min" == said["limit"]
    assert "retries 3, timeout 30 s, fails if its worker dies" == said["options"]
    assert (["eu", "import"], "once", "disk") == (
        known["tags"],
        known["unique_key"],
        known["limit_key"],
    )
    assert {"retries": 3, "timeout": 30.0} == {
        name: known["options"][name] for name in ("retries", "timeout")
    }


def test_a_result_is_shown_as_json(shell: Shell) -> None:
    job_id = shell.end(Completed('{"pages":[1,2]}'))

    lines = shell.run("show", job_id).lines

    at = lines.index("result")
    assert ["    {", '      "pages": ['] == lines[at + 1 : at + 3]
    assert {"pages": [1, 2]} == document(shell, job_id)["result"]


def test_what_is_long_is_cut_unless_it_is_asked_for(shell: Shell) -> None:
    job_id = shell.end(Completed(json.dumps("x" * 5_000)))

    cut, full = shell.run("show", job_id), shell.run("show", job_id, "--full")

    assert "... 3,000 more characters: --full shows them" in cut.out
    assert "x" * 2_001 not in cut.out
    assert "x" * 5_000 in full.out


@pytest.mark.parametrize(
    ("progress", "shown"),
    [
        ('{"current":4,"total":10,"message":"resizing"}', "[########---"),
        ('{"current":4,"total":10,"message":"resizing"}', "] 40 %, 4 of 10: resizing"),
        ('{"current":12345,"message":"rows"}', "12,345: rows"),
        ('{"message":"resizing"}', "resizing"),
        ('{"current":11,"total":10}', "[####################] 100 %, 11 of 10"),
        ('{"current":-1,"total":10}', "[--------------------] 0 %, -1 of 10"),
    ],
)
def test_progress_is_a_bar(shell: Shell, progress: str, shown: str) -> None:
    claim = shell.start()
    shell.store.report([Report(claim, progress)])

    assert shown in facts(shell, claim.id)["progress"]
    assert json.loads(progress) == document(shell, claim.id)["progress"]
    assert shown[:3] in shell.run("jobs").out or shown[0] in "[]"


@pytest.mark.parametrize(
    "progress", ["50", '{"current":"a"}', '{"total":[]}', '{"message":3}', '{"current":true}', "{"]
)
def test_progress_that_makes_no_sense_is_not_shown(shell: Shell, progress: str) -> None:
    claim = shell.start()
    shell.store.report([Report(claim, progress)])

    assert [0, 0] == [shell.run(command).code for command in ("jobs", "top")]
    assert "progress" not in facts(shell, claim.id)


def test_a_running_job_that_was_asked_to_end_says_so(shell: Shell) -> None:
    running = shell.start().id
    shell.store.cancel([running], "the customer left")

    assert "asked to end: the customer left" == facts(shell, running)["cancelling"]
    assert "asked to end (the customer left)" in shell.run("jobs").out
    assert "asked to end (the customer left)" in shell.run("top").out
    assert "the customer left" == document(shell, running)["cancelling"]


# ---------------------------------------------------------------------- attempts


def test_each_attempt_has_a_line(shell: Shell) -> None:
    job_id = retried(shell, "Traceback (most recent call last):\n  in pack\nValueError: no")
    [claim] = shell.store.claim(WORKER, ["default"], 1)
    shell.store.settle([Settlement(claim, Failed("first\nsecond\nthird"), seconds=0.25)])

    done = shell.run("show", job_id)

    at = done.lines.index("attempts")
    heading, first, second = done.lines[at + 1 : at + 4]
    assert ["attempt", "outcome", "worker", "started", "took", "error"] == heading.split()
    assert ["1", "failed", WORKER] == first.split()[:3]
    assert first.endswith(" ValueError: no")
    assert " 0.5" in first
    assert ["2", "failed", WORKER] == second.split()[:3]
    assert second.endswith(" first ... third")
    assert "2, 1 failed" == facts(shell, job_id)["attempt"]


def test_an_attempt_that_runs_is_one_too(shell: Shell) -> None:
    running = shell.start().id

    lines = shell.run("show", running).lines

    number, state, worker, _, _, took, error = lines[-1].split()
    assert ("1", "running", WORKER, "-", "-") == (number, state, worker, took, error)
    assert any(line.startswith("started ") for line in lines)


def test_the_errors_of_earlier_attempts_are_shown_in_full_when_asked_for(shell: Shell) -> None:
    job_id = retried(shell, "first\nmiddle\nlast")
    [claim] = shell.store.claim(WORKER, ["default"], 1)
    shell.store.settle([Settlement(claim, Failed("the end"))])

    short, full = shell.run("show", job_id), shell.run("show", job_id, "--full")

    assert "    middle" not in short.lines
    assert ["error of attempt 1", "    first", "    middle", "    last"] == full.lines[
        (at := full.lines.index("error of attempt 1")) : at + 4
    ]
    assert 1 == full.lines.count("    the end")
    assert ["first\nmiddle\nlast", "the end"] == [
        each["error"] for each in document(shell, job_id)["attempts"]
    ]


def test_an_interrupted_attempt_says_so(shell: Shell) -> None:
    job_id = shell.end(Released())

    [attempt] = document(shell, job_id)["attempts"]

    assert ("interrupted", WORKER) == (attempt["outcome"], attempt["worker"])
    assert "1, 1 interrupted by shutdowns" == facts(shell, job_id)["attempt"]


def test_what_a_task_says_cannot_move_the_cursor_or_forge_a_line(shell: Shell) -> None:
    text = json.dumps({"current": 1, "total": 2, "message": HOSTILE})
    claim = shell.start(limit_key="x\x1b", unique_key="y\n")
    shell.store.report([Report(claim, text)])
    shell.store.cancel([claim.id], HOSTILE)
    ended = shell.end(Completed(json.dumps(HOSTILE)))
    again = retried(shell, HOSTILE)

    for command in (
        *(["show", each, "--full"] for each in (claim.id, ended, again)),
        *(["jobs"], ["top"], ["watch", ended], ["watch", claim.id, "--timeout", "0.01"]),
    ):
        done = shell.run(*command)
        written = done.out + done.err
        assert all(character.isprintable() or character == "\n" for character in written)
        assert not [line for line in written.splitlines() if line.startswith("forged")]


# ---------------------------------------------------------------------- why it is waiting


def test_show_says_why_a_job_is_waiting(shell: Shell) -> None:
    first = shell.add(queue="mail", request_id=(request := new_id()))
    second = shell.add(queue="mail", request_id=request, after=first)

    done = shell.run("show", second)

    assert f"waiting  behind job {first} (shop:pack), which is queued" in done.lines
    assert "waiting  no worker serves the queue mail" in done.lines
    assert [second, first] == document(shell, second)["request_jobs"]
    assert 2 == len(waiting(shell, second))


def test_a_paused_queue_is_a_reason(shell: Shell) -> None:
    shell.join()
    job_id = shell.add()
    shell.store.pause(["default"])

    assert ["the queue default is paused"] == waiting(shell, job_id)


def test_a_queue_at_its_limit_is_a_reason(shell: Shell) -> None:
    shell.store.limit({"default": 2})
    shell.start()
    job_id = shell.add()
    before = waiting(shell, job_id)

    shell.store.claim(WORKER, ["default"], 1)
    late = shell.add()

    assert [True] == [each.endswith("waits for a free worker") for each in before]
    assert ["the queue default is at its limit: 2 of 2 jobs run"] == waiting(shell, late)


def test_a_limit_that_is_reached_is_a_reason(shell: Shell) -> None:
    values: dict[str, Any] = {"limit_key": "disk", "options": JobOptions(limit=1).text()}
    running = shell.start(**values)
    shell.start(limit_key="other", options=values["options"])
    job_id = shell.add(**values)

    said = f"the limit of disk is reached: 1 of 1 jobs run, such as {running.id}"
    assert [said] == waiting(shell, job_id)


def test_a_rate_is_a_reason(shell: Shell) -> None:
    values: dict[str, Any] = {"limit_key": "api", "options": JobOptions(rate=(1, 60.0)).text()}
    shell.start(**values)
    job_id = shell.add(**values)
    shell.store.claim(WORKER, ["default"], 1)

    [said] = waiting(shell, job_id)

    assert said.startswith("scheduled for ")
    assert said.endswith("; its rate is 1 in 1 min")


def test_a_retry_says_how_often_it_failed_and_still_may(shell: Shell) -> None:
    later = retried(shell, wait=90.0, options=JobOptions(retries=3).text())
    now = retried(shell)

    [said] = waiting(shell, later)
    [due] = waiting(shell, now)

    assert said.startswith("retrying at ")
    assert said.endswith("as attempt 2, after 1 failure: retry 1, of which 2 more are left")
    assert due.endswith("waits for a free worker, as attempt 2, after 1 failure: retry 1")
    assert "retrying in 1 min after 1 failure: ValueError: no" in shell.run("jobs").out


# ---------------------------------------------------------------------- which job


@pytest.mark.parametrize("length", [8, 9, 13, 14, 20, 35])
def test_the_beginning_of_an_id_is_enough(shell: Shell, length: int) -> None:
    job_id = shell.add()

    done = shell.run("show", job_id[:length].upper())

    assert 0 == done.code
    assert job_id in done.out


def test_the_beginning_of_the_last_possible_id_is_enough(shell: Shell) -> None:
    job_id = shell.add(id=f"{new_id()[:-4]}ffff")

    assert job_id in shell.run("show", job_id[:32]).out


def test_an_ambiguous_beginning_is_refused(shell: Shell) -> None:
    job_id = shell.add()
    shell.add()

    done = shell.run("show", job_id[:8])

    assert (2, "") == (done.code, done.out)
    assert "several ids begin with" in done.err


@pytest.mark.parametrize("typed", ["01234567", "0123456", "nonsense", "-x", "", UNKNOWN])
@pytest.mark.parametrize("command", ["show", "watch"])
def test_a_job_that_is_not_there_is_not_found(shell: Shell, command: str, typed: str) -> None:
    shell.add()

    done = shell.run(command, "--", typed)

    assert (3, "") == (done.code, done.out)
    assert done.err.startswith("afterword: There is no job")


def test_the_note_on_fields_that_were_not_set_is_not_shown(shell: Shell) -> None:
    job_id = shell.add(arguments='{"item":{"size":1},"#unset":[[["size"],[["item"]]]]}')

    for json_option in ((), ("--json",)):
        shown = shell.run("show", job_id, *json_option).out
        assert '"size": 1' in shown
        assert "unset" not in shown


def test_a_job_that_was_cancelled_before_its_time_is_not_due(shell: Shell) -> None:
    job = shell.add(run_at=shell.store.now() + 3600)
    before = facts(shell, job)
    shell.store.cancel([job], "not needed")

    assert "due" in before
    assert "due" not in facts(shell, job)


def test_the_trace_is_shown(shell: Shell) -> None:
    trace = JobOptions(trace={"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"})
    job = shell.add(options=trace.text())

    assert ["trace", "ab" * 16] in [line.split() for line in shell.run("show", job).lines]


def test_the_end_of_the_last_log_is_shown_and_with_full_all_of_them(shell: Shell) -> None:
    attempt = shell.start()
    first = Settlement(attempt, RetryAt(0.0, "ValueError: no"), log=f"{HOSTILE} of the first")
    shell.store.settle([first])
    [attempt] = shell.store.claim(WORKER, ["default"], 1)
    long = "\n".join(f"line {number}" for number in range(1_000))
    shell.store.settle([Settlement(attempt, Failed("KeyError: 7"), log=long)])

    brief = shell.run("show", attempt.id)
    full = shell.run("show", attempt.id, "--full")
    attempts = document(shell, attempt.id)["attempts"]

    assert "log of attempt 2" in brief.out
    assert "more characters before this: --full shows them" in brief.out
    assert "    line 999" in brief.lines
    assert "    line 0" not in brief.lines
    assert "log of attempt 1" not in brief.out
    assert "    line 0" in full.lines
    assert "log of attempt 1" in full.out
    assert "\x1b" not in full.out
    assert [f"{HOSTILE} of the first", long] == [each["log"] for each in attempts]
    assert "    KeyError: 7" == brief.lines[-1]
