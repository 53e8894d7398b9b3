"""Changes of a queue's rules: wait until all workers have noted them.

Each change has a number. A worker reads the rules twice a second, and stores the number up to which
it has noted them: from then on it follows these rules. The process that makes a change waits until
every live worker has noted it. A worker that starts no jobs is not waited for.
"""

import time
from collections.abc import Callable, Sequence

NOTED_WITHIN = 60.0  # seconds
_ASK_EVERY = 0.02  # seconds


def wait_noted(unaware: Callable[[], Sequence[str]], timeout: float) -> bool:
    """Wait until all workers have noted the rules; False: not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while unaware():
        if time.monotonic() > deadline:
            return False
        time.sleep(_ASK_EVERY)
    return True
