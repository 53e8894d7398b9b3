"""Reports: a scheduled task, which can also be added by hand."""

from pathlib import Path

from fastapi import APIRouter

from afterword import Job
from examples.several_modules.background import afterword

router = APIRouter(prefix="/reports")


@afterword.every("0 9 * * MON-FRI", timezone="Europe/Berlin")
def report() -> None:
    """Count the receipts."""
    receipts = Path("receipts.log")
    count = len(receipts.read_text(encoding="utf-8").splitlines()) if receipts.exists() else 0
    Path("report.log").write_text(f"{count} receipts\n", encoding="utf-8")


@router.post("")
async def order() -> Job[None]:
    """Write the report now."""
    return await afterword.add_task(report)
