"""`afterword audit`, and the changes of the command line in it."""

import json
import os
import socket
from pathlib import Path

import pytest

from afterword.cli.person import this_person
from tests.command_line import Shell


def acts(shell: Shell) -> list[tuple[str, str, int]]:
    """Return this person's audited actions, the oldest first."""
    found = list(reversed(shell.store.audit()))
    assert {(this_person().name, "command line")} >= {(each.name, each.place) for each in found}
    return [(each.action, each.target, each.count) for each in found]


def test_changes_of_jobs_are_in_the_audit(shell: Shell) -> None:
    failed, other, running = shell.fail(), shell.fail(), shell.start().id

    shell.run("retry", failed, other, running)
    shell.run("cancel", failed)
    shell.run("delete", failed)

    assert [
        ("retry", f"{failed}, {other}, {running}", 2),
        ("cancel", failed, 1),
        ("delete", failed, 1),
    ] == acts(shell)


def test_a_change_of_all_that_match_is_one_action(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterword.admin.changes.BATCH", 1)
    for _ in range(3):
        shell.add(arguments='{"user": "u7"}')

    shell.run("cancel", "--all", "--task", "shop:pack", "--search", "arg.user:u7", "--dry-run")
    shell.run("cancel", "--all", "--task", "shop:pack", "--search", "arg.user:u7", "--yes")

    assert [("cancel", "queued jobs with task shop:pack, argument user", 3)] == acts(shell)


def test_other_changes_are_in_the_audit(shell: Shell, tmp_path: Path) -> None:
    shell.end()
    shell.run("export", str(tmp_path / "jobs.jsonl"))
    shell.run("prune", "--older-than", "0s")
    shell.run("import", str(tmp_path / "jobs.jsonl"))
    shell.run("import", str(tmp_path / "jobs.jsonl"))
    shell.run("queues", "pause", "mail", "news")
    shell.run("queues", "resume", "mail")
    shell.run("queues", "limit", "mail", "none")
    shell.run("queues", "limit", "mail", "5")
    added = shell.run("run", "shop:pack", "--unique", "once").lines[0]
    shell.run("run", "shop:pack", "--unique", "once")

    assert [
        ("prune", "jobs that ended more than 0 s ago", 1),
        ("import", "jobs.jsonl", 1),
        ("pause", "mail, news", 2),
        ("resume", "mail", 1),
        ("limit", "mail: 5", 1),
        ("run", f"shop:pack, {added}", 1),
    ] == acts(shell)


def test_the_person_is_the_user_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "admin-1")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setenv("USER", "somebody-else")
    assert "root@admin-1" == this_person().name

    monkeypatch.setenv("SUDO_USER", "sue")
    assert "root@admin-1 (sudo by sue)" == this_person().name

    monkeypatch.setattr(os, "getuid", lambda: 4_123_456_789)
    monkeypatch.delenv("SUDO_USER")
    assert "uid 4123456789@admin-1" == this_person().name


def test_the_audit_is_listed(shell: Shell) -> None:
    job_id = shell.add()
    shell.run("queues", "pause", "mail")
    shell.run("cancel", job_id)

    done = shell.run("audit")
    document = json.loads(shell.run("audit", "--json", "--action", "cancel").out)

    assert ["at", "name", "place", "action", "changed", "on"] == done.lines[0].split()
    assert done.lines[1].split()[-4:] == ["cancel", "1", "job", job_id]
    assert done.lines[2].split()[-4:] == ["pause", "1", "queue", "mail"]
    expected = ("cancel", job_id, 1, "command line", this_person().name)
    fields = ("action", "target", "count", "place", "name")
    assert expected == tuple(document[each] for each in fields)


def test_the_audit_is_searched_in_pages(shell: Shell) -> None:
    for name in "abc":
        shell.run("queues", "pause", name)
        shell.run("queues", "resume", name)

    first = shell.run("audit", "--action", "pause", "--limit", "2")
    before = first.err.split()[-1]
    second = shell.run("audit", "--action", "pause", "--limit", "2", "--before", before)
    of_b = shell.run("audit", "--target", "b")

    assert ["c", "b"] == [line.split()[-1] for line in first.lines[1:]]
    assert ["a"] == [line.split()[-1] for line in second.lines[1:]]
    assert ["b", "b"] == [line.split()[-1] for line in of_b.lines[1:]]
    assert "No change matches." in shell.run("audit", "--name", "nobody").err
    assert 2 == shell.run("audit", "--before", "nonsense").code


def test_an_empty_audit(shell: Shell) -> None:
    done = shell.run("audit")

    assert (0, "", "No changes have been made yet.\n") == (done.code, done.out, done.err)
