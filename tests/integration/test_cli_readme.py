"""The README is true: its commands run, its messages are taken, what it names is there, and it is short."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from typer.main import get_command

from deploy.cli import app
from deploy.supervisor import System, environ
from schemas.topics import TOPIC_OF, TOPICS
from shared.settings import Settings
from tests.support.cli import Nervure
from tests.support.lint import BIN, ROOT

TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
INLINE = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", TEXT, flags=re.DOTALL | re.MULTILINE).replace("\n", " "))
SHELL = [block for language, block in BLOCKS if language == "sh"]
PAGES = [block for language, block in BLOCKS if language == "text"]
MOST_LINES = 220
OWN_NAMES = ("web-fr", "mug-blue", "paris-01")
"""What the examples name, and other test runs on the same servers do too."""
PATIENT = """
nervure() { for _ in 1 2 3 4 5 6 7 8 9 10; do command nervure "$@" && return; sleep 1; done; return 1; }
set -e
"""
"""A reader takes a second between two commands."""


def shell_with(text: str) -> str:
    """The shell block that holds this text."""
    return str(next(block for block in SHELL if text in block))


class Reader:
    """Types what the README says, under names of its own, on a system that runs."""

    def __init__(self, system: System, folder: Path) -> None:
        self._environ = environ(system.settings)
        self._folder = folder
        self._suffix = f"-{uuid4().hex[:6]}"
        self.nervure = Nervure(self._environ)

    def named(self, text: str) -> str:
        for name in OWN_NAMES:
            text = text.replace(name, name + self._suffix)
        return text

    def types(self, block: str) -> str:
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, **self._environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "160"}
        command = ["bash", "-c", PATIENT + self.named(block)]
        done = subprocess.run(command, cwd=self._folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def order(self) -> str:
        return self.named("web-fr:1001")

    def waits_for(self, status: str) -> None:
        seen = self.nervure.until(lambda seen: seen.code == 0 and seen.json["status"] == status, "status", self.order(), "--json")
        assert seen.json["status"] == status, seen


@pytest.fixture(scope="module")
def reader(system: System, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader(system, tmp_path_factory.mktemp("reader"))


def test_the_order_of_the_readme_goes_its_way(reader: Reader) -> None:
    """Reference data and stock, the order, the parcel, the money: sent as it says, told as it says."""
    assert f"Follow it: nervure status {reader.order()}" in reader.types(shell_with("cat > shop.json"))
    reader.waits_for("in_fulfilment")
    told = reader.nervure("trace", reader.order()).out
    for line in told_lines("placed the order: 2 x mug-blue"):
        assert reader.named(line) in told, told
    reader.types(shell_with("ParcelShipped"))
    reader.waits_for("completed")


def told_lines(text: str) -> Iterator[str]:
    """What the page with this text tells, without numbers, times and dates, which are another day's."""
    page = next(block for block in PAGES if text in block)
    for line in page.splitlines():
        said = re.sub(r"^ *\d+  [\d:.]+  \S+( \S+)* {2,}|( <- \d+)$", "", line).strip()
        if said not in ("", "..."):
            yield said.partition(" by Tuesday")[0]


def test_a_rule_that_is_data_is_changed_by_one_line(reader: Reader) -> None:
    """Only checked: it would be the rule of everybody who shares the system."""
    block = shell_with("return_window_s").replace("nervure send -", "nervure send - --check")
    assert reader.types(block) == "1 message is right; nothing was sent.\n"


def test_every_command_it_names_is_there() -> None:
    named = {words for text in (*INLINE, *SHELL) for words in commands(text)}
    assert {"up", "run", "send", "status", "trace", "audit", "watch", "rebuild", "lanes", "dlq list", "topics create"} <= named
    assert [words for words in named if not is_command(words)] == []


def commands(text: str) -> Iterator[str]:
    """`dlq replay` of `nervure dlq replay NAME`."""
    for group, name in re.findall(r"\bnervure (\w+)(?: (\w+))?", text):
        yield f"{group} {name}" if group in ("dlq", "topics") else group


def is_command(words: str) -> bool:
    group, _, name = words.partition(" ")
    found = get_command(app).commands.get(group)  # type: ignore[attr-defined]
    return found is not None and (not name or name in found.commands)


def test_every_errand_it_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {name for text in (*INLINE, *SHELL) for name in re.findall(r"\bmake ([a-z]+)\b(?= |\n|$)", text)}
    assert {"demo", "test", "up", "bench", "lint", "schemas", "clean"} <= named
    assert [target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_every_setting_it_names_is_one() -> None:
    named = {name for name in re.findall(r"NERVURE_\w+", TEXT) if name != "NERVURE_TEST_INFRA"}
    named |= {f"NERVURE_KAFKA{name}" for name in re.findall(r"`…(_\w+)`", TEXT)}
    assert {name.removeprefix("NERVURE_").lower() for name in named} <= Settings.model_fields.keys()


def test_every_file_folder_and_test_it_names_is_there() -> None:
    paths = re.findall(r"\]\((?!http)([^)]+)\)", TEXT)
    paths += [word for text in INLINE for word in text.split() if re.fullmatch(r"(deploy|schemas|services|shared|tests)/[\w./]+", word)]
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []
    copies = re.findall(r"`(\w+\.py)`", re.search(r"\| you are .*?\n\n", TEXT, re.DOTALL)[0])  # type: ignore[index]
    assert [name for name in copies if not (ROOT / "deploy/demo/actors" / name).exists()] == []
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in INLINE if name.startswith("test_") and f"def {name}(" not in tests] == []
    assert "def window_is_over(" in (ROOT / "services/returns/rules.py").read_text()
    assert "def request_return(" in (ROOT / "services/returns/requests.py").read_text()


def test_every_topic_and_message_it_names_is_there() -> None:
    known = {topic.name.removeprefix("oms.").removesuffix(".v1") for topic in TOPICS}
    named = {name for text in INLINE for name in spelled_out(text) if re.fullmatch(r"[a-z]+\.[a-z]+", name) and not name.endswith(".py")}
    families = {name.partition(".")[0] for name in known}
    assert {name for name in named if name.partition(".")[0] in families} <= known
    types = {kind.__name__ for kind in TOPIC_OF}
    words = set(re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", re.sub(r"^```(?!sh).*?^```$", "", TEXT, flags=re.DOTALL | re.MULTILINE)))
    assert words - types <= {"CloudEvents", "PlaceOrder"}


def spelled_out(text: str) -> list[str]:
    """`reference.{a,b}` is `reference.a` and `reference.b`."""
    head, brace, tail = text.partition("{")
    return [head + name for name in tail.rstrip("}").split(",")] if brace else [text]


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) < MOST_LINES
