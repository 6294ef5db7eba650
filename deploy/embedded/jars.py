"""The jars of Apache Kafka: pinned by SHA-256 in jars.sha256, fetched once for a user, compared at each start.

jars.sha256 names each jar by its place in a Maven repository, in the format of `sha256sum`. To move to another release,
change KAFKA, run `python -m deploy.embedded lock` and review what changed.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from deploy.embedded import progress
from deploy.embedded.errors import DownloadBusy, DownloadFailed, JarMismatch
from deploy.embedded.lock import held

KAFKA = "org.apache.kafka:kafka_2.13:4.2.0"
# Kafka's dependencies lack what writes its log.
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3"
LIST = Path(__file__).with_name("jars.sha256")
PARALLEL_DOWNLOADS = 4
DOWNLOAD_WAIT_S = 1_800.0


@dataclass(frozen=True, slots=True)
class Jar:
    """One jar: `place` is group, artifact, version and file as a Maven repository lays them out."""

    place: PurePosixPath
    sha256: str

    @property
    def coordinates(self) -> tuple[str, str, str]:
        """Group, artifact and version."""
        *group, artifact, version = self.place.parent.parts
        return ".".join(group), artifact, version


def kafka_jars(cache: Path, mirror: str | None = None) -> list[Path]:
    """Every jar of the broker, each with the SHA-256 of the list; what `cache` lacks is fetched from Maven Central, or
    from `mirror`, a URL. Raises DownloadBusy, DownloadFailed, JarMismatch."""
    store = cache / "maven"
    jars = list(listed())
    if missing(jars, store):
        store.mkdir(parents=True, exist_ok=True)
        busy = DownloadBusy(cache=cache, seconds=DOWNLOAD_WAIT_S)
        with held(store / "lock", DOWNLOAD_WAIT_S, otherwise=busy):
            fetch(missing(jars, store), store, mirror)
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda jar: verified(jar, store), jars))


def missing(jars: list[Jar], store: Path) -> list[Jar]:
    """The jars that were never fetched."""
    return [jar for jar in jars if not (store / jar.place).exists()]


def listed() -> Iterator[Jar]:
    """What jars.sha256 names."""
    for line in LIST.read_text().splitlines():
        digest, place = line.split(maxsplit=1)
        yield Jar(PurePosixPath(place), digest)


def verified(jar: Jar, store: Path) -> Path:
    """The path of a jar whose content is the listed one. Raises JarMismatch."""
    path = store / jar.place
    found = sha256(path)
    if found != jar.sha256:
        raise JarMismatch(jar=path, found=found, expected=jar.sha256)
    return path


def fetch(jars: list[Jar], store: Path, mirror: str | None) -> None:
    """Download jars side by side, showing how far it is; none is left half-written.

    Raises DownloadFailed, JarMismatch."""
    draft = store / "partial"
    shutil.rmtree(draft, ignore_errors=True)
    maven = _maven(draft, mirror)
    with (
        progress.counting("Downloading Apache Kafka", len(jars)) as step,
        ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool,
    ):
        for _ in pool.map(lambda jar: _fetch_one(jar, maven, draft, store), jars):
            step()


def _fetch_one(jar: Jar, maven: Any, draft: Path, store: Path) -> None:
    group, artifact, version = jar.coordinates
    try:
        maven.project(group, artifact).at_version(version).artifact().resolve()
    except (OSError, RuntimeError) as error:  # requests' errors are OSErrors; a jar that isn't there is a RuntimeError
        raise DownloadFailed(jar=jar.place.name, cause=error, cache=store.parent) from error
    downloaded = verified(jar, draft)
    final = store / jar.place
    final.parent.mkdir(parents=True, exist_ok=True)
    downloaded.replace(final)


def lock() -> None:
    """Write jars.sha256 anew from what Maven Central has for KAFKA and its dependencies; to be reviewed by a person."""
    import jgo

    artifacts = [*jgo.resolve(KAFKA), jgo.resolve(LOGGING)[0]]
    lines = [f"{sha256(each.resolve())}  {each.component.path_prefix / each.filename}" for each in artifacts]
    LIST.write_text("\n".join(sorted(lines, key=lambda line: line.split()[1])) + "\n")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _maven(store: Path, mirror: str | None) -> Any:
    """Maven Central, or its mirror, as jgo sees it."""
    from jgo.maven import MavenContext

    repositories = {"mirror": mirror.rstrip("/")} if mirror else None
    return MavenContext(repo_cache=store, local_repos=[], remote_repos=repositories)
