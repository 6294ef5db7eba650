"""Who runs Postgres and where its files lie.

Postgres refuses to run as root. A root therefore runs it as an unprivileged user without a name, who owns nothing but
the database's own folder. No permission of any other folder is changed: where one above the home (or above the
installed binaries) lets only root through, the database (or a copy of the binaries) goes to OUTSIDE.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
from collections.abc import Collection
from pathlib import Path

from deploy.embedded import progress
from deploy.embedded.errors import HomeBusy
from deploy.embedded.lock import held
from deploy.embedded.process import User

# From 60578-61183, which neither Debian nor systemd gives to anybody; below 65536, so that containers know it.
UID = 61_018
COPY_WAIT_S = 60.0
UNUSED = shutil.ignore_patterns("include", "*.a", "pginstall")
OUTSIDE = Path("/var/lib/nervure")


def server_user() -> User | None:
    """Whom to run Postgres as; None for ourselves, if we aren't root."""
    return User(UID, UID) if os.geteuid() == 0 else None


def maker_user() -> User | None:
    """Whom to run initdb as, which insists on a user with a name; it gives its work to server_user() at once."""
    if os.geteuid() != 0:
        return None
    named = next((entry for entry in pwd.getpwall() if entry.pw_name == "nobody"), None)
    chosen = named or next(entry for entry in pwd.getpwall() if entry.pw_uid != 0)
    return User(chosen.pw_uid, chosen.pw_gid)


def reachable(path: Path) -> bool:
    """Whether a user who owns nothing can get to this path and read it."""
    wanted = path.resolve()
    if os.geteuid() != 0:
        return True
    passable = all(above.stat().st_mode & stat.S_IXOTH for above in wanted.parents)
    return passable and bool(wanted.stat().st_mode & (stat.S_IXOTH if wanted.is_dir() else stat.S_IROTH))


def database_place(home: Path) -> Path | None:
    """Where the database of a new home goes if its user can't reach the home; None if it can: all stays together."""
    if reachable(home):
        return None
    place = OUTSIDE / hashlib.sha256(str(home).encode()).hexdigest()[:16]
    progress.say(f"Postgres may not run as root, and its user can't reach {home}: the database goes to {place}.")
    return place


def reachable_copy(site: Path, program: str, folders: Collection[str], name: str) -> Path:
    """Where `program` is, below `site` or below a copy of these folders of it, called `name`, that its user can reach."""
    if reachable(site / program):
        return site / program
    copy = OUTSIDE / name
    OUTSIDE.mkdir(mode=0o755, parents=True, exist_ok=True)
    busy = HomeBusy(home=OUTSIDE, seconds=COPY_WAIT_S, lock=OUTSIDE / "lock")
    with held(OUTSIDE / "lock", COPY_WAIT_S, otherwise=busy):
        if not copy.exists():
            _copy(site, folders, OUTSIDE / "partial").rename(copy)
    return copy / program


def give(folder: Path, user: User | None) -> None:
    """Make the user owner of a folder of ours and of all in it."""
    if user:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user.uid, user.gid, follow_symlinks=False)


def _copy(site: Path, folders: Collection[str], draft: Path) -> Path:
    shutil.rmtree(draft, ignore_errors=True)
    for folder in folders:
        shutil.copytree(site / folder, draft / folder, symlinks=True, ignore=UNUSED)
    _open_to_all(draft)
    return draft


def _open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
