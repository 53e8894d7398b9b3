"""Forked children: they neither hang, nor harm their parent's connections, nor keep its locks."""

import os
import sys
import textwrap
from pathlib import Path

import pytest

from afterword import JobState
from afterword.store.locks import Locks
from afterword.store.opening import open_store
from tests.helpers import ROOT, wait_until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows does not fork")


def greet(name: str) -> None:
    """Do nothing: it is only stored here."""


def in_fork(body: str, *values: str) -> None:
    """Run this in a child, as its own program would; the child must end well within a minute."""
    program = f"import os, sys\n{textwrap.dedent(body)}"
    child = os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", program, *values])

    assert 0 == child


@pytest.mark.parametrize("times", [5])
def test_children_store_jobs_and_the_parent_goes_on(store_url: str, times: int) -> None:
    in_fork(
        """
        sys.path.insert(0, sys.argv[2])
        from afterword import Afterword
        from tests.model.test_fork import greet

        afterword = Afterword(url=sys.argv[1])
        afterword.add_task_sync(greet, "parent")
        for number in range(int(sys.argv[3])):
            child = os.fork()
            if child == 0:
                afterword.add_task_sync(greet, f"child {number}")
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            afterword.add_task_sync(greet, "parent, again")
        afterword.close()
        """,
        store_url,
        str(ROOT),
        str(times),
    )

    store = open_store(store_url)
    store.open()
    assert 2 * times + 1 == store.count()[JobState.QUEUED]
    store.close()


def test_a_lock_dies_with_the_parent_although_a_child_lives(tmp_path: Path) -> None:
    in_fork(
        """
        import time
        from pathlib import Path
        from afterword.store.locks import Locks
        from afterword.model.fork import in_child

        locks = Locks(Path(sys.argv[1]))
        in_child(locks.forget)
        locks.hold("ann")
        if os.fork() == 0:
            time.sleep(5)
        os._exit(0)
        """,
        str(tmp_path),
    )

    dead = Locks(tmp_path).is_dead
    wait_until(lambda: dead("ann"), description="the child has let go, too", timeout=4)
