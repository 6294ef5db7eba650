"""Make the virtual environment: every wheel from the lock, checked against its hash, then Nervure itself, editable.

Runs on any Python >= 3.11 with nothing but the standard library: `make venv`, or
`python3 deploy/bootstrap.py [folder]`. Where wheels come from is pip's own configuration; nothing here names an index.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "deploy" / "requirements.txt"
STAMP_NAME = ".locked"
PIP_OPTIONS = ("--quiet", "--disable-pip-version-check", "--no-input")

NO_VENV = """\
This Python ({python}) has neither ensurepip nor pip, so it can't fill a virtual environment.
Remedy: install its venv package (Debian, Ubuntu: apt install python3-venv), or name another Python:
make PYTHON=/path/to/python3"""
NO_PACKAGES = """\
pip could not install the locked packages; its message is above.
Remedy: without a network, or behind a mirror, tell pip where the wheels are (PIP_INDEX_URL, PIP_PROXY or pip.conf) and
run `make venv` again: what has been downloaded is kept. A hash that differs means that the mirror serves another file
than the one that was locked."""
NO_EDITABLE = """\
The locked packages are in, but Nervure itself could not be installed; pip's message is above.
Remedy: check pyproject.toml, then `make venv` again; if that fails too, `make clean` and start afresh."""


def main() -> None:
    venv = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".venv").absolute()
    python = venv / "bin" / "python"
    if not (python.exists() and (has_pip(venv) or not has("ensurepip"))):
        say(f"making {venv.name} with Python {sys.version.split()[0]}")
        run(create(venv), otherwise=NO_VENV.format(python=sys.executable))
    say("installing the locked wheels (some 500 MB, once; a few minutes at most)")
    run([*pip(venv), "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)], otherwise=NO_PACKAGES)
    say("installing nervure itself, editable")
    run([*pip(venv), "--no-build-isolation", "--no-deps", "--editable", str(ROOT)], otherwise=NO_EDITABLE)
    (venv / STAMP_NAME).touch()


def create(venv: Path) -> list[str]:
    """The command that makes the environment; without ensurepip it stays empty and this Python's own pip fills it."""
    if has("ensurepip"):
        return [sys.executable, "-m", "venv", "--clear", str(venv)]
    if has("pip"):
        return [sys.executable, "-m", "venv", "--clear", "--without-pip", str(venv)]
    sys.exit(NO_VENV.format(python=sys.executable))


def pip(venv: Path) -> list[str]:
    """The environment's own pip, or this Python's, told to install there."""
    python = str(venv / "bin" / "python")
    command = [python, "-m", "pip"] if has_pip(venv) else [sys.executable, "-m", "pip", "--python", python]
    return [*command, "install", *PIP_OPTIONS]


def has_pip(venv: Path) -> bool:
    return any(venv.glob("lib/python*/site-packages/pip/__init__.py"))


def has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def run(command: list[str], *, otherwise: str) -> None:
    """Run to the end, its output shown; if it fails, say what to do and stop."""
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        sys.exit(f"\n{otherwise}")


def say(step: str) -> None:
    print(f"set-up: {step}", flush=True)


if __name__ == "__main__":
    main()
