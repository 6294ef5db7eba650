"""A small disk for the database: a file system in a file, which can be filled to its last block and emptied again.

Mounting needs root and loop devices. Where the machine has none, `small_disk` yields a plain folder, and says why it can't be filled."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SIZE_BYTES = 4 << 30
"""Sparse: only what is written takes room. More than WAL and tables of one round."""
BALLAST = "ballast"


@dataclass(frozen=True, slots=True)
class Disk:
    """A folder for the database."""

    folder: Path
    unfillable: str = ""
    """Why it can't be filled here; empty where it can."""

    def fill(self) -> None:
        """Take every free block. What is written meanwhile may take some first, hence smaller and smaller pieces."""
        with (self.folder / BALLAST).open("wb") as ballast:
            piece, at = 1 << 30, 0
            while piece >= os.statvfs(self.folder).f_frsize:
                try:
                    os.posix_fallocate(ballast.fileno(), at, piece)
                    at += piece
                except OSError:
                    piece //= 2

    def give_back(self) -> None:
        (self.folder / BALLAST).unlink(missing_ok=True)


@contextmanager
def small_disk(beside: Path) -> Iterator[Disk]:
    """A disk that only the database uses, mounted on `<beside>/disk`."""
    folder, image = beside / "disk", beside / "disk.img"
    folder.mkdir(mode=0o755)
    refused = _mount(image, folder)
    try:
        yield Disk(folder, refused)
    finally:
        unmount(beside)


def unmount(beside: Path) -> None:
    """Take the disk away, mounted or not, with all that is on it."""
    folder, image = beside / "disk", beside / "disk.img"
    if folder.is_mount():
        _run("umount", str(folder))
    image.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _mount(image: Path, folder: Path) -> str:
    """Why it could not be mounted; empty where it was."""
    with image.open("wb") as file:
        file.truncate(SIZE_BYTES)
    return _run("mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", str(image)) or _run("mount", "-o", "loop", str(image), str(folder))


def _run(*command: str) -> str:
    """What it complains of; empty where it does what it is told."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {error}"
    return "" if done.returncode == 0 else f"{command[0]}: {done.stderr.strip() or done.returncode}"
