"""Which files are written by hand, and the few names and words in which the facade differs from the core."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ASYNC, SYNC = "lisn_async", "lisn_sync"
BY_HAND = {
    "_at_exit.py",
    "_bridge.py",
    "_callers_code.py",
    "_calls.py",
    "_generate/__init__.py",
    "_generate/__main__.py",
    "_generate/annotations.py",
    "_generate/classes.py",
    "_generate/docstrings.py",
    "_generate/files.py",
    "_generate/source.py",
    "_generate/tables.py",
    "_loop.py",
    "_loop_kind.py",
    "py.typed",
}
COMMAND = "python -m lisn_sync._generate"

NAMES = {"aclose": "close", "__aenter__": "__enter__", "__aexit__": "__exit__"}
NOT_MIRRORED = {"cli": "a command, not a library", "contrib": "for both packages as it is"}
DROPPED = {("AsyncLisn", "session")}  # an aiohttp session belongs to a loop that the caller does not have
SHOWN = {
    ("Sandbox", "token")
}  # sounds like a secret and is none; the others are hidden as the source hides them
CLOSED_AT_EXIT = {"AsyncLisn": "_rest", "Sandbox": "stop"}
FRONT_DOOR, OPENED = "_front_door", "opened_when_asked"  # what the package is opened with
BEHIND_DOORS = {"Sandbox"}  # in the package itself too: `with lisn_sync.Sandbox() as box`
HELD = "Caller"  # a class whose __init__ takes one is reached through a client, and the facade's wraps the core's

WORDS = [  # in docstrings, in this order
    (r"\basync (with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\baclos(e|ing)\b", r"clos\1"),
    (r"\ban? Async([A-Z]\w+)", r"a \1"),
    (r"\bAsync([A-Z]\w+)", r"\1"),
    (r"\blisn_async\b", "lisn_sync"),
    (r"\bfor asyncio\b", "for blocking code"),
    (r"\biterable or async iterable\b", "iterable"),
]
LEFT_OVER = re.compile(r"\b(async|await|asyncio|aclose|anext|aiter|lisn_async)\b|\bAsync[A-Z]")
PACKAGE = "Lisn's Assistants API for blocking code. Begin with `Lisn`; `lisn_async` is the same for asyncio."
