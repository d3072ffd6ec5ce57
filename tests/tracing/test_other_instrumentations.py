"""Agents written with a model's own client, instrumented by its own package, nest under ours without configuration."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openinference.instrumentation.openai import OpenAIInstrumentor

from observe.examples.shop import moods
from observe.examples.shop.model_server import MODEL, ModelServer
from observe.runtime import Agent, Node
from observe.tracing import setup
from tests.tracing.receiver import Receiver, attributes


class Chatter(Agent):
    """Uses the official client, in an activity."""

    def init(self, port: int) -> None:
        self.port = port

    async def handle(self, message: Any) -> Any:
        async with (
            openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{self.port}/v1", api_key="none") as client,
            self.activity("tool:answer"),
        ):
            answer = await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "hello"}]
            )
        return answer.choices[0].message.content


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_the_openai_client_s_own_span_is_below_the_activity() -> None:
    server = ModelServer(moods.Schedule.parse("healthy:3600"), seed=7, pause_s=0.0)
    port = await server.start()
    with Receiver() as backend:
        async with Node("shop@localhost") as node:
            with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05) as tracing:
                instrumentor = OpenAIInstrumentor()
                instrumentor.instrument(tracer_provider=tracing.tracer_provider)
                try:
                    chatter = await node.spawn(Chatter, port, name="chatter")
                    assert await chatter.call("go", timeout=60)
                finally:
                    instrumentor.uninstrument()
    await server.close()
    chat, answer, run = (
        backend.span(name) for name in ("ChatCompletion", "execute_tool answer", "invoke_agent Chatter")
    )
    assert (chat.parent_span_id, answer.parent_span_id) == (answer.span_id, run.span_id)
    assert {chat.trace_id, answer.trace_id} == {run.trace_id}
    assert attributes(chat)["llm.finish_reason"] == "stop"
