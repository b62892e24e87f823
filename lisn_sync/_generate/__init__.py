"""Writes this package: `python -m lisn_sync._generate`, or `--check` to see whether that would change anything.

It reads the source of `lisn_async` and writes, for each public class there, one of the same shape for blocking code:
the same names, arguments, defaults, types and docstrings, and one line of body that hands the call to `_bridge`.
Everything that is not a client, a resource or a sandbox (models, errors, literals) is re-exported, never copied.

    lisn_async/client.py            -> lisn_sync/client.py
    lisn_async/resources/<noun>.py  -> lisn_sync/resources/<noun>.py
    lisn_async/sandbox/box.py       -> lisn_sync/sandbox.py
    lisn_async/<any public module>  -> lisn_sync/<the same>.py, names only

What it has no rule for is an error that names file and line: better no facade than a wrong one. The few names that
differ are in `tables.py`. ruff formats the result, so the Python that runs this leaves no trace in it.

Where each part lives; a file imports only from those below it:

    __main__.py     the command
    files.py        the set of files, and the whole text of each
    classes.py      the counterpart of one class
    annotations.py  types in the words of the facade
    docstrings.py   docstrings in the words of the facade
    source.py       the core, parsed
    tables.py       names and words that differ
"""

from __future__ import annotations

from .files import drift, texts, write
from .source import NoRule
from .tables import ROOT

__all__ = ["ROOT", "NoRule", "drift", "texts", "write"]
