"""Features of the installed FastAPI, of which the oldest supported release lacks some."""

import inspect

import fastapi
from fastapi import Depends

FASTAPI = tuple(int(part) for part in fastapi.__version__.split(".")[:2])

# Depends(scope="function"), since 0.121.
HAS_FUNCTION_SCOPE = "scope" in inspect.signature(Depends).parameters

# From 0.106 to 0.117 the exits of `yield` dependencies ran before the response was sent.
EXITS_AFTER_RESPONSE = FASTAPI >= (0, 118)
