"""Find credentials in a text, and tell their kind and place, never their value. Pure.

A value that is plainly a placeholder is not
reported: too few different characters, or a word like EXAMPLE in it.
"""

from __future__ import annotations

import math
import re
from collections import Counter

from router.guardrail.findings import Finding, place
from tandem.secrets import KEY_BEGIN, TOKENS, URL_LOGIN

_KEY_BLOCK = re.compile(KEY_BEGIN + r"\s*([A-Za-z0-9+/=\s:,.-]{0,400})")
_KEY_BODY = re.compile(r"[A-Za-z0-9+/=]{40}")
_ASSIGNED = re.compile(
    r"(?i)(?:password|passwd|passphrase|pwd|secret|api[ _-]?key|access[ _-]?key|auth[ _-]?token|access[ _-]?token|token"
    r"|비밀\s?번호|암호|비밀\s?키|密码|口令|密钥|令牌)[\"'`]?\s{0,4}(?:=>|:=|=|:|：|은|는|是|为|is\b)\s{0,4}[\"'`]?"
    r"([A-Za-z0-9+/=_.!@#%^&*~?-]{8,200})(?![A-Za-z0-9(\[{<])"
)
_PLACEHOLDER = re.compile(
    r"(?i)example|sample|placeholder|change.?me|your|dummy|fake|test|xxx|\.\.\.|1234|abcd|password|passw0rd|secret|token"
    r"|redacted|https?:"
)
_ENTROPY_MIN = 2.8  # bits a character; eight different ones give 3.0


def secrets(text: str) -> list[Finding]:
    """Find private keys (block), tokens of known forms and passwords that look real (ask)."""
    return [*_private_keys(text), *_tokens(text), *_logins(text), *_assigned(text)]


def _private_keys(text: str) -> list[Finding]:
    return [
        Finding(
            rule="secrets",
            verdict="block",
            reason=f"a private key is in the task ({place(text, m.start())}); take it out, and replace the key",
        )
        for m in _KEY_BLOCK.finditer(text)
        if _KEY_BODY.search(m.group(1))
    ]


def _tokens(text: str) -> list[Finding]:
    return [
        _asked(kind, text, match.start())
        for kind, form in TOKENS
        for match in form.finditer(text)
        if not _looks_made_up(match.group())
    ]


def _logins(text: str) -> list[Finding]:
    found = (m for m in URL_LOGIN.finditer(text) if _looks_real(m.group(1)))
    return [_asked("a password inside an address", text, m.start(1)) for m in found]


def _assigned(text: str) -> list[Finding]:
    found = (m for m in _ASSIGNED.finditer(text) if _looks_real(m.group(1).rstrip(".!?")))
    return [_asked("a password or key", text, m.start(1)) for m in found]


def _asked(kind: str, text: str, at: int) -> Finding:
    told = f"what looks like {kind} is in the task ({place(text, at)}); are models and the journal meant to have it?"
    return Finding(rule="secrets", verdict="ask", reason=told)


def _looks_made_up(value: str) -> bool:
    return (
        bool(re.search(r"(?i)example|your|xxx|placeholder|\.\.\.|0{8}|redacted", value))
        or entropy(value[4:]) < _ENTROPY_MIN
    )


def _looks_real(value: str) -> bool:
    """Return whether a value has what passwords have and identifiers, words and paths have not."""
    if len(value) < 8 or _PLACEHOLDER.search(value) or value.startswith(("/", "./", "-")):
        return False
    letters, digits = any(c.isalpha() for c in value), any(c.isdigit() for c in value)
    if not (letters and digits) or entropy(value) < _ENTROPY_MIN:
        return False
    words = re.fullmatch(r"[a-z]+(?:[_.-][a-z]+)*[_.-]?[0-9]{1,4}", value)  # sha256, config.value2, user_id_1
    return words is None


def entropy(value: str) -> float:
    """Return the bits a character of `value` carries (Shannon), by its own frequencies."""
    counts = Counter(value)
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values()) if value else 0.0
