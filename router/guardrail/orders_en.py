"""Orders in English, and command lines. Data for `orders`: patterns alone, nothing decided here.

An order begins a sentence or follows a word like "then"; "a button to delete backups" is not one. Every repetition is
bounded, so that judging stays linear in the length of a text.
"""

from __future__ import annotations

import re

from router.guardrail.order_rules import (
    DESTROYS,
    FETCHES,
    FORGETS,
    LEAKS,
    REWRITES,
    SWITCHES,
    any_of,
    ask,
    block,
    words,
)

_LEAD_IN = words("please then now and also just first next finally afterwards must should to you")
_START = rf"(?:^|[.!?;:,\n\"'`(*>-]\s{{0,4}}|\b(?:{_LEAD_IN}|immediately|silently|secretly)\s+)"
_END = r"(?=\s{0,4}(?:[.!,;]|$|and\b|you\b|outside\b|on\b))"
_FILLERS = words("all every any each the my our their your this that these of old whole entire complete existing")
_ALL = rf"(?:{_FILLERS}\s+){{0,4}}"
_SAME_SENTENCE = r"[^.!?\n]"

_DESTROY = any_of(
    words("delete erase wipe destroy remove purge nuke shred trash overwrite clear format"), r"zero(?:\s+out)?"
)
_OUTSIDE = any_of(
    r"back-?ups?\b(?!\s+(?:files?|option|button|flag|script|code|table|column|class|function|method|test))",
    r"(?:hard\s+)?(?:disks?|drives?)\b(?!\s+(?:cache|usage|space|class|test))",
    r"(?:home|root|system)\s+(?:folder|directory|dir|files|partition)\b",
    r"(?:file\s?system|partition)s?\b(?!\s+\w)",
    r"(?:machine|computer|laptop|mac(?:book)?|server|ssd)\b(?=\s{0,4}(?:[.!,;]|$|and\b|completely|clean))",
    r"files?\s+(?:on|from|in)\s+(?:the|my|this|your)\s+(?:computer|machine|disk|drive|home|system|mac|laptop|server)\b",
    r"production\s+(?:data(?:base)?|db|server|cluster|environment|tables?)\b",
    r"git\s+history\b",
    r"everything\s+(?:on|in)\b",
    r"(?:remote|origin)\s+(?:branch(?:es)?|repositor(?:y|ies)|repos?)\b",
    r"(?:documents|downloads|desktop|photos)\s+folder\b",
)
_DATABASE = r"(?:production\s+|live\s+)?databases?\b(?=\s{0,4}(?:[.!,;`]|$|and\b|on\b|now\b|\w+\s{0,4}[;.`]))"
_PRECIOUS = any_of(
    r"(?<!\w)\.env\b(?!\.(?:example|sample|template|dist|test))",
    r"\bssh\s+(?:private\s+)?keys?\b",
    r"\bid_(?:rsa|ed25519|ecdsa)\b",
    r"~/\.(?:ssh|aws|gnupg|kube|netrc|config)\b",
    r"\.netrc\b",
    r"/etc/(?:passwd|shadow)\b",
    r"\bkey-?chain\b",
    r"\bprivate\s+keys?\b",
    r"\b(?:browser|saved|my|our|the\s+user'?s?|your)\s+(?:cookies|passwords?|credentials|api\s+keys?|secrets|tokens)\b",
    r"\b(?:all|any)\s+(?:the\s+)?(?:environment\s+variables|secrets|credentials|passwords|api\s+keys|tokens)\b",
)
_SECRET_FILES = any_of(
    r"\.ssh/", r"id_rsa\b", r"id_ed25519\b", r"\.aws/", r"(?<!\w)\.env\b(?!\.)", r"/etc/shadow\b", r"\.netrc\b"
)
_SEND = any_of(
    words("upload send post exfiltrate mail transmit leak publish forward share paste copy push submit curl smuggle"),
    "e-?mail",
)
_AWAY = any_of(
    r"https?://",
    r"ftp://",
    r"\bweb-?hook",
    r"\bpaste-?bin",
    r"\bgist\b",
    r"\b(?:external|remote|attacker'?s?|my|this|our|a|an|the)\s+(?:\w+\s+)?"
    r"(?:server|host|url|endpoint|address|site|bucket|channel|website)\b",
    r"\be-?mail\b",
    r"\binternet\b",
    r"\bs3\b",
    r"\b(?:telegram|discord|slack)\b",
    r"\b[\w.-]{1,64}@[\w-]{1,64}\.\w+",
    r"\b(?:\d{1,3}\.){3}\d{1,3}\b",
)
_GUARD = any_of(
    r"sand-?box",
    r"guard-?rails?",
    r"input\s+guard",
    r"safety\s+(?:checks?|filters?|rules)",
    r"security\s+checks?",
    r"approval(?:\s+step)?",
)
_OFF = any_of(
    r"disable",
    r"(?:turn|switch)\s+off",
    r"deactivate",
    r"bypass",
    r"circumvent",
    r"evade",
    r"escape(?:\s+from)?",
    r"break\s+out\s+of",
    r"get\s+around",
)
_OFF_END = (
    r"(?=\s{0,4}(?:[.!,;]|$|and\b|before\b|so\b|first\b|for\s+this\b|while\b|then\b|to\s+(?:run|do|get|save|make)\b))"
)
_ROOTS = any_of(
    r"/(?=[\s\"'*;&|)]|$)",
    r"/(?:etc|usr|var|home|root|boot|bin|lib|opt|dev|Users|System|Library|Applications)\b",
    "~",
    r"\$\{?HOME\b",
)
_EARLIER = words("all any every of the your my these those previous prior above earlier preceding other system given")

