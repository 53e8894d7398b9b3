"""Faults of disks (F14 to F18): a disk fills up, fails, or loses or damages the store's file."""

import os
import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import apsw

from afterword.errors import AfterwordError
from afterword.model.job import NewJob, new_id
from afterword.model.outcome import Completed
from afterword.store.opening import open_store
from afterword.store.protocol import Settlement
from chaos.findings import Finding, judge
from chaos.lab import SQLITE, Lab
from chaos.storm import seconds_until, storm
from tests.crash.faults import Result
from tests.crash.fleet import Clients, Fleet, sqlite_in
from tests.helpers import wait_until

MEGABYTE = 1_000_000
SIZES = {"SQLite": 8, "PostgreSQL": 40}  # megabytes; an empty database has about 8
PAGE = 4096
FINE = ("refused", "all there", "a value changed")
UNKNOWABLE = ("-wal deleted", "-wal cut short")  # SQLite takes such a log as complete


@contextmanager
def small_disk(lab: Lab) -> Iterator[tuple[Path, str]]:
    """Mount a small disk and make a store on it. Needs root."""
    folder = (lab.folder if lab.kind == SQLITE else lab.cluster.folder) / "small"
    folder.mkdir()
    size = SIZES[lab.kind]
    _run("mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(folder))
    try:
        yield folder, sqlite_in(folder) if lab.kind == SQLITE else _database_on(lab, folder)
    finally:
        if lab.kind != SQLITE:
            lab.cluster.execute("DROP DATABASE IF EXISTS small WITH (FORCE)")
            lab.cluster.execute("DROP TABLESPACE IF EXISTS small")
        _run("umount", "--lazy", str(folder))


def _database_on(lab: Lab, folder: Path) -> str:
    """Make a database with its tables on this disk; the server's WAL is elsewhere."""
    owner = lab.cluster.folder.stat()
    os.chown(folder, owner.st_uid, owner.st_gid)
    lab.cluster.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
    lab.cluster.execute("CREATE DATABASE small TEMPLATE template0 TABLESPACE small")
    return lab.cluster.url("small")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)  # noqa: S603 - mount and umount


def fill_the_disk(lab: Lab) -> Finding:
    """F14, F15: the disk is full while jobs are added, and while others run and end."""
    return judge(
        "F14",
        lab,
        f"a disk of {SIZES[lab.kind]} MB fills up while jobs are added and others run (F15);"
        " 6 s later 1 MB of it is free again",
        _fill_the_disk,
        required="503 with Retry-After; 0 lost, 0 completed twice; works within 10 s, no restart",
    )


def _fill_the_disk(lab: Lab) -> Result:
    clients = Clients(seconds=0.0)
    with small_disk(lab) as (folder, url):
        fleet = lab.fleet(2, url=url, ORDER="concurrent")
        with fleet.running():
            fleet.begin(clients, "work", seconds=3.0, jobs=8)
            ballast = Ballast(folder)
            ballast.fill()
            with clients.loading(fleet.servers, jobs=3):
                wait_until(
                    lambda: ballast.fill() and clients.refusals,
                    description="a request is refused",
                    timeout=60,
                )
                time.sleep(6.0)  # the attempts that ran have ended, and cannot be settled
                full = len(clients.refusals)
                ballast.free_some()
                acked = len(clients.acked)
                works = seconds_until(
                    lambda: len(clients.acked) > acked, description="orders taken", timeout=60
                )
            ballast.free_all()
            fleet.wait_finished(timeout=60)
            for server in fleet.servers:
                server.stop()
            polite = [
                each.status_code == 503 and "retry-after" in each.headers
                for each in clients.refusals
            ]
            notes = [
                f"{full} requests refused, {polite.count(False)} of them otherwise than asked",
                f"worked again after {works:.1f} s",
            ]
            well = all(polite) and full > 0 and works < 10
            return Result(fleet.verdict(clients), 1, fleet.logs(), notes, well)


class Ballast:
    """Files that fill a disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0

    def fill(self) -> bool:
        """Write files until the disk is full; the first one has 1 MB."""
        for size in (MEGABYTE, 64_000, 4_096, 1_024):
            while self._write(size):
                pass
        return True

    def _write(self, size: int) -> bool:
        self._number += 1
        file = self._folder / f"ballast-{self._number:04}"
        try:
            file.write_bytes(bytes(size))
        except OSError:
            file.unlink(missing_ok=True)
            return False
        return True

    def free_some(self) -> None:
        """Remove 1 MB."""
        max(self._files(), key=lambda file: file.stat().st_size).unlink()

    def free_all(self) -> None:
        """Remove everything."""
        for file in self._files():
            file.unlink()

    def _files(self) -> list[Path]:
        return list(self._folder.glob("ballast-*"))


def fail_writes(lab: Lab, *, seconds: float = 20.0, one_in: int = 50) -> Finding:
    """F16: some of the writes and syncs of SQLite fail. Needs a C compiler."""
    return judge(
        "F16",
        lab,
        f"one in {one_in} writes and syncs of 3 processes under load fails with EIO",
        lambda room: _fail_writes(room, seconds, one_in),
        required="0 lost, 0 completed twice; the file is sound",
    )


def _fail_writes(lab: Lab, seconds: float, one_in: int) -> Result:
    layer, switch = lab.folder / "eio.so", lab.folder / "disk-fails"
    _run("cc", "-shared", "-fPIC", "-o", str(layer), str(Path(__file__).with_name("eio.c")))

    def fail(fleet: Fleet) -> None:
        switch.touch()
        time.sleep(seconds)
        switch.unlink()

    result, clients = storm(lab, fail, times=1, every=1.0, LD_PRELOAD=layer, EIO_ONE_IN=one_in)
    sound = _check(lab.folder / "jobs.db")
    notes = [*result.notes, f"integrity_check: {sound}"]
    return replace(result, notes=notes, well=sound == "ok" and bool(clients.refusals))


def _check(file: Path) -> str:
    connection = apsw.Connection(str(file))
    (answer,) = connection.execute("PRAGMA integrity_check").fetchall()[0]
    connection.close()
    return str(answer)


def lose_the_file(lab: Lab) -> Finding:
    """F17: the store's file, or its folder, goes away while it is open."""
    deeds: Mapping[str, Callable[[Path], object]] = {
        "file deleted": lambda folder: (folder / "jobs.db").unlink(),
        "folder removed": shutil.rmtree,
        "folder renamed": lambda folder: folder.rename(folder.with_name("elsewhere")),
    }
    seen = {name: _lose(lab.room(name.replace(" ", "-")), deed) for name, deed in deeds.items()}
    return Finding(
        name="F17",
        store=lab.kind,
        question="the file is deleted, its folder is removed, or renamed, under a running server",
        required="requests are refused within 5 s, and no new empty file is made",
        measured="; ".join(
            f"{name}: refused after {seconds:.1f} s, {'NEW FILE' if new else 'no new file'}"
            for name, (seconds, new) in seen.items()
        ),
        passed=all(seconds < 5 and not new for seconds, new in seen.values()),
    )


