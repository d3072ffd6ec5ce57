"""What is true of a node at every moment, whatever has happened to its agents."""

from __future__ import annotations

from observe.runtime import Node
from observe.runtime.agent import EXITED
from observe.runtime.supervisor import Supervisor


def assert_whole(node: Node) -> None:
    """Every table tells of the same agents, and the tree holds them all."""
    agents = node.agents
    assert len({id(agent) for agent in agents.values()}) == len(agents)
    for pid, agent in agents.items():
        assert (agent._o_pid, agent._o_status != EXITED) == (pid, True)
        supervisor = agent._o_child.supervisor
        if supervisor is not None and supervisor._o_exit is None and agent._o_exit is None:
            assert agents.get(supervisor._o_pid) is supervisor, f"{agent._o_text()} is an orphan"
            assert agent._o_child.agent is agent, f"{agent._o_text()} has lost its place"
            assert supervisor._o_children.get(agent._o_child.id) is agent._o_child
        if isinstance(agent, Supervisor):
            for child in agent._o_children.values():
                assert child.agent is None or agents.get(child.agent._o_pid) is child.agent
    for name, agent in node.registry.items():
        assert agents.get(agent._o_pid) is agent, f"the name {name!r} is held by one who is gone"
        assert agent._o_child.name == name
    named = [agent._o_child.name for agent in agents.values() if agent._o_child.name is not None]
    assert len(named) == len(set(named)) == len(node.registry)
    for group in node.groups.which_groups():
        assert all(ref.pid in agents for ref in node.groups.members(group))
