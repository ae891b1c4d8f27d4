"""Tell the language a task is written in, from its script alone.

Knows Korean, Japanese, Chinese and "the rest", which is answered in English. Code, paths and identifiers say nothing
about the person's language and are left out.
"""

from __future__ import annotations

import re
from typing import Literal

Language = Literal["en", "ko", "zh", "ja"]

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|\w+://\S+", re.DOTALL)
# ASCII words with a dot, slash, underscore or inner capital: file names, paths, identifiers. ASCII only, because
# Korean particles stand right behind a name: `calc.py에`.
_NAME = re.compile(r"[A-Za-z0-9_.\-]*(?:[./_\\][A-Za-z0-9_.\-]+)+|\b[a-z]+[A-Z][A-Za-z0-9]*")
_HANGUL = re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")
_KANA = re.compile(r"[\u3041-\u30ff\uff66-\uff9f]")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
_OTHER = re.compile(r"[^\W\d_]")
_WEIGHT = 2.5  # a syllable or ideograph stands for two to three letters of an alphabet
_KANA_SHARE = 0.1  # of kana among kana and ideographs: Japanese has far more, Chinese none


def detect_language(text: str) -> Language:
    """Return the language of `text`; English where no script of the three leads."""
    prose = _NAME.sub(" ", _CODE.sub(" ", text))
    hangul, kana, han = (len(script.findall(prose)) for script in (_HANGUL, _KANA, _HAN))
    others = len(_OTHER.findall(prose)) - hangul - kana - han
    eastern = hangul + kana + han
    if eastern == 0 or eastern * _WEIGHT < others:
        return "en"
    if hangul >= kana + han:
        return "ko"
    return "ja" if kana >= _KANA_SHARE * (kana + han) and kana > 0 else "zh"
