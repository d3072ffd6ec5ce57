"""What one operating-system process of the node may use."""

from __future__ import annotations

from dataclasses import dataclass

from observe.runtime.errors import BadChildSpec


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of an agent's own process, kept by the kernel. For agents with `isolation="process"`.

    Raises:
        BadChildSpec: a value is out of its range.
    """

    memory_bytes: int | None = None
    """Address space (RLIMIT_AS), the interpreter's own 50 MB or so and all libraries included. An allocation beyond it raises
    MemoryError in the agent, which is a crash as others; native code may abort instead."""

    cpu_s: int | None = None
    """Processor time (RLIMIT_CPU), over the life of the process. Beyond it the kernel ends it with SIGXCPU."""

    processes: int | None = None
    """Processes and threads that the *user* may have while this process starts another (RLIMIT_NPROC). It bounds a fork bomb.
    The kernel does not apply it to root."""

    def __post_init__(self) -> None:
        for name in ("memory_bytes", "cpu_s", "processes"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise BadChildSpec(
                    f"{name} must be a whole number from 1, or None for no limit, not {value!r}"
                )

    def apply(self) -> None:
        """Bind this process to them. They cannot be lifted again."""
        import resource  # not on every platform; nor is a process of its own

        for kind, value in (
            (resource.RLIMIT_AS, self.memory_bytes),
            (resource.RLIMIT_CPU, self.cpu_s),
            (resource.RLIMIT_NPROC, self.processes),
        ):
            if value is None:
                continue
            hard = resource.getrlimit(kind)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            # SIGXCPU comes at the first of the two, SIGKILL at the second.
            spare = kind == resource.RLIMIT_CPU and most != hard
            resource.setrlimit(kind, (most, most + 1 if spare else most))

    def __str__(self) -> str:
        parts = []
        if self.memory_bytes is not None:
            parts.append(f"memory {self.memory_bytes / 2**20:,.0f} MiB")
        if self.cpu_s is not None:
            parts.append(f"processor time {self.cpu_s:,} s")
        if self.processes is not None:
            parts.append(f"processes {self.processes:,}")
        return ", ".join(parts)
