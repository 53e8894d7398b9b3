"""The application, made by a factory, so that each test can make its own."""

from fastapi import FastAPI

from examples.several_modules import orders, reports
from examples.several_modules.background import afterword


def create_app() -> FastAPI:
    """Make an application; importing the routers has declared their tasks and schedules."""
    app = FastAPI()
    afterword.install(app)
    app.include_router(orders.router)
    app.include_router(reports.router)
    return app


app = create_app()
