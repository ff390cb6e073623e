"""The settings: read from the environment once, at first use, and nowhere else."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

LARGEST_SCORE = 2**53 - 1
"""The largest whole number that a sorted set's score, a double, holds exactly together with all smaller ones."""

Value = TypeVar("Value", int, float, bool)


class MisconfiguredError(Exception):
    """A setting is missing or malformed; the message names it and says what it should be."""


@dataclass(frozen=True)
class Settings:
    """One deployment's values; the names are the environment's, in lower case."""

    valkey_host: str
    valkey_port: int = 6379
    valkey_tls: bool = False
    valkey_ca_file: str | None = None
    connect_seconds: float = 0.5
    command_seconds: float = 1.0
    deadline_seconds: float = 2.5
    session_seconds: int = 3600
    score_min: int = 0
    score_max: int = 10**12

    @property
    def score_bounds(self) -> tuple[int, int]:
        """The lowest and the highest score a player may have, both allowed."""
        return self.score_min, self.score_max


def load(environ: Mapping[str, str]) -> Settings:
    """Settings from a mapping such as `os.environ`. A name that is absent or empty takes its default.

    Raises MisconfiguredError for the first that is missing, malformed or outside its range.
    """
    host = environ.get("VALKEY_HOST", "").strip()
    if not host:
        raise MisconfiguredError("VALKEY_HOST is missing: set it to the cache's host name")
    settings = Settings(
        valkey_host=host,
        valkey_port=_read(environ, "VALKEY_PORT", int, Settings.valkey_port, 1, 65535),
        valkey_tls=_read(environ, "VALKEY_TLS", _boolean, Settings.valkey_tls, False, True),
        valkey_ca_file=environ.get("VALKEY_CA_FILE") or None,
        connect_seconds=_read(environ, "CONNECT_SECONDS", float, Settings.connect_seconds, 0.01, 10),
        command_seconds=_read(environ, "COMMAND_SECONDS", float, Settings.command_seconds, 0.01, 10),
        deadline_seconds=_read(environ, "DEADLINE_SECONDS", float, Settings.deadline_seconds, 0.01, 28),
        session_seconds=_read(environ, "SESSION_SECONDS", int, Settings.session_seconds, 1, 31_536_000),
        score_min=_read(environ, "SCORE_MIN", int, Settings.score_min, -LARGEST_SCORE, LARGEST_SCORE),
        score_max=_read(environ, "SCORE_MAX", int, Settings.score_max, -LARGEST_SCORE, LARGEST_SCORE),
    )
    if settings.score_min > settings.score_max:
        raise MisconfiguredError(f"SCORE_MIN ({settings.score_min}) is above SCORE_MAX ({settings.score_max})")
    return settings


@functools.cache
def settings() -> Settings:
    """This process's settings."""
    return load(os.environ)


def _boolean(text: str) -> bool:
    return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]


def _read(
    environ: Mapping[str, str], name: str, parse: Callable[[str], Value], default: Value, lowest: Value, highest: Value
) -> Value:
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = parse(text)
    except (ValueError, KeyError):
        value = None
    if value is None or not lowest <= value <= highest:
        raise MisconfiguredError(f"{name} is {text!r}: it should be from {lowest} to {highest}")
    return value
