"""The documents say what the program does, and nothing is left out of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from observe.console.columns import COLUMNS
from observe.console.keys import ACTIONS
from observe.probe.wire import VERBS
from tests.quiet import complaints

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_console_document_names_every_action_and_column() -> None:
    """A key that nobody can look up is a key that nobody uses."""
    text = (ROOT / "docs" / "console.md").read_text()
    for action in ACTIONS:
        assert f"| {action.name} | {action.description}" in text, action.id
    for column in COLUMNS:
        assert f"| `{column.name}` | {column.meaning} |" in text, column.name


def test_the_protocol_document_names_every_verb_and_the_role_it_needs() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text()
    for name, (role, _) in VERBS.items():
        assert re.search(rf"^\| `{name}` \| {role} \|", text, re.MULTILINE), name


def test_the_readme_gives_the_two_commands() -> None:
    """The first screen: one to run it, one to test it. `.ci/run` reads the second from there."""
    first_screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:40])
    commands = re.findall(r"^    (pip install .*)$", first_screen, re.MULTILINE)
    assert commands == ["pip install -e . && observe demo", 'pip install -e ".[test]" && pytest']


def test_the_readmes_five_lines_run(tmp_path: Path) -> None:
    """What a newcomer copies first must work as it stands."""
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    head, _, body = block.partition("async with")
    script = tmp_path / "service.py"
    lines = "\n".join("    " + line for line in ("async with" + body).splitlines())
    script.write_text(f"import asyncio\n{head}\nasync def main():\n{lines}\n\nasyncio.run(main())\n")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OBSERVE_RUNTIME_DIR": str(tmp_path / "run")},
    )
    assert (done.stdout, complaints(done.stderr), done.returncode) == ("Hello, world!\n", "", 0)


def test_the_tutorials_service_is_python_that_runs(tmp_path: Path) -> None:
    """Its long sleeps are cut, nothing else is changed."""
    text = (ROOT / "docs" / "tutorial.md").read_text()
    block = next(
        block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "class Account" in block
    )
    script = tmp_path / "bank.py"
    script.write_text(
        block.replace("await asyncio.sleep(3600)", 'print(await node.ref("ada").call(("deposit", 1)))')
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OBSERVE_RUNTIME_DIR": str(tmp_path / "run")},
    )
    assert (done.stdout, complaints(done.stderr), done.returncode) == ("101\n", "", 0)
