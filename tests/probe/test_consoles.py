"""Who is attached, and what was left out for them, is there for everybody to see."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from observe.console.cli import main
from tests.probe.fake_service import FakeService, RawClient, eventually


@pytest.fixture
def service() -> Iterator[FakeService]:
    with FakeService() as made:
        made.start()
        made.shop()
        yield made


def test_what_was_left_out_for_a_console_is_counted_and_shown(service: FakeService) -> None:
    """A console that gives no credit misses pictures; others learn whose it is."""
    asks, watches = service.synced_client(), service.client()
    watches.ok("watch", {"what": "vitals", "interval_s": 0.05, "credit": 1})
    watches.ok("watch", {"what": "events", "interval_s": 0.05, "credit": 0})
    for _ in range(1500):
        service.crash(2)
    told = eventually(lambda: lines(asks, least=501), "what was left out")
    mine, theirs = told["consoles"]
    assert (mine["watches"], mine["dropped"], theirs["watches"]) == ([], 0, ["events", "vitals"])
    assert (theirs["role"], theirs["program"], theirs["waiting"]) == ("admin", "a test", 1000)
    assert theirs["credit"] == 0
    assert theirs["silent_s"] > 0
    assert told["dropped"] >= theirs["dropped"]
    asks.send_raw(b"\xc1")
    asks.receive()
    assert asks.ok("consoles")["bad_frames"] == 1


def lines(client: RawClient, least: int) -> dict[str, object] | None:
    told = client.ok("consoles")
    return told if told["dropped"] >= least else None


def test_who_has_gone_is_not_listed(service: FakeService) -> None:
    stays, goes = service.synced_client(), service.client()
    goes.ok("watch", {"what": "vitals", "interval_s": 0.05, "credit": 1000})
    assert len(stays.ok("consoles")["consoles"]) == 2
    service._clients.remove(goes)
    goes.close()
    eventually(lambda: len(stays.ok("consoles")["consoles"]) == 1, "the probe to notice")


def test_the_command_line_lists_consoles(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBSERVE_RUNTIME_DIR", str(service.runtime))
    watches = service.synced_client()
    watches.ok("watch", {"what": "vitals", "interval_s": 0.05, "credit": 1000})
    shown = CliRunner().invoke(main, ["consoles", "shop"])
    assert shown.exit_code == 0, shown.output
    head, first, own = shown.stdout.splitlines()
    assert head.split() == [
        "NAME", "ROLE", "PROGRAM", "ATTACHED", "SILENT", "CREDIT", "DROPPED", "WATCHES",
    ]  # fmt: skip
    assert first.split()[-1] == "vitals"
    assert "observe" in own
    told = json.loads(CliRunner().invoke(main, ["consoles", "shop", "--json"]).stdout)
    assert told["consoles"][0]["watches"] == ["vitals"]
