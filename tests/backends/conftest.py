"""Backends that other people made, installed once a run where that can be done. Whoever cannot have them skips with a note.

`pytest -m backend tests/backends` runs these tests; the plain `pytest` leaves them out, as they install for a minute. A
directory named by OBSERVE_TEST_BACKENDS keeps what was installed for the next run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

INSTALL_S = 150
"""For one of them. Phoenix takes a minute where packages are near, and has 850 MB."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Phoenix comes last: it installs while the others are tested."""
    items.sort(key=_needs_phoenix)


def _needs_phoenix(item: pytest.Item) -> bool:
    return "phoenix_command" in getattr(item, "fixturenames", ())


class Installation:
    """Commands one after the other, beside the tests. One takes no longer than `INSTALL_S`."""

    def __init__(self, cwd: Path, *commands: Sequence[str | Path]) -> None:
        self._cwd = cwd
        self._commands = commands
        self._fault = ""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for command in self._commands:
            try:
                done = subprocess.run(
                    [str(one) for one in command], cwd=self._cwd, capture_output=True, text=True,
                    timeout=INSTALL_S, check=False,
                )  # fmt: skip
            except (OSError, subprocess.TimeoutExpired) as error:
                self._fault = str(error)
                return
            if done.returncode:
                self._fault = (done.stderr or done.stdout).strip()[-300:]
                return

    def wait(self) -> None:
        """Until it is done; skips with the reason when it did not work."""
        self._thread.join()
        if self._fault:
            pytest.skip(f"cannot be installed here: {self._fault}")


def python_package(installed: Path, name: str, package: str) -> Installation | None:
    """A package in an environment of its own; None when it is there already. What it does not import need not be compiled."""
    if (installed / name / "bin" / name).exists():
        return None
    pip = installed / name / "bin" / "pip"
    return Installation(
        installed,
        (sys.executable, "-m", "venv", installed / name),
        (pip, "install", "-q", "--no-compile", "--disable-pip-version-check", package),
    )


def run(*command: str | Path, cwd: Path) -> None:
    """Install something, or skip with the reason."""
    Installation(cwd, command).wait()


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory for what is installed."""
    kept = os.environ.get("OBSERVE_TEST_BACKENDS")
    if kept:
        path = Path(kept)
        path.mkdir(parents=True, exist_ok=True)
        yield path
        return
    path = tmp_path_factory.mktemp("backends")
    yield path
    shutil.rmtree(path, ignore_errors=True)  # pytest would keep it for three runs


@pytest.fixture(scope="session", autouse=True)
def phoenix_installation(request: pytest.FixtureRequest) -> Installation | None:
    """Begun with the first test that there is, as it takes the longest; None when nobody needs it, or it is there."""
    if not any(map(_needs_phoenix, request.session.items)):
        return None
    return python_package(request.getfixturevalue("installed"), "phoenix", "arize-phoenix")


@pytest.fixture(scope="session")
def mock_otlp_package(installed: Path) -> tuple[str, Path]:
    """Node.js, and the directory of `@elastic/mockotlpserver`."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("there is no Node.js here")
    package = installed / "node_modules" / "@elastic" / "mockotlpserver"
    if not package.exists():
        run(
            npm,
            "install",
            "--prefix",
            installed,
            "--no-audit",
            "--no-fund",
            "@elastic/mockotlpserver@0.10",
            cwd=installed,
        )
    return node, package


@pytest.fixture(scope="session")
def phoenix_command(installed: Path, phoenix_installation: Installation | None) -> Path:
    """Arize Phoenix, in an environment of its own."""
    if phoenix_installation is not None:
        phoenix_installation.wait()
    return installed / "phoenix" / "bin" / "phoenix"


@pytest.fixture(scope="session")
def mlflow_command(installed: Path) -> Path:
    """MLflow, in an environment of its own."""
    installation = python_package(installed, "mlflow", "mlflow")
    if installation is not None:
        installation.wait()
    return installed / "mlflow" / "bin" / "mlflow"


@pytest.fixture(scope="session")
def victoria_command(installed: Path) -> Path:
    """VictoriaMetrics: Debian's package, unpacked beside the system."""
    found = shutil.which("victoria-metrics")
    if found is not None:
        return Path(found)
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg")
    if apt is None or dpkg is None:
        pytest.skip("there is no apt here")
    command = installed / "victoria" / "usr" / "bin" / "victoria-metrics"
    if not command.exists():
        run(apt, "download", "victoria-metrics", cwd=installed)
        (package,) = installed.glob("victoria-metrics_*.deb")
        run(dpkg, "-x", package, installed / "victoria", cwd=installed)
    return command
