"""Traces and metrics of runs, sent by OpenTelemetry to a collector of the person's own; off unless an address is set.

Watches a run's events and decides nothing. `spans` says which span an event begins or ends, `attributes` which of its
values may leave, `otlp` how they go. What leaves is names, numbers and fixed words. The names are those of
OpenTelemetry's semantic conventions for generative AI (gen_ai.*), as they stood in release 1.42, buckets included; what
they lack is called tandem.*. docs/architecture.md lists them.

Knows no engine and no journal. After a restart a run goes on in a new trace; `tandem.run.id`, on every span, joins them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tandem.errors import BadConfig

if TYPE_CHECKING:  # what lies behind it is imported where an address is set, and nowhere else
    from router.tracing.spans import Observer

__all__ = ["observer"]


def observer(endpoint: str, *, service: str = "tandem-router") -> Observer | None:
    """Return who sends a router's traces and metrics to `endpoint` by OTLP over HTTP; None where it is empty.

    To be called at the start, before other threads run: see `otlp.own_settings`.

    Raises:
        BadConfig: It is no http(s) address, or OpenTelemetry is not installed.
    """
    if not endpoint:
        return None
    from router.tracing import otlp
    from router.tracing.spans import Observer

    base = otlp.base_of(endpoint)
    try:
        with otlp.own_settings():
            return Observer(otlp.build(base, service))
    except ImportError as error:
        raise BadConfig(
            f"traces need OpenTelemetry, which is not installed ({error.name}); install the extra `otel`, in a checkout "
            "with `.venv/bin/pip install -c constraints.txt -e '.[otel]'`, or leave telemetry.endpoint empty"
        ) from error
