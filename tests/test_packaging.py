"""The packaging table, the folders and the built wheel agree."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
FOLDERS = sorted(SETUPTOOLS["package-dir"].values())


def test_every_package_is_declared() -> None:
    """A subpackage missing from the table imports here and is absent from the wheel."""
    found = {
        ".".join(("observe", *init.parent.relative_to(ROOT).parts))
        for folder in FOLDERS
        for init in (ROOT / folder).rglob("__init__.py")
    }
    assert found == set(SETUPTOOLS["packages"])


def test_typecheck_links_match_the_folders() -> None:
    """The type checkers see each module under its one true name."""
    links = sorted((ROOT / "typecheck" / "observe").iterdir())
    assert [link.resolve() for link in links] == [ROOT / folder for folder in FOLDERS]


def test_no_module_is_imported_under_its_bare_name() -> None:
    """`import runtime` works from the repository's root and yields second copies of every class."""
    assert not {name.partition(".")[0] for name in sys.modules} & set(FOLDERS)


def test_each_room_says_that_it_is_typed() -> None:
    for folder in FOLDERS:
        assert (ROOT / folder / "py.typed").exists(), folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by way of an sdist as a release is; by one test process, since a build writes beside the sources."""
    mine = tmp_path_factory.getbasetemp()
    out = (mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine) / "dist"
    out.mkdir(exist_ok=True)
    with (out / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(out.glob("*.whl")):
            subprocess.run(
                [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)],
                check=True,
                capture_output=True,
            )
    return next(out.glob("*.whl"))


def test_the_wheel_holds_every_module_and_nothing_else(wheel: Path) -> None:
    """Tests, benchmarks and generic top-level names stay out of a user's site-packages."""
    names = zipfile.ZipFile(wheel).namelist()
    modules = {name for name in names if name.endswith(".py")}
    sources = {
        "observe/" + path.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
    }
    assert modules == sources
    assert {name.partition("/")[0] for name in names} <= {
        "observe",
        *(n.partition("/")[0] for n in names if ".dist-info" in n),
    }
    assert any(name.endswith(".tcss") for name in names)


@pytest.mark.timeout(300)
def test_the_wheel_runs_from_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    """Away from the sources, with only what the wheel declares: an agent answers, and the command speaks."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True, cwd=tmp_path)
    script = tmp_path / "service.py"
    script.write_text(
        "import asyncio\n"
        "from observe.runtime import Agent, Node\n"
        "from observe.probe import Probe\n"
        "class Echo(Agent):\n"
        "    async def handle(self, message): return message\n"
        "async def main():\n"
        "    async with Node('wheel') as node, Probe(node):\n"
        "        print(await (await node.spawn(Echo)).call('hello'))\n"
        "asyncio.run(main())\n"
    )
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OBSERVE_RUNTIME_DIR": str(tmp_path / "run")}
    done = subprocess.run([python, script], check=True, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.stdout == "hello\n"
    version = subprocess.run(
        [home / "bin" / "observe", "--version"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=env,
    )
    assert PROJECT["project"]["version"] in version.stdout