def _lose(lab: Lab, deed: Callable[[Path], object]) -> tuple[float, bool]:
    folder = lab.room("store").folder
    fleet, clients = lab.fleet(1, url=sqlite_in(folder)), Clients(seconds=0.0)
    (server,) = fleet.servers
    with fleet.running(), server.client() as client:
        clients.send(client)
        deed(folder)
        seconds = seconds_until(
            lambda: clients.send(client) and clients.refusals,
            description="a request is refused",
            timeout=30,
        )
        time.sleep(2.0)
        return seconds, (folder / "jobs.db").exists()


def damage_the_file(lab: Lab, *, flips: int = 200) -> Finding:
    """F18: the store's files come back damaged."""
    original = lab.room("original").folder
    _make_store(original)
    whole = _known(original)
    dice = random.Random(18)
    damages: list[tuple[str, Callable[[Path], object]]] = [
        *(("a byte flipped", lambda folder: _flip(folder, dice)) for _ in range(flips)),
        *(("a page zeroed", lambda folder: _zero(folder, dice)) for _ in range(flips // 4)),
        *(("cut short", lambda folder: _truncate(folder, dice)) for _ in range(flips // 10)),
        ("-wal deleted", lambda folder: (folder / "jobs.db-wal").unlink()),
        ("-shm deleted", lambda folder: (folder / "jobs.db-shm").unlink()),
        ("-wal cut short", lambda folder: os.truncate(folder / "jobs.db-wal", 5_000)),
    ]
    seen: Counter[tuple[str, str]] = Counter()
    for number, (name, damage) in enumerate(damages):
        folder = lab.folder / f"copy-{number}"
        shutil.copytree(original, folder)
        damage(folder)
        seen[name, _open_damaged(folder, whole)] += 1
        shutil.rmtree(folder)
    wrong = [
        f"{name}: {what}" for name, what in seen if what not in FINE and name not in UNKNOWABLE
    ]
    return Finding(
        name="F18",
        store=lab.kind,
        question="the files of a store come back damaged: what does its next start say?",
        required="refused, with the path, unless no job is missing (SQLite itself cannot tell that"
        " a byte inside of a value, or the end of its log, is not what it was)",
        measured=", ".join(f"{name}: {count} x {what}" for (name, what), count in seen.items()),
        passed=not wrong,
    )


def _make_store(folder: Path) -> None:
    """Make a store of 300 jobs as a kill -9 leaves it, with some changes only in the log."""
    store = open_store(sqlite_in(folder))
    store.open()
    store.join("ann", 3600)
    store.add([NewJob(id=new_id(), task="app:send", arguments='{"text": "x"}') for _ in range(300)])
    claims = store.claim("ann", ["default"], 100)
    store.settle([Settlement(claim, Completed()) for claim in claims])
    apsw.Connection(str(folder / "jobs.db")).pragma("wal_checkpoint", "passive")
    store.add([NewJob(id=new_id(), task="app:send") for _ in range(20)])
    shutil.copytree(folder, folder.with_name("copy"))
    store.close()
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)


def _known(folder: Path) -> set[str]:
    copy = folder.with_name("known")
    shutil.copytree(folder, copy)
    store = open_store(sqlite_in(copy))
    store.open()
    try:
        return {each.id for each in store.find(limit=10_000)}
    finally:
        store.close()


def _open_damaged(folder: Path, whole: set[str]) -> str:
    store = open_store(sqlite_in(folder))
    try:
        store.open()
        found = {each.id for each in store.find(limit=10_000)}
    except AfterwordError as error:
        return "refused" if str(folder) in str(error) else f"refused without path: {error}"
    except Exception as error:  # an error that is not Afterword's
        return f"broke with {error!r}"
    finally:
        store.close()
    if found == whole:
        return "all there"
    return "a value changed" if len(found) == len(whole) else "jobs missing"


def _flip(folder: Path, dice: random.Random) -> None:
    file = folder / "jobs.db"
    content = bytearray(file.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    file.write_bytes(content)


def _zero(folder: Path, dice: random.Random) -> None:
    file = folder / "jobs.db"
    content = bytearray(file.read_bytes())
    begin = dice.randrange(len(content) // PAGE) * PAGE
    content[begin : begin + PAGE] = bytes(PAGE)
    file.write_bytes(content)


def _truncate(folder: Path, dice: random.Random) -> None:
    file = folder / "jobs.db"
    os.truncate(file, dice.randrange(1, file.stat().st_size))
