"""A package that imports its modules when a name in one of them is first asked for (PEP 562).

attrs and asyncio alone, which most of ours need, take longer than a tenth of `import openai`. A program that only
mentions the SDK, or needs no more of it than an error, shall not wait for that.
"""

from __future__ import annotations

from importlib import import_module

from ._forks import opening

TYPE_CHECKING = False  # type checkers know it by its name; `typing` takes longer than all else here
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def opened_when_asked(
    door: dict[str, Any], *rooms: str
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The `__getattr__` and the `__dir__` of a package with this namespace: its `__all__` stands in these modules.

    They are looked through in their order, so the cheapest comes first.
    """
    package: str = door["__name__"]
    names: list[str] = door["__all__"]

    def get(name: str) -> object:
        if name in names:
            with opening.lock:
                for room in rooms:
                    module = import_module(room, package)
                    if hasattr(module, name):
                        door[name] = getattr(module, name)  # nobody asks here again
                        return door[name]
        if f".{name}" in rooms:
            # Without the lock: modules ask for this that are being imported by name, while who has the lock may wait
            # for one of them.
            return import_module(f".{name}", package)
        raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name)

    def listed() -> list[str]:
        return sorted([*names, *(room[1:] for room in rooms if room[0] == "." and room[1] != "_")])

    return get, listed
