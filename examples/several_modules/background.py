"""The Afterword, for every module that declares schedules, or adds jobs outside of requests."""

from afterword import Afterword

afterword = Afterword(retries=3)
