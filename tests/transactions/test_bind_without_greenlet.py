"""SQLAlchemy 2.1 without greenlet, which only its asynchronous half needs."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys

sys.modules["greenlet"] = None  # as if it were not installed

from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from afterword import Afterword

url = "sqlite+pysqlite:///app.db"
afterword, engine = Afterword(url=url), create_engine(url)


def bill(order: int) -> None: ...


afterword.add_task_sync(bill, 1)
with Session(engine) as session:
    afterword.bind(session).add_task(bill, 2)
    session.commit()
with engine.begin() as connection:
    afterword.bind(connection).add_task(bill, 3)
    stored = connection.execute(text("SELECT count(*) FROM afterword_jobs")).scalar_one()
afterword.close()
print(stored)
"""


def test_a_session_and_a_connection_can_be_bound(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (0, "3") == (ended.returncode, ended.stdout.strip()), ended.stderr
