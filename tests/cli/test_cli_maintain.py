"""Commands that maintain a store: check, doctor, db, prune, export and import."""

import io
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from afterword.cli import maintain, transfer
from afterword.model.job import JobRecord, JobState, NewJob, new_id
from afterword.store.opening import open_store
from afterword.store.protocol import Declared, Store
from tests.command_line import KINDS, Shell, new_url

# ---------------------------------------------------------------------- check


def test_a_store_that_can_be_used_is_ready(shell: Shell) -> None:
    done = shell.run("check")

    assert (0, f"ok  ready: {shell.store.url}\n", "") == (done.code, done.out, done.err)


def test_without_a_worker_it_is_not_live(shell: Shell) -> None:
    done = shell.run("check", "--live")

    assert 1 == done.code
    assert done.out.startswith("not ok  not live: no worker takes jobs")


def test_a_worker_of_another_queue_is_not_the_one(shell: Shell) -> None:
    shell.join(queues=("default",))

    live, mail = shell.run("check", "--live"), shell.run("check", "--live", "--queue", "mail")

    assert (0, 1) == (live.code, mail.code)
    assert "ok  live: 1 worker," in live.out


def test_check_without_a_store_has_a_status_of_its_own(shell: Shell, tmp_path: Path) -> None:
    shell.url = f"sqlite:///{tmp_path / 'none.db'}"

    done = shell.run("check", "--live", "--json")

    assert 5 == done.code
    assert json.loads(done.out)["ok"] is False


def test_a_damaged_store_is_not_ready(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "bad.db").write_bytes(b"no database" * 1000)
    shell.url = f"sqlite:///{tmp_path / 'bad.db'}"

    assert [5, 5] == [shell.run("check").code, shell.run("doctor").code]


def test_a_queue_without_live_is_a_usage_error(shell: Shell) -> None:
    assert 2 == shell.run("check", "--queue", "mail").code


# ---------------------------------------------------------------------- doctor


def findings(shell: Shell) -> dict[str, str]:
    """Return the levels of the doctor's findings, by subject."""
    lines = shell.run("doctor", "--json").lines
    return {each["name"]: each["level"] for each in map(json.loads, lines)}


def test_the_doctor_finds_nothing_wrong_with_a_served_store(shell: Shell) -> None:
    shell.join()
    shell.add()

    found = findings(shell)
    found.pop("durability", None)  # the tests' server has fast settings

    assert {"ok"} == set(found.values())
    assert {"python", "packages", "store", "workers", "leases", "queues", "waiting"} <= found.keys()


def test_the_doctor_says_what_to_do(shell: Shell) -> None:
    shell.add(queue="mail", run_at=time.time() - 3600)

    done = shell.run("doctor")
    levels = findings(shell)

    assert 1 == done.code
    assert ("problem", "problem") == (levels["queue"], levels["waiting"])
    assert "problem" == levels["workers"]
    assert "none takes jobs; 1 job waits for one" in done.out
    assert "afterword worker module:app --queues mail" in done.out


@pytest.mark.parametrize("shell", ["sqlite"], indirect=True)
def test_the_doctor_looks_at_the_file(shell: Shell, tmp_path: Path) -> None:
    closed = findings(shell)
    (tmp_path / "jobs.db").chmod(0o644)

    done = shell.run("doctor")

    assert ("ok", "ok", "ok") == (closed["file"], closed["rights"], closed["disk"])
    assert 0 == done.code
    assert "other users may open it (644)" in done.out
    assert "chmod go=" in done.out


def test_the_doctor_looks_at_the_installation_before_the_store(shell: Shell) -> None:
    shell.url = "sqlite:///none.db"

    done = shell.run("doctor")

    assert 5 == done.code
    assert "python" in done.lines[0]
    assert "problem  store: There is no store" in done.lines[-2]
    assert "afterword db migrate" in done.lines[-1]


def test_no_password_is_shown(shell: Shell) -> None:
    done = shell.run("doctor", "--url", "postgresql://ada:s3cret@127.0.0.1:1/app?connect_timeout=1")

    assert 0 != done.code
    assert "s3cret" not in done.out + done.err


# ---------------------------------------------------------------------- db


def test_migrating_makes_a_store_and_is_harmless_again(shell: Shell, tmp_path: Path) -> None:
    shell.url = f"sqlite:///{tmp_path / 'new.db'}"

    codes = [shell.run("db", *words).code for words in (["status"], ["migrate"], ["migrate"])]
    status = shell.run("db", "status")

    assert [5, 0, 0] == codes
    assert 0 == status.code
    assert [f"url         {shell.url}", "durability  power-loss"] == status.lines[:2]


