"""Fixtures for the tests of the request's side."""

from tests.life.fixtures import file_url, forget_what_ran, store_url

__all__ = ["file_url", "forget_what_ran", "store_url"]
