"""The agent runtime: agents, mailboxes, supervision. Needs nothing but the standard library."""

from observe.runtime.activity import Activity
from observe.runtime.agent import Agent
from observe.runtime.bonds import Down, Exit, Monitor, Timer
from observe.runtime.children import Backoff, ChildSpec
from observe.runtime.errors import (
    AgentExited,
    BadChildSpec,
    CallTimeout,
    InitFailed,
    MailboxFull,
    NameTaken,
    NodeDown,
    NoSuchAgent,
    NoSuchChild,
    RuntimeFault,
    WrongThread,
)
from observe.runtime.exits import KILLED, NORMAL, SHUTDOWN, Crash, ExitReason
from observe.runtime.instrument import Instrument
from observe.runtime.node import DeadLetter, Node, NodeVitals
from observe.runtime.ref import Ref
from observe.runtime.scheduler import current_agent
from observe.runtime.supervisor import DynamicSupervisor, Supervisor
from observe.runtime.supervisor_ref import SupervisorRef

__all__ = [
    "KILLED",
    "NORMAL",
    "SHUTDOWN",
    "Activity",
    "Agent",
    "AgentExited",
    "Backoff",
    "BadChildSpec",
    "CallTimeout",
    "ChildSpec",
    "Crash",
    "DeadLetter",
    "Down",
    "DynamicSupervisor",
    "Exit",
    "ExitReason",
    "InitFailed",
    "Instrument",
    "MailboxFull",
    "Monitor",
    "NameTaken",
    "NoSuchAgent",
    "NoSuchChild",
    "Node",
    "NodeDown",
    "NodeVitals",
    "Ref",
    "RuntimeFault",
    "Supervisor",
    "SupervisorRef",
    "Timer",
    "WrongThread",
    "current_agent",
]
