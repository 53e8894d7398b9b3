"""Tables in narrow terminals."""

import re

import pytest
from rich.console import Console

from afterword.cli import output
from afterword.cli.output import Grid
from afterword.schedules.recurrence import Cron
from afterword.store.protocol import Declared
from tests.command_line import Shell


def narrow(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """Let commands write to a terminal of this width."""
    terminal = Console(width=columns, force_terminal=True, highlight=False, soft_wrap=True)
    monkeypatch.setattr(output, "stdout", terminal)


def lines(text: str) -> list[str]:
    return re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()


@pytest.mark.parametrize("columns", [40, 60])
@pytest.mark.parametrize("command", ["queues", "status", "tasks"])
def test_a_narrow_terminal_leaves_out_columns_but_never_the_name(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, command: str, columns: int
) -> None:
    shell.add("shop.warehouse.packing:pack", queue="parcels")
    shell.end(task="shop.warehouse.packing:pack", queue="parcels")
    narrow(monkeypatch, columns)

    every = lines(shell.run(command).out)
    begin = next(at for at, line in enumerate(every) if re.match("(queue|task) ", line))
    shown = every[begin:]

    name = "pack" if command == "tasks" else "parcels"
    assert any(re.search(rf"(^|:){name}( |$)", line) for line in shown)
    assert [] == [line for line in shown if len(line) > columns]


def test_columns_are_left_out_in_their_order() -> None:
    grid = Grid(("task", "queued", "cancelled", "last"), ("task",), spare=("last", "cancelled"))
    grid.add("shop:pack_order", "1", "2", "3 min ago")

    assert ("task", "queued", "cancelled", "last") == grid.fitted(80).headings
    assert ("task", "queued", "cancelled") == grid.fitted(40).headings
    assert ("task", "queued") == grid.fitted(30).headings
    assert ("task", "queued") == grid.fitted(5).headings


@pytest.mark.parametrize(
    ("columns", "shown"), [(99, "first  last  example"), (76, "example"), (60, "")]
)
def test_a_narrow_terminal_shows_an_example_of_failures_if_there_is_room(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, columns: int, shown: str
) -> None:
    failed = shell.fail("ValueError: no such parcel", "orders:pack_parcel")
    narrow(monkeypatch, columns)

    headings, line = lines(shell.run("failures").out)
    assert ["count", "task", "error", *shown.split()] == headings.split()
    assert "orders:pack_parcel  ValueError: no such parcel" in line
    assert (failed[:18] in line) is bool(shown)


def test_columns_are_left_out_rather_than_a_part_of_the_function(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.end(task="shop.orders:remind_of_unpaid_orders")
    narrow(monkeypatch, 80)

    shown = lines(shell.run("tasks").out)
    assert any("remind_of_unpaid_orders " in line for line in shown)
    assert [] == [line for line in shown if len(line) > 80]


@pytest.mark.parametrize("paused", [False, True])
def test_a_narrow_terminal_cuts_the_rule_of_a_schedule_first(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, paused: bool
) -> None:
    """`schedules pause NAME` needs the name, and the note says what is wrong."""
    rule = Cron("*/5 * * * *", "Europe/Berlin")
    due = shell.store.now() + 60
    remind = Declared(
        name="orders.remind", task="orders:remind", rule=rule.text, words=rule.words, next_at=due
    )
    shell.store.declare([remind])
    if paused:
        shell.run("schedules", "pause", "orders.remind")
    narrow(monkeypatch, 80)

    (_, line) = lines(shell.run("schedules").out)
    assert re.match("orders.remind  Every fi.*…  ", line)
    assert line.rstrip().endswith("paused" if paused else "-")
