"""Commands that change jobs: one by one, all that match, and a new one."""

import json
import time
from pathlib import Path

import pytest

from afterword.admin import changes
from afterword.model.job import JobOptions, JobState, new_id
from tests.command_line import Shell
from tests.pty_session import PtySession

# ---------------------------------------------------------------------- one by one


def test_a_failed_job_is_retried(shell: Shell) -> None:
    failed = shell.fail()

    done = shell.run("retry", failed)

    assert (0, f"{failed}  retried\n", "") == (done.code, done.out, done.err)
    assert (JobState.QUEUED, 1) == (shell.job(failed).state, shell.job(failed).attempt)


def test_a_queued_job_is_cancelled_and_says_by_whom(shell: Shell) -> None:
    queued = shell.add()

    done = shell.run("cancel", queued[:13])

    assert (0, f"{queued}  cancelled\n") == (done.code, done.out)
    assert "cancelled on the command line" == shell.job(queued).error


def test_jobs_that_do_not_run_are_deleted(shell: Shell) -> None:
    queued, failed = shell.add(queue="mail"), shell.fail()

    done = shell.run("delete", queued, failed)

    assert 0 == done.code
    assert [] == list(shell.store.get([queued, failed]))


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("retry", "only a job that has ended can be retried"),
        ("delete", "a running job cannot be deleted"),
    ],
)
def test_a_running_job_is_refused(shell: Shell, command: str, why: str) -> None:
    running = shell.start().id

    done = shell.run(command, running)

    assert (4, f"{running}  refused: it is running, and {why}\n") == (done.code, done.out)
    assert JobState.RUNNING is shell.job(running).state


def test_a_running_job_is_asked_to_end(shell: Shell) -> None:
    running = shell.start().id

    done = shell.run("cancel", running)
    document = json.loads(shell.run("cancel", running, "--json").out)

    assert (0, f"{running}  asked to end\n", "") == (done.code, done.out, done.err)
    assert {"id": running, "result": "asked to end"} == document
    assert JobState.RUNNING is shell.job(running).state
    assert "cancelled on the command line" == shell.job(running).cancelling


def test_a_job_that_has_ended_cannot_be_cancelled(shell: Shell) -> None:
    ended = shell.end()

    done = shell.run("cancel", ended)

    why = "only a job that has not ended can be cancelled"
    assert (4, f"{ended}  refused: it is completed, and {why}\n") == (done.code, done.out)


def test_each_job_has_a_line_and_not_found_weighs_most(shell: Shell) -> None:
    failed, running, missing = shell.fail(), shell.start().id, new_id()

    done = shell.run("retry", "--json", failed, running, missing, "nonsense")

    assert 3 == done.code
    assert [
        {"id": failed, "result": "retried"},
        {"id": running, "result": "refused", "state": "running"},
        {"id": missing, "result": "not found"},
        {"id": "nonsense", "result": "not found"},
    ] == [json.loads(line) for line in done.lines]


def test_an_id_that_is_named_twice_counts_once(shell: Shell) -> None:
    failed = shell.fail()

    assert [f"{failed}  retried"] == shell.run("retry", failed, failed).lines


def test_an_ambiguous_id_changes_nothing(shell: Shell) -> None:
    failed, other = shell.fail(), shell.fail()

    done = shell.run("retry", failed, other[:8])

    assert (2, "") == (done.code, done.out)
    assert JobState.FAILED is shell.job(failed).state


@pytest.mark.parametrize(
    "arguments",
    [[], ["ID", "--all"], ["ID", "--task", "x"], ["--task", "x"], ["ID", "--dry-run"]],
)
@pytest.mark.parametrize("command", ["retry", "cancel", "delete"])
def test_ids_and_filters_are_not_mixed(shell: Shell, command: str, arguments: list[str]) -> None:
    queued = shell.add()

    done = shell.run(command, *(queued if each == "ID" else each for each in arguments))

    assert (2, "") == (done.code, done.out)
    assert "by their ids, or by --all" in done.err
    assert JobState.QUEUED is shell.job(queued).state


# ---------------------------------------------------------------------- all that match


def states(shell: Shell) -> dict[str, int]:
    """Count the jobs in each state."""
    return {str(state): number for state, number in shell.store.count().items() if number}


