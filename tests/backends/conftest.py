"""Backends that other people made, installed once a run where that can be done. Whoever cannot have them skips with a note.

`pytest -m backend tests/backends` runs these tests; the plain `pytest` leaves them out, as they install for a minute. A
directory named by OBSERVE_TEST_BACKENDS keeps what was installed for the next run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

INSTALL_S = 150
"""For one of them. Phoenix takes a minute where packages are near, and has 850 MB."""


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


def run(*command: str | Path, cwd: Path) -> None:
    """Install something, or skip with the reason."""
    try:
        done = subprocess.run(
            [str(one) for one in command], cwd=cwd, capture_output=True, text=True, timeout=INSTALL_S, check=False
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"cannot be installed here: {error}")
    if done.returncode:
        pytest.skip(f"cannot be installed here: {(done.stderr or done.stdout).strip()[-300:]}")


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
def phoenix_command(installed: Path) -> Path:
    """Arize Phoenix, in an environment of its own."""
    command = installed / "phoenix" / "bin" / "phoenix"
    if not command.exists():
        run(sys.executable, "-m", "venv", installed / "phoenix", cwd=installed)
        run(installed / "phoenix" / "bin" / "pip", "install", "-q", "arize-phoenix", cwd=installed)
    return command


@pytest.fixture(scope="session")
def mlflow_command(installed: Path) -> Path:
    """MLflow, in an environment of its own."""
    command = installed / "mlflow" / "bin" / "mlflow"
    if not command.exists():
        run(sys.executable, "-m", "venv", installed / "mlflow", cwd=installed)
        run(installed / "mlflow" / "bin" / "pip", "install", "-q", "mlflow", cwd=installed)
    return command


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
