"""Functions from one text to another."""


def initials(name):
    """Return the first letters of a name's words, in capitals."""
    return "".join(word[0].upper() for word in name.split())


def shorten(text, limit):
    """Return text cut to limit characters, with an ellipsis where something was cut."""
    if len(text) <= limit:
        return text
    return text[: limit - 1].rstrip() + "…"