def test_the_status_of_the_schema_for_a_program(shell: Shell) -> None:
    said = json.loads(shell.run("db", "status", "--json").out)

    assert (shell.store.url, shell.store.identity) == (said["url"], said["identity"])


def test_the_script_is_all_of_the_sql_and_needs_no_store(shell: Shell, tmp_path: Path) -> None:
    done = shell.run("db", "sql")
    elsewhere = shell.run("db", "sql", "--url", "sqlite:///none.db")

    assert shell.store.script().strip() == done.out.strip()
    assert "CREATE TABLE" in elsewhere.out
    assert not (tmp_path / "none.db").exists()


# ---------------------------------------------------------------------- prune


def test_pruning_deletes_what_ended_long_ago(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintain, "_BATCH", 2)
    old = [shell.end() for _ in range(5)]
    time.sleep(0.05)
    waiting = shell.add(queue="mail")

    counted = shell.run("prune", "--older-than", "0.02s", "--dry-run", "--json")
    done = shell.run("prune", "--older-than", "0.02s")

    assert {"matching": 5, "more_than_counted": False} == json.loads(counted.out)
    assert done.out.startswith("deleted 5 jobs that ended before ")
    assert [waiting] == [job.id for job in shell.store.get([*old, waiting])]


def test_pruning_leaves_what_ended_lately(shell: Shell) -> None:
    shell.end()

    assert {"deleted": 0, "more_than_counted": False} == json.loads(
        shell.run("prune", "--older-than", "1h", "--json").out
    )
    assert shell.run("prune", "--older-than", "1h", "--dry-run").out.startswith("would delete 0 ")


# ---------------------------------------------------------------------- export, import


@pytest.fixture
def other(shell: Shell, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    """Another store, of another kind if possible."""
    kind = KINDS[-1] if shell.url.startswith("sqlite") else "sqlite"
    store = open_store(new_url(kind, tmp_path, request, name="other"))
    store.open()
    yield store
    store.close()


def known(store: Store) -> list[JobRecord]:
    """Return all jobs, without fields that differ between two stores."""
    return [replace(job, worker=None) for job in store.find(limit=10_000)]


def test_a_store_is_moved_with_all_its_jobs(
    shell: Shell, other: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(transfer, "_BATCH", 2)
    shell.end()
    shell.fail("Traceback\nValueError: \x1b[31mno")
    shell.add(queue="mail", run_at=time.time() + 3600, arguments='{"to": "Zoë"}')
    first = shell.add(queue="mail", request_id=(request := new_id()))
    second = shell.add(queue="mail", after=first, request_id=request)
    third = shell.add(queue="mail", after=second, request_id=request)

    exported = shell.run("export", "jobs.jsonl")
    imported = shell.run("import", "jobs.jsonl", "--url", other.url)
    again = shell.run("import", "jobs.jsonl", "--url", other.url, "--json")

    assert (0, "", "Exported 6 jobs.") == (
        exported.code,
        exported.out,
        exported.err.splitlines()[-1],
    )
    assert "imported 6 jobs, 0 existed already\n" == imported.out
    assert {"imported": 0, "already_there": 6} == json.loads(again.out)
    assert known(shell.store) == known(other)
    assert {second: first, third: second} == {
        job.id: job.after for job in other.get([second, third])
    }
    assert 0o600 == (tmp_path / "jobs.jsonl").stat().st_mode & 0o777


def test_a_running_job_is_queued_again_elsewhere(shell: Shell, other: Store) -> None:
    running = shell.start()

    exported = shell.run("export", "jobs.jsonl")
    shell.run("import", "jobs.jsonl", "--url", other.url)

    [job] = other.get([running.id])
    assert "Stop the workers first" in exported.err
    assert (JobState.QUEUED, 1) == (job.state, job.attempt)


def test_a_pipe_is_as_good_as_a_file(
    shell: Shell, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = shell.add()

    text = shell.run("export").out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), "ascii"))
    imported = shell.run("import", "--url", other.url)

    assert "imported 1 job, 0 existed already\n" == imported.out
    assert [job_id] == [job.id for job in other.find()]


