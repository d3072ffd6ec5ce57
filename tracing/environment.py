"""What the standard OTEL_* variables say beyond the exporters' own: sampler, batches, intervals, which signals. The SDK's own
set-up reads them; ours has an outbox of its own, so it must.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import os
from typing import Final

from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    ParentBased,
    ParentBasedTraceIdRatio,
    Sampler,
    TraceIdRatioBased,
)

from observe.tracing.errors import BadSetting

_FIXED: Final = {
    "always_on": ALWAYS_ON,
    "always_off": ALWAYS_OFF,
    "parentbased_always_on": DEFAULT_ON,
    "parentbased_always_off": DEFAULT_OFF,
}


def is_disabled() -> bool:
    """OTEL_SDK_DISABLED: nothing is recorded or exported."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def sampler() -> Sampler:
    """OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG; all traces without them.

    Raises:
        BadSetting: a sampler that we do not know, or a ratio that is none.
    """
    name = os.environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    if not name:
        return ParentBased(ALWAYS_ON)
    if name in _FIXED:
        return _FIXED[name]
    if name not in ("traceidratio", "parentbased_traceidratio"):
        known = ", ".join([*_FIXED, "traceidratio", "parentbased_traceidratio"])
        raise BadSetting("OTEL_TRACES_SAMPLER", name, f"one of {known}")
    said = os.environ.get("OTEL_TRACES_SAMPLER_ARG", "") or "1.0"
    try:
        ratio = float(said)
    except ValueError:
        ratio = -1.0
    if not 0.0 <= ratio <= 1.0:
        raise BadSetting("OTEL_TRACES_SAMPLER_ARG", said, "a ratio from 0 to 1")
    return TraceIdRatioBased(ratio) if name == "traceidratio" else ParentBasedTraceIdRatio(ratio)


def exports(signal: str) -> bool:
    """OTEL_TRACES_EXPORTER and its kin: `none` switches a signal off.

    Raises:
        BadSetting: an exporter other than `otlp`.
    """
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    names = [one.strip() for one in os.environ.get(variable, "otlp").lower().split(",") if one.strip()]
    if names == ["none"]:
        return False
    if names not in (["otlp"], []):
        raise BadSetting(
            variable, ",".join(names), "'otlp' or 'none'; others are added to Tracing's providers"
        )
    return True


def number(variable: str, default: float) -> float:
    """A positive number.

    Raises:
        BadSetting: it is none.
    """
    said = os.environ.get(variable, "").strip()
    if not said:
        return default
    try:
        found = float(said)
    except ValueError:
        found = 0.0
    if found <= 0:
        raise BadSetting(variable, said, "a number above 0")
    return found


def protocol(signal: str) -> str | None:
    """OTEL_EXPORTER_OTLP_{SIGNAL}_PROTOCOL, or that of all signals."""
    variable = f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL"
    return os.environ.get(variable) or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or None
