"""All commands, in the order in which the help lists them.

A new command needs a module, and two lines here.
"""

from afterword.cli.act import cancel, delete, retry
from afterword.cli.audit import audit
from afterword.cli.check import check
from afterword.cli.dashboard import show_dashboard
from afterword.cli.demo import demo
from afterword.cli.dev import dev
from afterword.cli.doctor import doctor
from afterword.cli.group import commands
from afterword.cli.look import failures, jobs
from afterword.cli.maintain import database, prune
from afterword.cli.metrics import metrics
from afterword.cli.overview import status, tasks, workers
from afterword.cli.queues import queues
from afterword.cli.run import run
from afterword.cli.schedules import schedules
from afterword.cli.show import show
from afterword.cli.top import top
from afterword.cli.transfer import export, import_
from afterword.cli.watch import watch
from afterword.cli.worker import worker

__all__ = ["commands"]

commands.command(name="demo")(demo)
commands.command(name="dev")(dev)
commands.command(name="worker")(worker)
# Look.
commands.command(name="status")(status)
commands.command(name="top")(top)
commands.command(name="dashboard")(show_dashboard)
commands.command(name="jobs")(jobs)
commands.command(name="show")(show)
commands.command(name="watch")(watch)
commands.command(name="failures")(failures)
commands.add_typer(queues, name="queues")
commands.add_typer(schedules, name="schedules")
commands.command(name="workers")(workers)
commands.command(name="tasks")(tasks)
commands.command(name="metrics")(metrics)
commands.command(name="audit")(audit)
# Act.
commands.command(name="run")(run)
commands.command(name="retry")(retry)
commands.command(name="cancel")(cancel)
commands.command(name="delete")(delete)
# Operate.
commands.command(name="check")(check)
commands.command(name="doctor")(doctor)
commands.add_typer(database, name="db")
commands.command(name="prune")(prune)
commands.command(name="export")(export)
commands.command(name="import")(import_)
