"""Which metrics a probe lets out, and where to: an argument of `Probe`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where the node's figures go, and how many series there may be.

        Probe(node, metrics=Metrics(otlp="http://127.0.0.1:4318", prometheus="127.0.0.1:9464"))

    Raises:
        ValueError: an argument makes no sense; the text says which.
    """

    otlp: str = ""
    """Base URL of a backend that takes OTLP over HTTP; `env`: the standard OTEL_EXPORTER_OTLP_* variables say where, how and
    with which headers. Empty: none."""
    prometheus: str = ""
    """`host:port` at which the probe serves `/metrics`, to everybody who reaches it. Empty: nowhere. Needs
    `observe-agents[prometheus]`."""
    every_s: float = 15.0
    """Seconds between two exports. Prometheus gets figures that are no older than that, nor than 5 s."""
    classes: int = 50
    """Classes with series of their own; all others are one, `other`."""
    activities: int = 100
    """Pairs of class and activity with series of their own; all others are one, `other`."""
    agents: tuple[str, ...] = ()
    """Names of agents with series of their own: no other agent has any."""

    def __post_init__(self) -> None:
        if not self.otlp and not self.prometheus:
            raise ValueError("Metrics needs otlp=, prometheus= or both: otherwise they go nowhere")
        if self.otlp and self.otlp != "env" and not self.otlp.startswith(("http://", "https://")):
            raise ValueError(f'otlp is a URL such as "http://127.0.0.1:4318", or "env", not {self.otlp!r}')
        host, _, port = self.prometheus.rpartition(":")
        if self.prometheus and not (host and port.isdigit() and int(port) <= 65535):
            raise ValueError(f'prometheus is an address such as "127.0.0.1:9464", not {self.prometheus!r}')
        if not 1 <= self.every_s <= 3600:
            raise ValueError(f"every_s must be between 1 and 3,600 seconds, not {self.every_s!r}")
        for name, most in (("classes", 1000), ("activities", 1000)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be between 0 and {most:,}, not {getattr(self, name)!r}")
        if isinstance(self.agents, str) or len(self.agents) > 100:
            raise ValueError("agents are at most 100 names")
