"""An agent tree between two web services that OpenTelemetry's own packages instrument: all of it is one trace."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from opentelemetry import baggage
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

from observe.runtime import Agent, Node
from observe.runtime.testing import eventually
from observe.tracing import setup
from observe.tracing.context import add_headers
from tests.tracing.receiver import Receiver


class Asker(Agent):
    """Asks the other web service."""

    def init(self, url: str) -> None:
        self.url = url

    async def handle(self, message: Any) -> Any:
        async with (
            self.activity("tool:stock"),
            httpx.AsyncClient(event_hooks={"request": [add_headers]}, trust_env=False) as client,
        ):
            return (await client.get(f"{self.url}/stock", timeout=30)).json()


class Front(Agent):
    async def handle(self, message: Any) -> Any:
        async with self.activity("model:chat", model="night-1"):
            return await self.node.ref("asker").call(message, timeout=30)


@contextlib.asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", ws="none", loop="none"))
    running = asyncio.create_task(server._serve(sockets=[listening]))
    try:
        await eventually(lambda: server.started, timeout_s=30)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
        listening.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # those of the packages that we test against
async def test_a_request_its_agents_and_what_they_ask_elsewhere_are_one_trace() -> None:
    front, stock = FastAPI(), FastAPI()
    with Receiver() as backend:
        async with Node("shop@localhost") as node:
            with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05) as tracing:
                seen: list[Any] = []

                async def tell(request: Request) -> dict[str, int]:
                    seen.append((request.headers.get("traceparent"), baggage.get_baggage("customer")))
                    return {"lamps": 3}

                async def ask() -> Any:
                    return await node.ref("front").call("lamps", timeout=30)

                stock.add_api_route("/stock", tell)
                front.add_api_route("/ask", ask)
                for app in (front, stock):
                    FastAPIInstrumentor.instrument_app(app, tracer_provider=tracing.tracer_provider)
                async with served(stock) as there, served(front) as here:
                    await node.spawn(Asker, there, name="asker")
                    await node.spawn(Front, name="front")
                    async with httpx.AsyncClient(trust_env=False) as client:
                        headers = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "baggage": "customer=17"}
                        answer = await client.get(f"{here}/ask", headers=headers, timeout=30)
                assert answer.json() == {"lamps": 3}
    names = [
        "GET /ask",
        "invoke_agent Front",
        "chat night-1",
        "invoke_agent Asker",
        "execute_tool stock",
        "GET /stock",
    ]
    chain = [backend.span(name) for name in names]
    assert {span.trace_id.hex() for span in chain} == {"a" * 32}
    assert chain[0].parent_span_id.hex() == "b" * 16
    for parent, child in itertools.pairwise(chain):
        assert child.parent_span_id == parent.span_id, child.name
    ((traceparent, customer),) = seen
    assert traceparent == f"00-{'a' * 32}-{chain[-2].span_id.hex()}-01"
    assert customer == "17", "baggage goes all the way"
