"""The command line without a node: help, wrong usage, completion, and what it does not load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from observe.console.cli import COMMANDS, main

DOCS = Path(__file__).parent.parent.parent / "docs" / "command-line.md"


@pytest.fixture(autouse=True)
def _own_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBSERVE_RUNTIME_DIR", str(tmp_path))


def observe(*arguments: str) -> tuple[int, str, str]:
    """Run the command line in this process: exit status, stdout, stderr."""
    result = CliRunner().invoke(main, list(arguments), prog_name="observe")
    return result.exit_code, result.stdout, result.stderr


def test_the_help_names_every_verb() -> None:
    """A verb that is not listed does not exist for anybody."""
    status, out, _ = observe("--help")
    assert status == 0
    assert all(f"  {verb} " in out for verb in COMMANDS)


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_explains_itself_with_an_example(verb: str) -> None:
    """At three in the morning an example says more than a grammar."""
    status, out, _ = observe(verb, "--help")
    assert status == 0
    assert f"observe {verb}" in out.split("Options:")[0].removeprefix(f"Usage: observe {verb}")


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_is_in_the_docs(verb: str) -> None:
    """The list of commands is written down, also for people who have not installed it."""
    assert f"`observe {verb}" in DOCS.read_text()


def test_it_says_its_version() -> None:
    """The first thing that a bug report needs."""
    status, out, _ = observe("--version")
    assert (status, out.split()[0]) == (0, "observe,")


@pytest.mark.parametrize(
    "arguments",
    [
        ("pz", "shop"),
        ("ps",),
        ("ps", "shop", "--limit", "0"),
        ("ps", "shop", "--limit", "many"),
        ("ps", "shop", "--columns", "pid,,name"),
        ("ps", "shop", "--wacth"),
        ("inspect", "shop"),
        ("inspect", "shop", ""),
        ("stack", "nobody-is-called-so", "1"),
        ("nodes", "shop"),
        ("watch", "shop", "--kind", "party"),
        ("attach", "shop"),
        ("demo",),
        ("demo", "--json"),
    ],
)
def test_wrong_usage_is_status_2_and_words_on_stderr(arguments: tuple[str, ...]) -> None:
    """A script tells its own mistakes from the node's by the status; stdout stays for data."""
    status, out, err = observe(*arguments)
    assert (status, out) == (2, "")
    assert "Error: " in err
    assert "Traceback" not in err


def test_a_misspelt_verb_is_guessed() -> None:
    """One letter wrong must not cost a look at the help."""
    assert "inspect" in observe("inspct", "shop")[2]


def test_without_nodes_there_is_an_empty_document_and_a_hint_for_people() -> None:
    """`nodes` with nothing to list is no error."""
    assert observe("nodes", "--json") == (0, '{\n  "nodes": []\n}\n', "")
    status, out, err = observe("nodes")
    assert (status, out) == (0, "")
    assert "observe demo" in err


def test_an_open_directory_of_cards_is_refused_in_one_line(tmp_path: Path) -> None:
    """Cards that others could have written must not be trusted, and the way out must be said."""
    (tmp_path / "observe").mkdir(mode=0o755)
    (tmp_path / "observe").chmod(0o755)
    status, out, err = observe("nodes")
    assert (status, out) == (1, "")
    assert "chmod 700" in err


@pytest.mark.parametrize("arguments", [["--help"], ["ps", "--help"], ["ps", "nobody"], ["nodes"]])
def test_only_the_console_loads_textual(arguments: list[str], tmp_path: Path) -> None:
    """Textual takes longer to load than `ps` to run."""
    code = (
        "import sys\n"
        "from observe.console.cli import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "finally:\n"
        "    loaded = sorted(name for name in sys.modules if name in ('textual', 'zmq', 'observe.runtime'))\n"
        "    print(loaded, file=sys.stderr)\n"
    )
    env = {**os.environ, "OBSERVE_RUNTIME_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    loaded = run.stderr.splitlines()[-1]
    assert "textual" not in loaded
    assert "observe.runtime" not in loaded
    assert "--help" not in arguments or loaded == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_completion_script_for_each_shell(shell: str) -> None:
    """The lines in the documentation must work."""
    result = CliRunner().invoke(
        main,
        [],
        prog_name="observe",
        env={"_OBSERVE_COMPLETE": f"{shell}_source"},
        complete_var="_OBSERVE_COMPLETE",
    )
    assert result.exit_code == 0
    assert "_OBSERVE_COMPLETE" in result.stdout


def complete(line: str) -> list[str]:
    """What bash would offer at the end of `line`."""
    words = line.split(" ")
    env = {"_OBSERVE_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    result = CliRunner().invoke(main, [], prog_name="observe", env=env, complete_var="_OBSERVE_COMPLETE")
    return [offer.partition(",")[2] for offer in result.stdout.splitlines() if offer]


def test_verbs_and_columns_complete() -> None:
    """So that nobody needs to remember them."""
    assert complete("observe ins") == ["inspect"]
    assert complete("observe ps shop --sort mailbox") == ["mailbox", "mailbox_max"]
    assert complete("observe ps shop --columns pid,na") == ["pid,name"]


def test_completion_of_a_node_that_is_not_there_is_silent() -> None:
    """An error in the middle of typing would wreck the line."""
    assert complete("observe ps nob") == []
    assert complete("observe inspect nobody ses") == []
