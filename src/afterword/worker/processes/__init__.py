"""The child processes of a worker, for tasks that compute, crash, or have to be killed.

    the worker                                     a child
    ──────────                                     ───────
    pool.Processes   gives calls to children       child.main      one call after the other
    process.Child    one process, two threads      tether          never without its parent
          │                                            ▲
          ├── {"call": ...}  {"cancel": ...} ─────────▶│  its standard input
          └── {"sent"} {"log"} {"value"} ◀─────────────┘  what was its standard output

Children are spawned, never forked: they inherit no lock, connection or event loop. What passes
between the two is JSON (`wire`); nothing that is received becomes code. The worker decides what a
child imports, and it only ever names modules that it has imported itself.

**A child that dies takes one call with it.** Its call ends with the reason in words (`ending`), the
other children do not notice, and the next call finds, or gets, another child.

**A child can be killed at any moment**, with all processes that it has started, by SIGKILL. For
this, each child leads a process group, which a terminal's Ctrl-C does not reach. A child ignores
other signals, such as the SIGTERM that systemd sends to all processes of a service: the worker
decides, and running tasks have the whole grace time.

**No child outlives its worker** (`tether`): the pipe ends, and on Linux the kernel sends a signal.
"""

from afterword.worker.processes.call import Call
from afterword.worker.processes.ending import Ending
from afterword.worker.processes.pool import Processes

__all__ = ["Call", "Ending", "Processes"]
