"""Keeps to the caps of `observe.runtime.caps`: counts what agents spend, warns, and has what goes beyond denied.

    an activity begins --> Capping --> counters, by cap and key --> at `warn_at` and when used up: told, the agent contained
    a model was used   -->   |                ^
                             v                | totals of what is counted for several agents
    the next activity --> judge               +-- other processes (`observe.runtime.caps_far`)

What is under way when a cap is used up goes on: its model has answered and is paid for. What would begin next is denied.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.caps import Cap
from observe.runtime.charges import Charge, Place, Spent, StepListener
from observe.runtime.clock import wall_s
from observe.runtime.containment import contain_at_least
from observe.runtime.decisions import ALLOW, Attempt, Decision, deny
from observe.runtime.errors import ActionRefused
from observe.runtime.instrument import Instrument
from observe.runtime.taps import tap, untap

if TYPE_CHECKING:
    from observe.runtime.activity import Activity
    from observe.runtime.agent import Agent
    from observe.runtime.children import Child
    from observe.runtime.exits import ExitReason
    from observe.runtime.governing import Governing

MOST_KEYS: Final = 50_000
"""Tenants, runs and the like that one cap tells apart; the one that has spent longest ago is forgotten, and counted."""

KEY_LENGTH: Final = 100


class Capping(Instrument):
    """Of one node. Belongs to the scheduler's thread. A judge as well."""

    sees_sends = False
    depends_on_time = False

    def __init__(self, governing: Governing, caps: Sequence[Cap]) -> None:
        self._governing = governing
        self.caps = tuple(caps)
        self._places: dict[Child, Place] = {}
        self._shared: dict[str, OrderedDict[str, Spent]] = {
            cap.policy: OrderedDict() for cap in caps if cap.is_shared
        }
        self._by_policy = {cap.policy: cap for cap in caps}
        self.denied: Counter[str] = Counter()
        """By policy."""
        self.forgotten = 0
        """Keys that were forgotten because there were too many. Above 0, some may have spent more than they should."""
        self.on_shared: Callable[[Charge], None] | None = None
        """Told of what was spent here of a cap that is counted across processes."""

    # -- Which agents

    def begin(self, before: Capping | None) -> None:
        """Count for the agents that there are, and those to come. Caps that stay, with whatever limits, go on counting."""
        node = self._governing.node
        if before is not None:
            before.end()
            self.on_shared = before.on_shared
            self.denied.update({one: n for one, n in before.denied.items() if one in self._by_policy})
            for policy, keys in self._shared.items():
                if _is_same(self._by_policy[policy], before._by_policy.get(policy)):
                    keys.update(before._shared[policy])
                    for spent in keys.values():
                        spent.told = set()  # of other limits, as far as anybody knows
        node.instruments.add(self)
        for agent in list(node.agents.values()):
            self.on_spawn(agent)
            self._go_on(agent, before)

    def end(self) -> None:
        """Count for nobody any more."""
        self._governing.node.instruments.remove(self)
        for child, place in self._places.items():
            if place.tapped is not None and child.agent is not None:
                untap(child.agent, place.tapped)

    def _go_on(self, agent: Agent, before: Capping | None) -> None:
        old = before._places.get(agent._o_child) if before is not None else None
        new = self._places.get(agent._o_child)
        if before is None or old is None or new is None:
            return
        for policy in new.own:
            if policy in old.own and _is_same(self._by_policy[policy], before._by_policy.get(policy)):
                new.own[policy] = old.own[policy]
                new.own[policy].told = set()

    def on_spawn(self, agent: Agent) -> None:
        """It may be one that a cap is about."""
        if agent._o_system or agent._o_away is not None:
            return
        place = self._places.get(agent._o_child)
        if place is None:
            whose = (type(agent).__name__, agent._o_child.name or "")
            caps = tuple(cap for cap in self.caps if cap.is_about(whose))
            if not caps:
                return
            place = self._places[agent._o_child] = Place(caps)
        steps = [cap.policy for cap in place.caps if cap.per == "step"]
        if steps:
            place.tapped = StepListener(place, steps)
            try:
                tap(agent, place.tapped)
            except ActionRefused:  # it is ending already
                place.tapped = None

    def on_exit(self, agent: Agent, reason: ExitReason) -> None:
        """Its place may be given up with it."""
        if agent._o_child in self._places:
            agent._o_scheduler.post(self._prune, agent._o_child)

    def _prune(self, child: Child) -> None:
        supervisor = child.supervisor
        if supervisor is None or supervisor._o_children.get(child.id) is not child:
            self._places.pop(child, None)

    # -- What is spent

    def on_activity_start(self, agent: Agent, activity: Activity) -> None:
        """It may be a tool call. What was done before, and is not done again, costs nothing."""
        if not activity.completed:
            self._charge(activity, 1, 0, 0.0)

    def spent(self, activity: Activity, tokens: int, cost: float) -> None:
        """A model was used in an activity."""
        self._charge(activity, 0, tokens, cost)

    def _charge(self, activity: Activity, calls: int, tokens: int, cost: float) -> None:
        agent = _payer(activity.agent)
        place = self._places.get(agent._o_child)
        if place is None:
            return
        for cap in place.caps:
            counted = calls if calls and cap.tool_calls is not None and cap.counts(activity.name) else 0
            if not (counted or tokens or cost):
                continue
            key = _key(cap, agent, activity)
            spent = self._counters(cap, place, key)
            spent.add(counted, tokens, cost)
            if cap.is_shared and self.on_shared is not None:
                self.on_shared(
                    Charge(cap.policy, key, spent.window, counted, tokens, cost, activity.agent._o_pid)
                )
            self._look(cap, agent, key, spent)

    def charged_far(self, charges: Iterable[Charge]) -> None:
        """In the node's process: agents of a worker have spent this of what is counted for several."""
        for one in charges:
            cap = self._by_policy.get(one.policy)
            if cap is None or not cap.is_shared:
                continue
            spent = self._of_key(cap, one.key, one.window)
            if spent.window != one.window:
                continue  # of a time span that is over
            spent.add(one.tool_calls, one.tokens, one.cost)
            if self.on_shared is not None:
                self.on_shared(one)
            agent = self._governing.node.agents.get(one.pid)
            if agent is not None:
                self._look(cap, agent, one.key, spent)

    def totals(self, keys: Iterable[tuple[str, str]] | None = None) -> list[Charge]:
        """What has been spent so far of what is counted for several agents; of these caps and keys, or of all."""
        if keys is None:
            keys = [(policy, key) for policy, known in self._shared.items() for key in known]
        found = []
        for policy, key in keys:
            known = self._shared.get(policy)
            spent = known.get(key) if known is not None else None
            if spent is not None:
                found.append(Charge(policy, key, spent.window, spent.tool_calls, spent.tokens, spent.cost))
        return found

    def take_totals(self, totals: Iterable[Charge]) -> None:
        """In a worker: so much has been spent by all processes. What was spent here meanwhile is on its way, so the higher one counts."""
        for one in totals:
            cap = self._by_policy.get(one.policy)
            if cap is None or not cap.is_shared:
                continue
            spent = self._of_key(cap, one.key, one.window)
            if spent.window == one.window:
                spent.tool_calls = max(spent.tool_calls, one.tool_calls)
                spent.tokens = max(spent.tokens, one.tokens)
                spent.cost = max(spent.cost, one.cost)

    def count_denied(self, policy: str) -> None:
        """A worker has denied something by a cap."""
        if policy in self._by_policy:
            self.denied[policy] += 1

    def forget(self, agent: Agent) -> list[str] | None:
        """Let what is counted for this agent by itself begin anew. Returns what that was, for people; None when no cap counts that."""
        place = self._places.get(agent._o_child)
        if place is None or not place.own:
            return None
        said = []
        for policy, spent in list(place.own.items()):
            said += [f"{policy}: {text}" for text in self._said(self._by_policy[policy], spent)]
            place.own[policy] = Spent(spent.window)
        return said

    def _counters(self, cap: Cap, place: Place, key: str) -> Spent:
        window = _window(cap)
        if not cap.is_shared:
            spent = place.own[cap.policy]
            if spent.window != window:
                spent = place.own[cap.policy] = Spent(window)
            return spent
        return self._of_key(cap, key, window)

    def _of_key(self, cap: Cap, key: str, window: int) -> Spent:
        """The counters of this time span, or of a later one that somebody has begun: clocks are set back."""
        keys = self._shared[cap.policy]
        spent = keys.pop(key, None)
        if spent is None or spent.window < window:
            spent = Spent(window)
        keys[key] = spent  # the last: who has spent longest ago is the first to be forgotten
        if len(keys) > MOST_KEYS:
            keys.popitem(last=False)
            self.forgotten += 1
        return spent

    # -- What comes of it

    def _look(self, cap: Cap, agent: Agent, key: str, spent: Spent) -> None:
        """Tell people, once, and contain the agent where the cap says so."""
        for limit, allowed in cap.limits:
            used = spent.used(limit)
            if used < cap.warn_at * allowed:
                continue
            is_out = used >= allowed
            if (limit, is_out) not in spent.told:
                spent.told |= {(limit, False), (limit, is_out)}
                self._tell(cap, agent, key, limit, used, allowed)
            level = cap.warn_level
            if is_out and cap.effect == "contain" and limit != "tool_calls":
                level = cap.level  # who has made the last call that is allowed has done nothing wrong yet
            if level is not None and agent._o_is_alive():
                self._contain(cap, agent, level, limit, used, allowed)

    def _contain(self, cap: Cap, agent: Agent, level: Any, limit: str, used: float, allowed: float) -> None:
        why = cap.reason or f"{limit} {used:g} of {allowed:g}"
        tools, recipients = _fence(cap, level)
        contain_at_least(agent, level, why, f"policy {cap.policy}", tools=tools, recipients=recipients)

    def _tell(self, cap: Cap, agent: Agent, key: str, limit: str, used: float, allowed: float) -> None:
        if cap.is_shared and self._governing.node.is_worker:
            return  # the node's process tells it, which knows what all have spent
        facts = {
            "limit": limit,
            "used": f"{used:g}",
            "allowed": f"{allowed:g}",
            "per": cap.per,
            "key": key,
        }
        why = f"{_whose(cap, key)}{limit} {used:g} of {allowed:g}" + (f"; {cap.reason}" if cap.reason else "")
        self._governing.report(agent, "cap", limit, "", why, cap.policy, facts)

    def judge(self, attempt: Attempt) -> Decision:
        """Whether there is anything left for what is about to begin."""
        if attempt.activity is None or attempt.is_open:
            return ALLOW
        agent = _payer(attempt.agent)
        place = self._places.get(agent._o_child)
        if place is None:
            return ALLOW
        for cap in place.caps:
            if cap.effect == "report":
                continue
            key = _key(cap, agent, attempt.activity)
            spent = self._counters(cap, place, key)
            for limit, allowed in cap.limits:
                if spent.used(limit) < allowed or (
                    limit == "tool_calls" and not cap.counts(attempt.activity.name)
                ):
                    continue
                why = f"{_whose(cap, key)}{limit} {spent.used(limit):g} of {allowed:g} used up"
                why = f"{cap.reason}; {why}" if cap.reason else why
                if cap.effect == "contain":
                    tools, recipients = _fence(cap, cap.level)
                    return Decision(
                        "contain", why, cap.policy, level=cap.level, tools=tools, recipients=recipients
                    )
                self.denied[cap.policy] += 1
                return deny(why, cap.policy)
        return ALLOW

    # -- For people

    def is_nearly_out(self, policy: str, key: str, pid: int) -> bool | None:
        """Whether a cap is used up to its warning, or beyond; None where this process does not know."""
        cap = self._by_policy.get(policy)
        if cap is None:
            return False
        if cap.is_shared:
            spent = self._shared[policy].get(key)
        else:
            agent = self._governing.node.agents.get(pid)
            place = self._places.get(agent._o_child) if agent is not None else None
            if place is None:
                return None
            spent = place.own.get(policy)
        if spent is None or spent.window != _window(cap):
            return False
        return any(spent.used(limit) >= cap.warn_at * allowed for limit, allowed in cap.limits)

    def worst(self, cap: Cap, most: int) -> list[tuple[str, int, Spent, float]]:
        """Who has used up most of it: key, pid (0 where it is counted for several), counters and share, the worst first."""
        window = _window(cap)
        found = [
            (key, pid, spent, max(spent.used(limit) / allowed for limit, allowed in cap.limits))
            for key, pid, spent in self._all_of(cap)
            if spent.window == window
        ]
        found.sort(key=lambda one: -one[3])
        return [one for one in found[:most] if one[3] > 0]

    def _all_of(self, cap: Cap) -> Iterator[tuple[str, int, Spent]]:
        if cap.is_shared:
            yield from ((key, 0, spent) for key, spent in self._shared[cap.policy].items())
            return
        for child, place in self._places.items():
            spent = place.own.get(cap.policy)
            if spent is not None and child.agent is not None:
                yield child.name or child.agent._o_text(), child.agent._o_pid, spent

    def _said(self, cap: Cap, spent: Spent) -> list[str]:
        return [
            f"{limit} {spent.used(limit):g}/{allowed:g}" for limit, allowed in cap.limits if spent.used(limit)
        ]


