"""The Afterword, for modules that declare schedules or add jobs outside of requests."""

from afterword import Afterword

afterword = Afterword(retries=3)
