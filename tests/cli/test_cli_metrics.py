"""`afterword metrics`: a page for Prometheus, and the depth of the queues."""

import json

import pytest

from tests.command_line import ALL_KINDS, Shell

pytestmark = pytest.mark.parametrize("shell", ALL_KINDS, indirect=True)


def test_the_page_and_the_depth_are_printed(shell: Shell) -> None:
    shell.join()
    shell.add()
    shell.add(queue="mail")

    lines = shell.run("metrics").lines
    depth = json.loads(shell.run("metrics", "--json").out)

    assert 'afterword_queue_jobs{queue="mail",state="due"} 1.0' in lines
    assert "afterword_workers 1.0" in lines
    assert (2, 1) == (depth["due"], depth["workers"])
    assert {"default", "mail"} == set(depth["queues"])
