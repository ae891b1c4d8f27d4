"""Credentials are struck out before anything is written down; what merely looks a little like one stays."""

from __future__ import annotations

import pytest

from tandem.secrets import TOKENS, redact, redacted

LETTERS = "aB3" * 20
SAMPLES = {
    "an Anthropic key": "sk-ant-" + LETTERS,
    "an OpenAI key": "sk-proj-" + LETTERS,
    "a GitHub token": "ghp_" + LETTERS[:36],
    "a GitLab token": "glpat-" + LETTERS[:20],
    "an AWS access key": "ASIA" + "AB3D" * 4,
    "a Slack token": "xoxb-" + "1234567890-" + LETTERS[:20],
    "a Google key": "AIza" + LETTERS[:35],
    "a Hugging Face token": "hf_" + LETTERS[:34],
    "an npm token": "npm_" + LETTERS[:36],
    "a PyPI token": "pypi-AgE" + LETTERS,
    "a Stripe key": "sk_live_" + LETTERS[:24],
    "a SendGrid key": f"SG.{LETTERS[:22]}.{LETTERS[:43]}",
    "a DigitalOcean token": "dop_v1_" + "0a1b" * 16,
    "an age key": "AGE-SECRET-KEY-1" + "QZ7" * 18,
    "a signed token (JWT)": f"eyJ{LETTERS[:20]}.eyJ{LETTERS[:30]}.{LETTERS[:43]}",
}


@pytest.mark.parametrize("kind", [kind for kind, _ in TOKENS])
def test_every_known_form_is_struck_out(kind: str) -> None:
    assert redact(f"key={SAMPLES[kind]}\nnext") == "key=[redacted]\nnext"


def test_the_body_of_a_private_key_goes_with_its_head() -> None:
    body = "\n".join(["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ"] * 5)
    for text in (body, body.replace("\n", "\\n")):
        left = redact(f"-----BEGIN RSA PRIVATE KEY-----\n{text}\n-----END RSA PRIVATE KEY-----")
        assert "MIIE" not in left


def test_addresses_and_code_stay_as_they_are() -> None:
    text = 'url = "http://localhost:8080"\n@app.route("/x")\nsk-learn, skip-this-one, hf_token = read()'
    assert redact(text) == text
    assert redacted({"a": ["http://localhost:8080\n@app.route", 1, None]}) == {
        "a": ["http://localhost:8080\n@app.route", 1, None]
    }