WORDS = (
    ask("destroy", DESTROYS, _START, _DESTROY, r"\s+", _ALL, _OUTSIDE),
    ask("destroy", DESTROYS, _START, _DESTROY, r"\s+(?:everything|(?:all|every)\s+(?:files?|data(?:bases?)?))\b", _END),
    ask("destroy", DESTROYS, _START, r"drop\s+", _ALL, _DATABASE),
    ask("destroy", DESTROYS, _START, r"drop\s+", _ALL, r"tables?\s+(?:in|from|on)\s+(?:the\s+)?prod"),
    ask(
        "destroy",
        DESTROYS,
        _START,
        r"(?:shut\s?down|reboot|power\s+off|restart)\s+(?:the|this|my|your)\s+(?:machine|computer|mac|laptop|host)\b",
    ),
    ask(
        "rewrite",
        REWRITES,
        _START,
        r"force[\s-]push(?:\s+(?:it|this|the|your|my|changes?|result|branch)){0,4}\s{0,4}",
        r"(?:\bto\b|\bover\b|\bonto\b|\bmain\b|\bmaster\b|\borigin\b|\bthe\b|\bit\b|\beverything\b|[.!]|$)",
    ),
    ask(
        "rewrite",
        REWRITES,
        _START,
        r"rewrite\s+(?:the\s+)?(?:git\s+|remote\s+)?history\s+(?:of|on)\s+(?:main|master|origin)\b",
    ),
    block(
        "leak", LEAKS, _START, _SEND, rf"\b{_SAME_SENTENCE}{{0,60}}?", _PRECIOUS, rf"{_SAME_SENTENCE}{{0,60}}?", _AWAY
    ),
    block(
        "leak", LEAKS, _START, _SEND, rf"\b{_SAME_SENTENCE}{{0,40}}?", _AWAY, rf"{_SAME_SENTENCE}{{0,60}}?", _PRECIOUS
    ),
    block(
        "leak",
        LEAKS,
        _START,
        rf"(?:exfiltrate|leak|steal|smuggle)\b{_SAME_SENTENCE}{{0,40}}?",
        any_of(_PRECIOUS, r"\b(?:secrets?|credentials?|passwords?|tokens?|keys?)\b"),
    ),
    ask(
        "leak",
        LEAKS,
        _START,
        rf"(?:print|show|reveal|dump|output|log|include|commit|put|write)\b{_SAME_SENTENCE}{{0,40}}?",
        r"(?:\bid_(?:rsa|ed25519)\b|~/\.(?:ssh|aws|gnupg)\b|\bssh\s+private\s+keys?\b|/etc/shadow\b",
        r"|(?:my|your)\s+key-?chain\b)",
    ),
    block(
        "guard",
        SWITCHES,
        _START,
        _OFF,
        r"\s+(?:(?:your|tandem'?s?|the|this|any|all|its|of)\s+){1,3}",
        _GUARD,
        r"s?\b",
        _OFF_END,
    ),
    ask(
        "guard",
        SWITCHES,
        _START,
        _OFF,
        r"\s+(?:your|tandem'?s?)\s+(?:own\s+)?(?:\w+\s+)?",
        any_of(_GUARD, "guard", "rules", "checks?"),
        r"\b",
    ),
    ask(
        "guard",
        SWITCHES,
        _START,
        r"(?:merge|deploy|deliver|push)\s+(?:(?:it|this|the\s+\w+|everything)\s+)?without\s+(?:any\s+|my\s+|a\s+|the\s+)?",
        r"(?:approval|asking|review|check(?:s|ing)?|tests?)\b",
    ),
    ask(
        "guard",
        SWITCHES,
        _START,
        rf"(?:mark|report|claim|pretend|say)\b{_SAME_SENTENCE}{{0,30}}\btests?\b{_SAME_SENTENCE}{{0,20}}",
        rf"\bpass(?:ed|ing)?\b{_SAME_SENTENCE}{{0,20}}\b(?:even|without|whatever|regardless|no\s+matter)\b",
    ),
    ask(
        "forget",
        FORGETS,
        _START,
        r"(?:ignore|disregard|forget|override|do\s+not\s+follow)\s+",
        rf"(?:{_EARLIER}\s+){{1,6}}",
        r"(?:instructions?|directions?|rules|prompts?|guidelines|orders|directives|programming|constraints)\b",
    ),
    ask(
        "forget",
        FORGETS,
        _START,
        r"(?:reveal|print|show|repeat|output|tell\s+me)\s+(?:me\s+)?(?:your|the)\s+",
        r"(?:system|hidden|initial|original)\s+(?:prompt|instructions)\b",
    ),
    ask("forget", FORGETS, r"\byou\s+(?:are|will\s+be)\s+(?:now\s+)?(?:free\s+(?:from|of)|no\s+longer\s+bound\s+by)\b"),
)
COMMANDS = (
    ask("destroy", DESTROYS, r"\brm\s+(?:-{1,2}[\w-]{1,20}\s+){1,4}[\"']?", any_of(_ROOTS, r"\.\./")),
    ask(
        "destroy",
        DESTROYS,
        r"\bdd\s+[^\n]{0,80}\bof=/dev/(?!null)|\bmkfs(?:\.\w+)?\s+/dev/|>\s{0,4}/dev/(?:sd|nvme|disk|hd)",
        r"|\bdiskutil\s+(?:erase|partition|zero)|\bformat\s+[a-z]:(?:\s|$)|\b(?:del|rd|rmdir)\s+/s\b",
        r"|:\(\)\s{0,4}\{\s{0,4}:\s{0,4}\|",
    ),
    ask("destroy", DESTROYS, r"\bch(?:mod|own)\s+(?:-\w+\s+){0,4}(?:-R|--recursive)\s+\S{1,80}\s+", _ROOTS),
    ask("destroy", DESTROYS, r"\bfind\s+", _ROOTS, r"[^\n]{0,80}\s-delete\b"),
    ask("rewrite", REWRITES, r"\bgit\s+push\s+(?:[^\n`;&|]{0,60}\s)?(?:--force(?!-with-lease|-if)|-f)\b"),
    ask("fetch", FETCHES, r"\b(?:curl|wget)\s+[^\n|;]{1,200}\|\s{0,4}(?:sudo\s+)?(?:ba|z|da|k)?sh\b"),
    ask("fetch", FETCHES, r"\b(?:ba|z)?sh\s+(?:-c\s+[\"']?\$\(|<\()\s{0,4}(?:curl|wget)\s"),
    block(
        "leak",
        LEAKS,
        _SECRET_FILES,
        r"[^\n|;]{0,40}\|\s{0,4}(?:base64[^\n|;]{0,20}\|\s{0,4})?(?:curl|nc|ncat|netcat|wget|socat)\b",
    ),
    block(
        "leak",
        LEAKS,
        r"\b(?:curl|wget)\b[^\n;|]{0,120}(?:@|--post-file[= ]|-T\s{0,4}|--upload-file\s+)[\"']?[^\s;|]{0,60}",
        _SECRET_FILES,
    ),
)