def test_an_export_names_the_rules_that_it_leaves_out(shell: Shell) -> None:
    shell.store.pause(["mail"])
    shell.store.limit({"mail": 5})
    shell.store.declare([Declared(name="a b", task="app:f", rule="x", words="", next_at=0.0)])
    shell.store.pause_schedule("a b", True)

    done = shell.run("export")

    assert 2 == len(done.lines)
    assert [
        "    afterword queues pause mail",
        "    afterword queues limit mail 5",
        "    afterword schedules pause 'a b'",
    ] == done.err.splitlines()[-3:]


def test_more_than_a_page_is_exported_once(
    shell: Shell, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterword.admin.ids.PAGE", 3)
    ids = [shell.add() for _ in range(10)]

    shell.run("export", "jobs.jsonl")
    shell.run("import", "jobs.jsonl", "--url", other.url)

    assert ids == sorted(job.id for job in other.find())


def test_an_export_never_writes_over_a_file(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "jobs.jsonl").write_text("precious")

    done = shell.run("export", "jobs.jsonl")

    assert 2 == done.code
    assert "precious" == (tmp_path / "jobs.jsonl").read_text()


def test_an_export_that_cannot_be_written_is_a_usage_error(shell: Shell) -> None:
    done = shell.run("export", "nowhere/jobs.jsonl")

    assert (2, 1) == (done.code, len(done.err.splitlines()))
    assert "No such file or directory" in done.err


def test_a_file_that_was_cut_off_is_imported_as_far_as_it_goes(
    shell: Shell, other: Store, tmp_path: Path
) -> None:
    shell.add()
    shell.run("export", "jobs.jsonl")
    lines = (tmp_path / "jobs.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "jobs.jsonl").write_text("".join(lines[:-1]))

    done = shell.run("import", "jobs.jsonl", "--url", other.url)

    assert (2, "") == (done.code, done.out)
    assert "was cut off" in done.err
    assert 1 == len(other.find())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"task": "a:\ud800"}, "Line 3 of the file cannot be imported: task holds"),
        ({"queue": "a\0"}, "Line 3 of the file cannot be imported: queue holds"),
        ({"unique_key": "key"}, "job {taken} of the store have the same one, 'key'"),
        ({"after": "{id}"}, "Line 3 of the file cannot be imported: job {id} follows itself"),
    ],
    ids=str,
)
@pytest.mark.parametrize("streamed", [False, True])
def test_nothing_is_imported_if_one_job_cannot_be(
    values: dict[str, str],
    said: str,
    streamed: bool,
    shell: Shell,
    other: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shell.add()
    sound = shell.add()
    taken = NewJob(id=new_id(), task="shop:pack", unique_key="key")
    other.add([taken])
    shell.run("export", "jobs.jsonl")
    header, first, second, footer = (tmp_path / "jobs.jsonl").read_text().splitlines()
    job = json.loads(second)
    ids = {"id": job["id"], "taken": taken.id}
    odd = json.dumps({**job, **{name: text.format(**ids) for name, text in values.items()}})
    text = "\n".join([header, first, odd, footer])
    (tmp_path / "jobs.jsonl").write_text(text)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    done = shell.run("import", "-" if streamed else "jobs.jsonl", "--url", other.url)

    assert (2, "") == (done.code, done.out)
    assert said.format(**ids) in done.err
    assert [taken.id] == [each.id for each in other.find()]
    assert sound in (first + second)


def test_a_unique_key_that_is_taken_by_the_same_job_is_none_of_another(
    shell: Shell, other: Store, tmp_path: Path
) -> None:
    shell.add(unique_key="key")
    shell.run("export", "jobs.jsonl")
    codes = [shell.run("import", "jobs.jsonl", "--url", other.url).code for _ in range(2)]

    assert [0, 0] == codes
    assert ["key"] == [each.unique_key for each in other.find()]


def test_what_is_no_export_is_refused(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(b"hello\n")
    (tmp_path / "bytes.bin").write_bytes(b"\xff\xfe\x00")

    for name in ("text.txt", "bytes.bin", "missing", "."):
        done = shell.run("import", name)
        assert (2, 1) == (done.code, len(done.err.splitlines())), name


def test_a_store_that_was_not_made_takes_no_import(shell: Shell, tmp_path: Path) -> None:
    shell.run("export", "jobs.jsonl")

    done = shell.run("import", "jobs.jsonl", "--url", "sqlite:///new.db")

    assert 5 == done.code
    assert "afterword db migrate" in done.err
    assert not (tmp_path / "new.db").exists()
