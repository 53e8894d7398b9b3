"""For Starlette applications: put these on a Response, or use `Afterword.add_task`.

from afterword.starlette import BackgroundTask

async def signup(request):
    return JSONResponse({"ok": True}, background=BackgroundTask(send_welcome_email, "a@b.example"))
"""

from afterword.request.background import BackgroundTask, BackgroundTasks

__all__ = ["BackgroundTask", "BackgroundTasks"]
