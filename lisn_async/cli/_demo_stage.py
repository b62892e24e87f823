"""What the demo shows: on a terminal with colour, else plain lines; everything is kept for `--json` as well."""

import sys
from typing import Any

from lisn_async.cli import _output


class Stage:
    """Prints each step as it ends. Quiet, it only keeps the log."""

    def __init__(self, *, quiet: bool) -> None:
        self.log: list[dict[str, Any]] = []
        self._quiet = quiet
        self._terminal = not quiet and sys.stdout.isatty()

    def begin(self, place: str) -> None:
        """Says where the demo takes place."""
        self._print(f"Lisn demo: {place}\n", style="bold")

    def done(self, step: str, detail: str, seconds: float) -> None:
        """A step whose result was verified."""
        self.log.append({"step": step, "ok": True, "detail": detail, "seconds": round(seconds, 4)})
        self._line("✓" if self._terminal else "ok", step, detail, "green", f"{seconds * 1000:.0f} ms")

    def failed(self, step: str, detail: str) -> None:
        """The step that did not work out."""
        self.log.append({"step": step, "ok": False, "detail": detail})
        if self._quiet:
            _output.complain(f"{step}: {detail}")
        else:
            self._line("✗" if self._terminal else "FAILED", step, detail, "bold red", "")

    def table(self, columns: list[str], rows: list[list[str]], more: int) -> None:
        """Some of the assistants, as the server listed them."""
        if self._quiet:
            return
        print()
        _output.print_table(columns, rows)
        if more > 0:
            self._print(f"… and {more} more\n", style="dim")

    def end(self, code: str, *, live: bool) -> None:
        """The code to start from, and where to go on."""
        self._print("The same in ten lines of your own:\n", style="bold")
        if self._terminal:
            from rich.padding import Padding
            from rich.syntax import Syntax

            shown = Syntax(code.rstrip(), "python", theme="ansi_dark", background_color="default")
            _output.console(sys.stdout).print(Padding(shown, (0, 0, 1, 4)))
        else:
            self._print("".join(f"    {line}\n" if line else "\n" for line in code.splitlines()))
        again = "`lisn demo` needs no account" if live else "`lisn sandbox` keeps such a server running"
        self._print(
            f"{again}; `lisn import FILE` creates the assistants of a file; `lisn --help` has the rest."
        )

    def _line(self, sign: str, step: str, detail: str, style: str, time: str) -> None:
        if self._quiet:
            return
        if not self._terminal:
            print(
                _output.visible(f"{sign:<6} {step:<10} {detail}" + (f" ({time})" if time else "")), flush=True
            )
            return
        from rich.text import Text

        line = Text.assemble((f"  {sign} ", style), (f"{step:<10} ", "bold"), (_output.visible(detail), ""))
        _output.console(sys.stdout).print(line.append(f"  {time}", "dim"))

    def _print(self, text: str, style: str = "") -> None:
        if self._terminal:
            _output.console(sys.stdout).print(text, style=style)
        elif not self._quiet:
            print(text, flush=True)
