"""A log record names its agent and its trace, so that one leads to the other."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import structlog

from observe.probe.answers_log import record_map
from observe.runtime import Agent, Node
from observe.runtime.logring import LogRing
from observe.runtime.testing import settled
from observe.tracing import setup
from observe.tracing.logs import AgentFilter, LogHandler, add_agent, where
from tests.tracing.receiver import Receiver, attributes


class Writer(Agent):
    async def handle(self, message: Any) -> Any:
        async with self.activity("tool:write"):
            try:
                raise ValueError("no lamp, password=hunter22")
            except ValueError:
                logging.getLogger("shop").exception(
                    "declined, token=%s", "abc123", extra={"order": 17, "api_key": "abcdef", "to": "Mara"}
                )
            return add_agent(None, "info", {"event": "declined"})


async def test_a_record_goes_out_with_its_agent_and_trace_and_without_secrets() -> None:
    logger = logging.getLogger("shop")
    with Receiver() as backend:
        async with Node("logs@localhost") as node:
            with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05) as tracing:
                handler = LogHandler(tracing)
                logger.addHandler(handler)
                try:
                    writer = await node.spawn(Writer, name="writer")
                    event = await writer.call("go")
                    await settled(node)
                    logging.getLogger("observe.tracing").error("an export failed")
                finally:
                    logger.removeHandler(handler)
        (record,) = backend.logs
        span = backend.span("execute_tool write")
    assert (record.trace_id, record.span_id) == (span.trace_id, span.span_id)
    assert record.severity_text == "ERROR"
    assert record.body.string_value == "declined, token=<masked>"
    told = attributes(record)
    assert told["gen_ai.agent.id"] == "writer"
    assert (told["order"], told["api_key"], told["to"]) == (17, "<masked>", "Mara")
    assert told["exception.type"] == "ValueError"
    assert "in handle" in told["exception.stacktrace"]
    assert "hunter22" not in str(told)
    assert event == {
        "event": "declined",
        "agent": "writer",
        "pid": writer.pid,
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
    }


def test_outside_of_agents_the_fields_are_there_and_empty() -> None:
    """A format that names them must not fail for the service's other records."""
    record = logging.LogRecord("shop", logging.INFO, "f.py", 1, "hello", (), None)
    assert AgentFilter().filter(record)
    assert logging.Formatter("%(agent)s|%(pid)d|%(trace_id)s|%(message)s").format(record) == "|0||hello"
    assert where() == {"agent": "", "pid": 0, "trace_id": "", "span_id": ""}


async def test_the_log_that_the_node_keeps_says_in_which_trace_a_record_was_made() -> None:
    """So that the console leads from a record to its trace, and finds what was logged in a trace."""
    logger = logging.getLogger("shop")

    class Sayer(Agent):
        async def handle(self, message: Any) -> None:
            async with self.activity("tool:say"):
                await asyncio.to_thread(logger.warning, "from a thread", extra=where())

    with Receiver() as backend:
        async with Node("logs@localhost") as node:
            ring = LogRing(node)
            ring.open()
            try:
                with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05):
                    sayer = await node.spawn(Sayer, name="sayer")
                    await sayer.call("go")
                    await settled(node)
                logger.warning("outside")
            finally:
                ring.close()
        span = backend.span("execute_tool say")
    said, outside = (record_map(one) for one in ring.kept() if one.logger == "shop")
    assert (said["trace"], said["span"]) == (span.trace_id.hex(), span.span_id.hex())
    assert (said["name"], said["pid"], said["fields"]) == ("sayer", sayer.pid, {})
    assert (outside["trace"], outside["span"], outside["pid"]) == ("", "", 0)


async def test_structlogs_chain_names_the_agent_and_the_trace() -> None:
    """As its users set it up: our processor among theirs, JSON at the end."""
    lines: list[str] = []

    class Lines:
        def info(self, line: str) -> None:
            lines.append(line)

    log = structlog.wrap_logger(
        Lines(),
        processors=[structlog.processors.add_log_level, add_agent, structlog.processors.JSONRenderer()],
    )

    class Talker(Agent):
        async def handle(self, message: Any) -> None:
            async with self.activity("tool:talk"):
                await asyncio.to_thread(log.info, "from a thread of its own")
                log.info("declined", pid="mine")

    with Receiver() as backend:
        async with Node("logs@localhost") as node:
            with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05):
                talker = await node.spawn(Talker, name="talker")
                await talker.call("go")
                await settled(node)
        span = backend.span("execute_tool talk")
    thread, own = (json.loads(line) for line in lines)
    log.info("outside")
    assert own == {
        "event": "declined", "level": "info", "agent": "talker", "pid": "mine", "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
    }  # fmt: skip
    assert (thread["agent"], thread["span_id"]) == ("talker", span.span_id.hex())
    assert json.loads(lines[-1])["agent"] == ""
