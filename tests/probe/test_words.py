"""The page of words: what a probe can still read when nothing in the service answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from observe.probe import words as layout
from observe.probe.words import NotWords, Words


def test_what_the_service_writes_the_probe_reads(tmp_path: Path) -> None:
    """Two mappings of one file: neither asks the other."""
    path = tmp_path / "words"
    written = Words.create(path)
    read = Words.open(path)
    try:
        written.view[layout.WORD_PID] = 17
        written.view[layout.WORD_SLICE_NS] = 2**63 + 5
        written.view[layout.WORD_SLICES] = 3
        written.view[layout.WORD_RUNNING] = 1
        reading = read.read()
        assert (reading.pid, reading.slice_ns, reading.slices, reading.running) == (17, 2**63 + 5, 3, True)
        assert reading.loop_ns > 0
        assert reading.thread_ns > 0
    finally:
        read.close()
        written.close()


def test_another_process_reads_them(tmp_path: Path) -> None:
    """The layout is the protocol's: magic first, little-endian, eight bytes each."""
    path = tmp_path / "words"
    words = Words.create(path)
    try:
        words.view[layout.WORD_PID] = 4242
        code = "import sys,struct; print(struct.unpack('<7Q', open(sys.argv[1],'rb').read(56))[:2])"
        printed = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
        ).stdout
        assert printed.strip() == f"({layout.MAGIC}, 4242)"
        assert path.stat().st_size == layout.PAGE_BYTES
        assert path.stat().st_mode & 0o777 == 0o600
    finally:
        words.close()


def test_a_new_service_leaves_the_page_of_the_old_one_alone(tmp_path: Path) -> None:
    """A probe that lingers after its node's death goes on showing that node's last words."""
    path = tmp_path / "words"
    old = Words.create(path)
    lingering = Words.open(path)
    new = Words.create(path)
    try:
        old.view[layout.WORD_PID] = 1
        new.view[layout.WORD_PID] = 2
        assert lingering.read().pid == 1
    finally:
        for words in (old, new, lingering):
            words.close()


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\0" * 4096, b"y" * 8192])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    """A truncated or foreign file must not be read as an agent that holds the scheduler."""
    path = tmp_path / "words"
    path.write_bytes(content)
    with pytest.raises(NotWords):
        Words.open(path)
    with pytest.raises(FileNotFoundError):
        Words.open(tmp_path / "nothing")


CHURN = """
import sys
from pathlib import Path
from observe.probe import words as layout
words = layout.Words.create(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(1, 200_000):
    words.view[layout.WORD_SLICES] = number
    words.view[layout.WORD_PID] = number
    words.view[layout.WORD_SLICE_NS] = number
"""


def test_reading_ends_while_somebody_writes(tmp_path: Path) -> None:
    """A reader never waits for a writer that never pauses."""
    path = tmp_path / "words"
    with subprocess.Popen([sys.executable, "-c", CHURN, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        words = Words.open(path)
        try:
            while writer.poll() is None:
                words.read()
            assert words.read().pid == 199_999
        finally:
            words.close()


def test_closing_twice_and_while_in_use(tmp_path: Path) -> None:
    """The scheduler may still hold the view when the probe is stopped."""
    words = Words.create(tmp_path / "words")
    kept = words.view[2:3]
    words.close()
    words.close()
    kept.release()