def test_all_failed_jobs_are_retried_in_batches(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "BATCH", 2)
    for _ in range(5):
        shell.fail()
    shell.end()

    done = shell.run("retry", "--all", "--yes")

    assert (0, "retried 5 jobs\n") == (done.code, done.out)
    assert {"queued": 5, "completed": 1} == states(shell)


def test_all_that_match_and_no_others(shell: Shell) -> None:
    kept = [shell.fail("KeyError"), shell.fail("ValueError", task="shop:pay")]
    retried = shell.fail("ValueError: no")

    done = shell.run(
        "retry", "--all", "--yes", "--task", "shop:pack", "--error", "ValueError", "--json"
    )

    assert {"retried": 1, "refused": 0} == json.loads(done.out)
    assert JobState.QUEUED is shell.job(retried).state
    assert {JobState.FAILED} == {shell.job(each).state for each in kept}


def test_deleting_all_leaves_what_has_not_ended(shell: Shell) -> None:
    shell.fail()
    shell.end()
    shell.start()
    shell.add(queue="mail")

    first = shell.run("delete", "--all", "--yes")
    second = shell.run("delete", "--all", "--yes", "--state", "queued")

    assert ["deleted 2 jobs", "deleted 1 job"] == first.lines + second.lines
    assert {"running": 1} == states(shell)


def test_cancelling_all_is_about_queued_jobs(shell: Shell) -> None:
    shell.start()
    shell.add(queue="mail")

    assert ["cancelled 1 job"] == shell.run("cancel", "--all", "--yes").lines
    assert {"running": 1, "cancelled": 1} == states(shell)


def test_all_running_jobs_can_be_asked_to_end(shell: Shell) -> None:
    shell.start(tags=("import",))
    other = shell.start().id
    shell.add(queue="mail", tags=("import",))

    arguments = ("cancel", "--all", "--yes", "--state", "running", "--tag", "import")
    done = shell.run(*arguments)
    document = json.loads(shell.run(*arguments, "--json").out)

    assert (0, "asked 1 job to end\n") == (done.code, done.out)
    assert {"cancelled": 0, "asked_to_end": 1, "refused": 0} == document
    assert shell.job(other).cancelling is None


@pytest.mark.parametrize("command", ["retry", "cancel", "delete"])
def test_no_job_that_matches_is_no_failure(shell: Shell, command: str) -> None:
    kept = shell.fail(tags=("export",))

    done = shell.run(command, "--all", "--yes", "--tag", "import")

    assert (0, "") == (done.code, done.err)
    assert done.out.endswith("ed 0 jobs\n")
    assert JobState.FAILED is shell.job(kept).state


@pytest.mark.parametrize(
    ("command", "state"),
    [("retry", "running"), ("retry", "queued"), ("delete", "running"), ("cancel", "failed")],
)
def test_a_state_in_which_it_cannot_be_done_is_refused(
    shell: Shell, command: str, state: str
) -> None:
    done = shell.run(command, "--all", "--yes", "--state", state)

    assert 2 == done.code
    assert f"--state cannot be {state}" in done.err


def test_a_dry_run_changes_nothing_and_says_the_scope(shell: Shell) -> None:
    shell.fail("no", task="shop:pay", tags=("eu",))

    narrowed = ("--task", "shop:pay", "--tag", "eu", "--error", "no")
    arguments = ("retry", "--all", "--dry-run", *narrowed)
    done = shell.run(*arguments)
    document = json.loads(shell.run(*arguments, "--json").out)

    assert "would retry 1 failed job with task shop:pay, tag eu, error 'no'\n" == done.out
    assert (1, False) == (document["matching"], document["more_than_counted"])
    assert {"failed": 1} == states(shell)


def test_without_a_terminal_all_needs_a_yes(shell: Shell) -> None:
    shell.fail()

    done = shell.run("retry", "--all")

    assert (2, "") == (done.code, done.out)
    assert "changes 1 failed job" in done.err
    assert "--yes" in done.err
    assert {"failed": 1} == states(shell)


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, "queued"), ("n", 1, "failed")])
def test_in_a_terminal_it_asks(shell: Shell, answer: str, code: int, left: str) -> None:
    shell.fail()

    environment = {"AFTERWORD_URL": shell.url}
    with PtySession("retry", "--all", environment=environment) as terminal:
        terminal.wait_for("Retry 1 failed job? [y/N]:")
        terminal.press(answer + "\n")

        assert code == terminal.wait()
    assert {left: 1} == states(shell)


