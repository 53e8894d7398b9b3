"""Changes of a queue's rules: wait until they hold in every process.

Each change has a number. A worker looks at the rules twice a second, and says up to which number it
has taken note: from then on nothing starts there against them. The process that makes a change
waits until every live worker has said so. A worker that starts nothing need not say anything.
"""

import time
from collections.abc import Callable, Sequence

NOTED_WITHIN = 60.0  # seconds
_ASK_EVERY = 0.02  # seconds


def wait_noted(unaware: Callable[[], Sequence[str]], timeout: float) -> bool:
    """Wait until no worker is left that has not taken note; False: not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while unaware():
        if time.monotonic() > deadline:
            return False
        time.sleep(_ASK_EVERY)
    return True