# What a program shall do, prevent or be tested for is not ordered; these words before a match say so.
_ABOUT = (
    r"guard",
    r"prevent\w*",
    r"protect\w*",
    r"detect\w*",
    r"reject\w*",
    r"refus\w+",
    r"block\w*",
    r"forbid\w*",
    r"disallow\w*",
    r"warn\w*",
    r"against",
    r"avoid\w*",
    r"never",
    r"not",
    r"n't",
    r"cannot",
    r"without",
    r"unable",
    r"fail\w*",
    r"tests?\s+(?:that|for|to)",
    r"how\s+to",
    r"able\s+to",
    r"(?:option|command|flag|button|endpoint|function|method|api|feature|helper|script|prompt|dialog|ability|permission"
    r"|request|attempt)s?\s+(?:to|that|which|for)",
    r"allow\w*\s+(?:\w+\s+){0,2}to",
    r"instead\s+of",
    r"used\s+to",
    r"tr(?:ies|ying)\s+to",
    r"want(?:s|ed)?\s+to",
    r"confirm\w*",
    r"before",
    r"after",
    r"when",
    r"if",
    r"whether",
    r"unless",
    r"until",
    r"users?\s+(?:to|can|may)",
    r"safe(?:ly)?",
    r"mock\w*",
    r"simulat\w+",
    r"example",
    r"explain",
    r"document",
    r"describe",
)
TALK_BEFORE = re.compile(rf"\b{any_of(*_ABOUT)}\b[^.!?\n]{{0,60}}$", re.IGNORECASE)
