"""How a probe begins and ends: one for each name, at the same port again, and never silently."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.probe.fake_service import FakeService
from tests.probe.patience import PATIENCE_S


def test_a_stop_on_purpose_is_told_and_the_probe_ends() -> None:
    with FakeService() as service:
        service.start()
        service.shop()
        client = service.synced_client()
        events = client.ok("watch", {"what": "events", "interval_s": 3600.0, "credit": 100})["sub"]
        vitals = client.ok("watch", {"what": "vitals", "interval_s": 3600.0, "credit": 100})["sub"]
        assert client.push(vitals)["data"]["state"] == "up"
        service.send("bye", reason="deployed")
        assert client.push(vitals)["data"]["state"] == "stopped"
        (event,) = client.push(events)["data"]["events"]
        assert (event["kind"], event["text"]) == ("node", "shop@host.example stopped: deployed")
        assert service.probe is not None
        assert service.probe.wait(PATIENCE_S) == 0
        assert not (service.directory.parent / "shop.json").exists()


def test_who_waits_when_the_probe_ends_is_told() -> None:
    """And the audit log does not end with a question."""
    with FakeService() as service:
        service.start()
        service.shop()
        client = service.synced_client()
        number = client.ask("kill", client.command("w2"))
        service.expect("kill")
        assert service.probe is not None
        service.probe.terminate()
        assert client.reply(number)["error"]["code"] == "node_timeout"
        service.probe.wait(PATIENCE_S)
        assert [record.phase for record in service.commands_on_record()] == ["requested", "failed"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_probe_that_is_told_to_end_takes_its_card_along(number: int) -> None:
    with FakeService() as service:
        service.start()
        assert service.card().state == "up"
        assert service.probe is not None
        service.probe.send_signal(number)
        assert service.probe.wait(PATIENCE_S) == 0
        assert not (service.directory.parent / "shop.json").exists()


def test_a_probe_that_was_killed_is_followed_by_one_at_the_same_port() -> None:
    """Consoles reconnect to where they were; the stale card is in nobody's way."""
    with FakeService() as service:
        service.start()
        endpoint = service.ready["endpoint"]
        assert service.probe is not None
        service.probe.kill()
        service.probe.wait()
        assert service.card().state == "stale"
        assert service.probe.stderr is not None
        service.probe.stderr.close()
        service.config["port"] = int(endpoint.rpartition(":")[2])
        service.start()
        service.shop()
        assert service.ready["endpoint"] == endpoint
        assert service.synced_client().total() == 4
        assert service.card().state == "up"


def test_a_port_that_is_taken_is_not_insisted_on() -> None:
    with socket.socket() as taken, FakeService() as service:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        service.config["port"] = taken.getsockname()[1]
        service.start()
        assert service.ready["endpoint"] != f"tcp://127.0.0.1:{service.config['port']}"
        assert service.client().ok("ping")


def test_two_live_nodes_cannot_have_one_name() -> None:
    """The second is told so, and the first is not disturbed."""
    with FakeService() as first:
        first.start()
        first.shop()
        client = first.synced_client()
        with FakeService(runtime=first.runtime) as second:
            second.launch()
            ready = second.expect("ready")
            assert ready["error"]["code"] == "name_taken"
            assert f"running already in process {os.getpid()}" in ready["error"]["message"]
            assert second.probe is not None
            assert second.probe.wait(PATIENCE_S) == 3
        assert client.total() == 4
        assert first.card().incarnation == first.config["incarnation"]


@pytest.mark.parametrize("line", [b"", b"{", b"[]\n", b"{}\n", b'{"node": "../../etc"}\n', b"\xff\xfe\n"])
def test_a_configuration_that_cannot_be_read_is_one_clear_line(line: bytes) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "observe.probe.process"],
        check=False,
        input=line,
        capture_output=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert done.stdout == b""
    assert len(done.stderr.decode().splitlines()) == 1
    assert b"Traceback" not in done.stderr


def test_a_directory_that_others_may_enter_is_refused() -> None:
    with FakeService() as service:
        service.directory.chmod(0o755)
        service.launch()
        error = service.expect("ready")["error"]
        assert error["code"] == "unsafe_directory"
        assert "chmod 700" in error["message"]


def test_an_address_that_cannot_be_bound_is_told() -> None:
    with FakeService(listen="tcp://192.0.2.1:5") as service:
        service.launch()
        error = service.expect("ready")["error"]
        assert error["code"] == "cannot_serve"
        assert "192.0.2.1" in error["message"]
