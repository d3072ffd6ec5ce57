"""The agent runtime: agents, mailboxes, supervision. Needs nothing but the standard library."""

from observe.runtime.activity import Activity, activity
from observe.runtime.agent import Agent
from observe.runtime.approvals import Approval
from observe.runtime.bonds import Down, Exit, Monitor, Timer
from observe.runtime.budget import Budget, Spending
from observe.runtime.children import Backoff, ChildSpec
from observe.runtime.dynamic_supervisor import DynamicSupervisor
from observe.runtime.encoding import storable
from observe.runtime.errors import (
    ActionRefused,
    ActivityCancelled,
    AgentExited,
    ApprovalRefused,
    BadChildSpec,
    BudgetExceeded,
    CallingSelf,
    CallTimeout,
    Contained,
    Denied,
    InitFailed,
    Interrupted,
    MailboxFull,
    MessageDropped,
    NameTaken,
    NodeDown,
    NoSuchAgent,
    NoSuchChild,
    NoSuchTask,
    NotInWorker,
    NotSendable,
    NotStorable,
    PreemptionUnavailable,
    RuntimeFault,
    StoreFault,
    StoreFull,
    Unreadable,
    WorkerDied,
    WrongThread,
)
from observe.runtime.exits import KILLED, NORMAL, SHUTDOWN, Crash, ExitReason
from observe.runtime.fanout import Outcome, supervised_map
from observe.runtime.findings import Finding
from observe.runtime.frozen import Preemption
from observe.runtime.instrument import Instrument
from observe.runtime.ladder import ChangeApproach, Escalate, Failure, Ladder, Park, Restore, Retry, Rung
from observe.runtime.letters import DeadLetter
from observe.runtime.moments import no_preempt
from observe.runtime.node import Node
from observe.runtime.parking import Parked
from observe.runtime.plan import every
from observe.runtime.preemptible import preemptible
from observe.runtime.ref import Ref
from observe.runtime.scheduler import current_agent
from observe.runtime.stores import MemoryStore, Record, SQLiteStore, Store
from observe.runtime.supervisor import Supervisor
from observe.runtime.supervisor_ref import SupervisorRef
from observe.runtime.vitals import NodeVitals
from observe.runtime.workers.limits import Limits

__all__ = [
    "KILLED",
    "NORMAL",
    "SHUTDOWN",
    "ActionRefused",
    "Activity",
    "ActivityCancelled",
    "Agent",
    "AgentExited",
    "Approval",
    "ApprovalRefused",
    "Backoff",
    "BadChildSpec",
    "Budget",
    "BudgetExceeded",
    "CallTimeout",
    "CallingSelf",
    "ChangeApproach",
    "ChildSpec",
    "Contained",
    "Crash",
    "DeadLetter",
    "Denied",
    "Down",
    "DynamicSupervisor",
    "Escalate",
    "Exit",
    "ExitReason",
    "Failure",
    "Finding",
    "InitFailed",
    "Instrument",
    "Interrupted",
    "Ladder",
    "Limits",
    "MailboxFull",
    "MemoryStore",
    "MessageDropped",
    "Monitor",
    "NameTaken",
    "NoSuchAgent",
    "NoSuchChild",
    "NoSuchTask",
    "Node",
    "NodeDown",
    "NodeVitals",
    "NotInWorker",
    "NotSendable",
    "NotStorable",
    "Outcome",
    "Park",
    "Parked",
    "Preemption",
    "PreemptionUnavailable",
    "Record",
    "Ref",
    "Restore",
    "Retry",
    "Rung",
    "RuntimeFault",
    "SQLiteStore",
    "Spending",
    "Store",
    "StoreFault",
    "StoreFull",
    "Supervisor",
    "SupervisorRef",
    "Timer",
    "Unreadable",
    "WorkerDied",
    "WrongThread",
    "activity",
    "current_agent",
    "every",
    "no_preempt",
    "preemptible",
    "storable",
    "supervised_map",
]