def _payer(agent: Agent) -> Agent:
    """What the items of a `supervised_map` spend is their caller's."""
    while (supervisor := agent._o_child.supervisor) is not None and supervisor._o_caller is not None:
        agent = supervisor._o_caller
    return agent


def _fence(cap: Cap, level: Any) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Tools and recipients that a level leaves; None: what the agent's class says."""
    if level != "restricted":
        return None, None
    return (
        None if cap.tools is None else tuple(cap.tools),
        None if cap.recipients is None else tuple(cap.recipients),
    )


def _key(cap: Cap, agent: Agent, activity: Activity) -> str:
    if not cap.is_shared or cap.per == "node":
        return ""
    said = activity.said
    value = said[cap.per] if cap.per in said else getattr(agent, cap.per, "")
    return str(value)[:KEY_LENGTH]


def _whose(cap: Cap, key: str) -> str:
    return f"{cap.per} {key or 'unknown'}: " if cap.is_shared and cap.per != "node" else f"{cap.per}: "


def _window(cap: Cap) -> int:
    return 0 if cap.every_s is None else int(wall_s() // cap.every_s)


def _is_same(one: Cap, other: Cap | None) -> bool:
    """Whether what was counted for the one counts for the other."""
    return other is not None and (one.per, one.every_s) == (other.per, other.every_s)
