"""Fixtures of all tests of the request's side."""

from tests.life.fixtures import anyio_backend, file_url, forget_what_ran, postgres_url, store_url

__all__ = ["anyio_backend", "file_url", "forget_what_ran", "postgres_url", "store_url"]
