"""Whether another machine's clock agrees with this one's: nothing waits by them between machines, but people read dates."""

from __future__ import annotations

from cli.doctor.finding import Finding, ill, well

CLOCK_S_MAX = 5.0  # a header of HTTP has whole seconds, and an answer takes some time


def clock(theirs_s: float, ours_s: float, host: str) -> Finding:
    """Compare the date an answer bears with this machine's."""
    apart = theirs_s - ours_s
    if abs(apart) <= CLOCK_S_MAX:
        return well("clocks", f"{host} and this machine agree")
    text = f"{host} is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} this machine"
    remedy = "have both set by the network (macOS: `sudo sntp -sS time.apple.com`; Linux: `timedatectl set-ntp true`)"
    return ill("clocks", "clock-differs", text, remedy)
