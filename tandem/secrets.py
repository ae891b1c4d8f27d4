"""The forms of well-known credentials: one list for whoever looks for them, and for whoever strikes them out.

The forms come from their issuers' documentation. A form is a regular expression without its surroundings.
"""

from __future__ import annotations

import re
from typing import Any, cast

TOKENS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(rf"(?<![A-Za-z0-9_-]){form}(?![A-Za-z0-9])"))
    for kind, form in (
        ("an Anthropic key", r"sk-ant-[A-Za-z0-9_-]{20,200}"),
        ("an OpenAI key", r"sk-(?!ant-)(?:proj-|svcacct-)?[A-Za-z0-9_-]{20,200}"),
        ("a GitHub token", r"(?:gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{30,255})"),
        ("a GitLab token", r"glpat-[A-Za-z0-9_-]{20,100}"),
        ("an AWS access key", r"(?:AKIA|ASIA)[A-Z0-9]{16}"),
        ("a Slack token", r"xox[abeprs]-[A-Za-z0-9-]{10,200}"),
        ("a Google key", r"(?:AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,300})"),
        ("a Hugging Face token", r"hf_[A-Za-z0-9]{30,100}"),
        ("an npm token", r"npm_[A-Za-z0-9]{36}"),
        ("a PyPI token", r"pypi-AgE[A-Za-z0-9_-]{30,300}"),
        ("a Stripe key", r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{20,200}"),
        ("a SendGrid key", r"SG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{40,46}"),
        ("a DigitalOcean token", r"do[opr]_v1_[a-f0-9]{64}"),
        ("an age key", r"AGE-SECRET-KEY-1[A-Z0-9]{50,60}"),
        ("a signed token (JWT)", r"eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{20,1000}"),
    )
)
KEY_BEGIN = r"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
URL_LOGIN = re.compile(r"[a-z][a-z0-9+.-]{1,20}://[^/\s:@'\"<>{}$\\]{1,100}:([^/\s:@'\"<>{}$\\]{6,200})@[\w.-]")
_KEY_WHOLE = re.compile(
    rf"{KEY_BEGIN}(?:(?:\s|\\[nr])*[A-Za-z0-9+/=]{{16,}})*(?:(?:\s|\\[nr])*[A-Za-z0-9+/=]{{1,15}}(?=\s*-----END))?"
)
_BEARER = re.compile(r"(?i:\bbearer)\s+[\w.~+/-]{16,}")
_SHORT = re.compile(
    r"(?<![\w-])(?:sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|AKIA[0-9A-Z]{16})"
)
_LOGIN = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")
STRUCK = "[redacted]"


def redact(text: str) -> str:
    """Return `text` with every known form of credential struck out; in doubt it is one."""
    for form in (_KEY_WHOLE, *(form for _, form in TOKENS), _SHORT, _BEARER, _LOGIN):
        text = form.sub(STRUCK, text)
    return text


def redacted(value: Any) -> Any:
    """Return JSON with every text in it redacted. Before it is written: in written JSON a line's end is a letter."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list | tuple):
        return [redacted(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: redacted(item) for key, item in cast("dict[Any, Any]", value).items()}
    return value