# ---------------------------------------------------------------------- a new one

APPLICATION = """
from fastapi import FastAPI

from afterword import Afterword, Progress, task

app = FastAPI()
afterword = Afterword(app, url={url!r})


@task(queue="mail", priority=5, tags=["mail"], limit=1, key=lambda to: to)
def send(to: str, copies: int = 1) -> None: ...


def scan(progress: Progress, path: str, *more: str) -> None: ...
"""

OPTIONS = (
    *("--delay", "1h", "--queue", "slow", "--priority", "-3", "--unique", "once"),
    *("--retries", "2", "--timeout", "30", "--tag", "a", "--tag", "b"),
)


@pytest.fixture
def application(shell: Shell, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A new module for each test, because it stays imported."""
    name = f"shop_{abs(hash(request.node.name)):x}"
    (tmp_path / f"{name}.py").write_text(APPLICATION.format(url=shell.url))
    return name


def test_a_job_is_added_by_the_name_of_its_task(shell: Shell) -> None:
    done = shell.run("run", "shop:pack", "--json", '{"order": 7}')

    job = shell.job(done.out.strip())
    assert 0 == done.code
    assert ("shop:pack", '{"order":7}', "default") == (job.task, job.arguments, job.queue)
    assert JobState.QUEUED is job.state
    assert "without --app, task and arguments are not checked" in done.err
    assert "No worker serves the queue default now" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["shop"], "module:function"),
        (["shop:pack\n"], "module:function"),
        (["shop:pack", "--json", "{"], "must be valid JSON"),
        (["shop:pack", "--json", "[1]"], "must be an object"),
        (["shop:pack", "--queue", "m a i l"], "A queue's name"),
        (["shop:pack", "--priority", "1001"], "priority must be"),
        (["shop:pack", "--retries", "-1"], "retries must be"),
        (["shop:pack", "--timeout", "0"], "timeout must be"),
        (["shop:pack", "--timeout", "nan"], "must be a number"),
        (["shop:pack", "--delay", "36550d"], "delay must be"),
        (["shop:pack", "--delay", "soon"], "such as 90s"),
        (["shop:pack", "--unique", ""], "unique must be"),
        (["shop:pack", "--tag", "a", "--tag", ""], "A tag must be"),
    ],
)
def test_what_cannot_be_a_job_is_a_usage_error(
    shell: Shell, arguments: list[str], said: str
) -> None:
    done = shell.run("run", *arguments)

    assert (2, "") == (done.code, done.out)
    assert said in done.err
    assert {} == states(shell)


@pytest.mark.parametrize(
    "text",
    ['{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}', '{"a": "%s"}' % ("x" * 300_000)],
)
def test_what_no_store_takes_is_refused(shell: Shell, text: str) -> None:
    done = shell.run("run", "shop:pack", "--json", text)

    assert (2, "") == (done.code, done.out)
    assert 1 == len(done.err.splitlines())
    assert {} == states(shell)


def test_with_the_application_the_arguments_are_checked(shell: Shell, application: str) -> None:
    run = ("run", f"{application}:send", "--app", f"{application}:app", "--json")

    added = shell.run(*run, '{"to": "ada"}')
    refused = shell.run(*run, '{"whom": "ada"}')

    job = shell.job(added.out.strip())
    assert ("mail", '{"to":"ada"}') == (job.queue, job.arguments)
    assert 2 == refused.code
    assert "does not fit" in refused.err
    assert ": whom: Extra inputs are not permitted\n" in refused.err
    assert 1 == len(refused.err.splitlines())
    assert {"queued": 1} == states(shell)


def test_without_the_application_a_task_that_has_jobs_is_suggested(shell: Shell) -> None:
    shell.end(task="shop:send")

    typed = shell.run("run", "shop:sned")
    other = shell.run("run", "warehouse:count")

    assert "are not checked. Did you mean 'shop:send'?" in typed.err
    assert "Did you mean" not in other.err
    assert "Did you mean" not in shell.run("run", "shop:send").err


def test_what_is_injected_is_no_argument(shell: Shell, application: str) -> None:
    run = ("run", f"{application}:scan", "--app", f"{application}:app", "--json")

    added = shell.run(*run, '{"path": "a", "*more": ["b"]}')
    refused = shell.run(*run, '{"path": "a", "progress": 1}')

    assert 0 == added.code, added.err
    assert '{"path":"a","*more":["b"]}' == shell.job(added.out.strip()).arguments
    assert 2 == refused.code
    assert f"does not fit {application}:scan(path: str, *more: str)" in refused.err


def test_with_the_application_the_task_is_checked(shell: Shell, application: str) -> None:
    done = shell.run("run", f"{application}:sned", "--app", f"{application}:app")

    assert 3 == done.code
    assert f"Did you mean '{application}:send'?" in done.err
    assert f"{application}:sned" in done.err
    assert {} == states(shell)


def test_with_the_application_its_store_is_used(shell: Shell, application: str) -> None:
    shell.url = "sqlite:///other.db"

    done = shell.run(
        *("run", f"{application}:send", "--app", f"{application}:app"),
        *("--json", '{"to": "ada", "copies": 2}'),
    )

    assert 0 == done.code
    assert '{"to":"ada","copies":2}' == shell.job(done.out.strip()).arguments


def test_what_is_said_of_a_job_is_stored_with_it(shell: Shell) -> None:
    before = time.time()

    job = shell.job(shell.run("run", "shop:pack", *OPTIONS).out.strip())

    assert ("slow", -3, "once", ("a", "b")) == (job.queue, job.priority, job.unique_key, job.tags)
    assert JobOptions(retries=2, timeout=30.0) == JobOptions.read(job.options)
    assert 3600 <= job.run_at.timestamp() - before < 3660


def test_what_is_not_said_of_a_job_is_as_its_task_has_it(shell: Shell, application: str) -> None:
    run = ("run", f"{application}:send", "--app", f"{application}:app", "--json", '{"to": "ada"}')

    plain = shell.job(shell.run(*run).out.strip())
    special = shell.job(shell.run(*run, *OPTIONS).out.strip())

    assert ("mail", 5, ("mail",)) == (plain.queue, plain.priority, plain.tags)
    assert ("slow", -3, ("mail", "a", "b")) == (special.queue, special.priority, special.tags)
    assert plain.limit_key == special.limit_key == f"{application}:send:ada"
    assert JobOptions(retries=2, timeout=30.0, limit=1) == JobOptions.read(special.options)


def test_a_unique_job_is_added_once(shell: Shell) -> None:
    first = shell.run("run", "shop:pack", "--unique", "once")
    same = shell.run("run", "shop:pack", "--unique", "once")
    other = shell.run("run", "shop:pack", "--unique", "once", "--json", '{"order": 7}')

    assert [0, 0, 0] == [first.code, same.code, other.code]
    assert first.out == same.out == other.out
    assert ["Not added: a job with this unique key has not ended."] == same.err.splitlines()
    assert "has not ended, with other arguments" in other.err
    assert {"queued": 1} == states(shell)


def test_waiting_for_a_new_job_has_an_end(shell: Shell) -> None:
    done = shell.run("run", "shop:pack", "--wait", "--wait-timeout", "0.01")

    assert (1, "") == (done.code, done.out)
    assert "Not ended after 0.01 s; it is queued." in done.err


def test_all_that_a_search_finds_are_changed(shell: Shell) -> None:
    ids = [shell.fail(arguments=f'{{"n": {number}}}') for number in range(3)]

    dry = shell.run("retry", "--all", "--search", "arg.n:1", "--dry-run")
    done = shell.run("retry", "--all", "--search", "arg.n:1", "--yes")

    assert "would retry 1 failed job with argument n '1'\n" == dry.out
    assert "retried 1 job\n" == done.out
    assert ["failed", "queued", "failed"] == [shell.job(each).state for each in ids]


def test_a_search_for_ids_does_not_change_all(shell: Shell) -> None:
    job_id = shell.fail()

    done = shell.run("delete", "--all", "--search", f"id:{job_id[-8:]}", "--yes")

    assert 2 == done.code
    assert "must not name ids" in done.err
    assert "failed" == shell.job(job_id).state
