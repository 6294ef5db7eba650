"""The command line as a person uses it, in this process: arguments in; exit code, page and remarks out."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from deploy.cli import main

WAIT_S = 30.0
POLL_S = 0.3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one command said. `out` is stdout, `err` stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Nervure:
    """`nervure` with these environment variables."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)

    def __call__(self, *arguments: object, stdin: str = "") -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        with self._as_called(arguments, stdin), redirect_stdout(out), redirect_stderr(err):
            try:
                main()
                code = 0
            except SystemExit as exit:
                code = int(exit.code or 0)
        return Outcome(code, out.getvalue(), err.getvalue())

    def process(self, *arguments: object, **streams: Any) -> subprocess.Popen[bytes]:
        """The same as a process of its own, in a wide terminal if `streams` (as Popen has them) are one."""
        command = [sys.executable, "-m", "deploy.cli", *map(str, arguments)]
        return subprocess.Popen(command, env={**os.environ, "TERM": "xterm", "COLUMNS": "160", **self._environ}, **streams)

    @contextmanager
    def _as_called(self, arguments: tuple[object, ...], stdin: str) -> Iterator[None]:
        argv = ["nervure", *map(str, arguments)]
        with patch.object(sys, "argv", argv), patch.object(sys, "stdin", io.StringIO(stdin)), patch.dict(os.environ, self._environ):
            yield

    def until(self, holds: Callable[[Outcome], bool], *arguments: object) -> Outcome:
        """Ask again until the outcome is as wanted; the last one after WAIT_S."""
        deadline = time.monotonic() + WAIT_S
        while not holds(outcome := self(*arguments)) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return outcome
