"""An application in several modules, made by a factory.

uvicorn examples.several_modules.main:app
afterword worker examples.several_modules.main:app

background.py has the Afterword, which needs no application at first. orders.py and reports.py have
tasks, schedules and routes. main.py puts them together.
"""
