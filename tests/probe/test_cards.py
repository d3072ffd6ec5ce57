"""Cards: found by their owner alone, alive exactly as long as their probe."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from observe.probe.cards import (
    Card,
    NodeLock,
    card_path,
    check_node_name,
    list_cards,
    node_directory,
    nodes_directory,
    read_card,
    reap,
    runtime_directory,
    write_card,
)
from observe.probe.errors import UnsafeDirectory


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OBSERVE_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def card(name: str = "shop") -> Card:
    return Card(
        name=name,
        host="host",
        pid=1,
        probe_pid=2,
        incarnation="i",
        endpoint="tcp://127.0.0.1:1",
        server_public_key="s" * 40,
        client_public_key="c" * 40,
        client_secret_key="x" * 40,
        started_at=1.0,
        version="0.1.0",
    )


def alive(name: str = "shop") -> NodeLock:
    """A card with somebody who holds its lock."""
    directory = node_directory(name)
    lock = NodeLock.take(directory)
    assert lock is not None
    write_card(card(name), directory)
    return lock


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_card_and_all_directories_above_it_are_the_owners_alone() -> None:
    """Whoever can read a card can kill agents."""
    old = os.umask(0)
    try:
        lock = alive()
    finally:
        os.umask(old)
    directory = node_directory("shop")
    assert mode(card_path(directory)) == 0o600
    assert mode(directory / "lock") == 0o600
    assert [mode(path) for path in (directory, nodes_directory(), runtime_directory())] == [0o700] * 3
    lock.release()


def test_a_card_comes_back_as_it_was_written() -> None:
    lock = alive()
    assert read_card("shop") == card()
    assert list_cards() == [card()]
    lock.release()


def test_a_secret_key_is_not_printed() -> None:
    """Cards end up in error messages and logs."""
    assert "x" * 40 not in repr(card())
    assert "x" * 40 not in str(card())


def test_nothing_but_the_card_is_left_by_writing_it() -> None:
    """It is replaced at once: a reader sees the old one or the new one."""
    lock = alive()
    write_card(card(), node_directory("shop"))
    assert sorted(path.name for path in nodes_directory().iterdir()) == ["shop", "shop.json"]
    lock.release()


def test_a_card_whose_probe_is_gone_is_stale_and_removed_when_listed() -> None:
    """`kill -9` leaves it behind; attaching by it would wait for nobody."""
    alive().release()
    found = read_card("shop")
    assert found is not None
    assert found.state == "stale"
    assert list_cards() == []
    assert read_card("shop") is None
    assert not card_path(node_directory("shop")).exists()


def test_the_system_frees_the_lock_when_its_holder_is_killed() -> None:
    """However it ends: that is why a lock tells and not a process id, which another may have by then."""
    code = (
        "import sys, time; from pathlib import Path; from observe.probe.cards import NodeLock\n"
        "lock = NodeLock.take(Path(sys.argv[1])); print('held', flush=True); time.sleep(600)"
    )
    directory = node_directory("shop")
    write_card(card(), directory)
    with subprocess.Popen([sys.executable, "-c", code, str(directory)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert [found.name for found in list_cards()] == ["shop"]
        assert NodeLock.take(directory) is None
        assert not reap(directory)
        holder.kill()
    assert list_cards() == []


def test_looking_at_a_lock_does_not_take_it() -> None:
    """`observe nodes` in a loop must not keep a node from starting."""
    lock = alive()
    read_card("shop")
    lock.release()
    again = NodeLock.take(node_directory("shop"))
    assert again is not None
    again.release()
    again.release()


def test_a_card_that_says_another_name_is_not_believed() -> None:
    """Copied or renamed by hand: it would attach to something else than was asked for."""
    lock = alive("shop")
    other = alive("other")
    card_path(node_directory("other")).write_bytes(card_path(node_directory("shop")).read_bytes())
    assert [found.name for found in list_cards()] == ["shop"]
    lock.release()
    other.release()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"name": 5}', b"\xff\xfe", b'{"name": "shop"}', b" " * 100_000 + b"{}"]
)
def test_a_file_that_is_no_card_is_no_card(content: bytes) -> None:
    """Half a disk was full once."""
    path = card_path(node_directory("shop"))
    path.write_bytes(content)
    path.chmod(0o600)
    assert read_card("shop") is None
    assert list_cards() == []


def test_a_card_that_others_may_read_or_that_is_a_link_is_not_believed(tmp_path: Path) -> None:
    """Its secret is out, or it was put there by somebody else."""
    lock = alive()
    path = card_path(node_directory("shop"))
    path.chmod(0o644)
    assert read_card("shop") is None
    path.chmod(0o600)
    elsewhere = tmp_path / "elsewhere.json"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert read_card("shop") is None
    lock.release()


def test_keys_of_a_later_version_are_passed_over() -> None:
    lock = alive()
    path = card_path(node_directory("shop"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": "red"}))
    assert read_card("shop") == card()
    lock.release()


def test_a_directory_that_others_may_enter_is_refused(runtime: Path) -> None:
    """They could put a card there whose endpoint is their own."""
    nodes_directory().chmod(0o755)
    with pytest.raises(UnsafeDirectory, match="chmod 700"):
        list_cards()
    nodes = runtime / "observe" / "nodes"
    nodes.rmdir()
    nodes.symlink_to(runtime)
    with pytest.raises(UnsafeDirectory, match="not a directory"):
        list_cards()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(runtime: Path) -> None:
    os.chown(nodes_directory(), 12345, -1)
    with pytest.raises(UnsafeDirectory, match="belongs to user 12345"):
        list_cards()


def test_without_a_runtime_directory_one_in_the_temporary_directory_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers and cron have no XDG_RUNTIME_DIR."""
    monkeypatch.delenv("OBSERVE_RUNTIME_DIR")
    monkeypatch.setattr("observe.probe.cards._platform_directory", lambda: tmp_path / "missing")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert runtime_directory() == tmp_path / f"observe-{os.geteuid()}" / "observe"
    assert mode(runtime_directory().parent) == 0o700


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a b", "-a", ".a", "a\0b", "a\n", "ä", "a" * 64, "shop@host"]
)
def test_a_name_that_would_be_a_bad_file_name_is_refused(name: str) -> None:
    """It becomes a part of a path."""
    with pytest.raises(ValueError, match="cannot be a node's name"):
        check_node_name(name)
    assert read_card(name) is None


@pytest.mark.parametrize("name", ["shop", "Shop-2", "a", "1", "a.b_c"])
def test_usual_names_are_accepted(name: str) -> None:
    lock = alive(name)
    assert [found.name for found in list_cards()] == [name]
    lock.release()
