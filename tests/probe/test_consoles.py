"""Who is attached, and what was left out for them, is there for everybody to see."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from observe.console.cli import main
from tests.probe.fake_service import FakeService
from tests.probe.patience import eventually
from tests.probe.raw_client import RawClient


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


def test_who_has_gone_without_a_word_is_not_listed_for_long(service: FakeService) -> None:
    """A killed console has no credit left, so that nothing is pushed to it by which its end would show."""
    stays, goes = service.synced_client(), service.client()
    goes.ok("watch", {"what": "agents", "credit": 0})
    goes.ok("watch", {"what": "events", "credit": 1000})
    service._clients.remove(goes)
    goes.close()
    eventually(lambda: len(stays.ok("consoles")["consoles"]) == 1, "the probe to notice")


def test_who_is_there_and_says_nothing_stays_listed(service: FakeService) -> None:
    """And what it is sent meanwhile means nothing to it."""
    asks, silent = service.synced_client(), service.client()
    silent.ok("watch", {"what": "events", "credit": 1000})
    assert silent.socket.poll(20_000), "it was not looked after"
    assert silent.hears_nothing(0.1)
    assert [one["watches"] for one in asks.ok("consoles")["consoles"]] == [[], ["events"]]
    assert silent.ok("ping")["now"] > 0


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
