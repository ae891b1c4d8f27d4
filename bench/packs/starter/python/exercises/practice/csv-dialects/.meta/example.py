"""Lines of values, in more than one dialect."""


def read(text: str, delimiter: str = ",", quote: str = '"') -> list[list[str]]:
    _check(delimiter, quote)
    records: list[list[str]] = []
    record: list[str] = []
    at = 0
    while at < len(text) or record:
        value, at = _value(text, at, delimiter, quote)
        record.append(value)
        if text.startswith(delimiter, at):
            at += 1
            continue
        records.append(record)
        record = []
        at += 2 if text.startswith("\r\n", at) else 1
    return records


def write(records: list[list[str]], delimiter: str = ",", quote: str = '"') -> str:
    _check(delimiter, quote)
    return "".join(delimiter.join(_written(value, delimiter, quote) for value in record) + "\n" for record in records)


def _value(text: str, at: int, delimiter: str, quote: str) -> tuple[str, int]:
    if not text.startswith(quote, at):
        end = at
        while end < len(text) and not _ends(text, end, delimiter):
            end += 1
        return text[at:end], end
    line, parts = text.count("\n", 0, at) + 1, list[str]()
    while True:
        end = text.find(quote, at + 1)
        if end < 0:
            raise ValueError(f"line {line}: a quoted value never ends")
        parts.append(text[at + 1 : end])
        if not text.startswith(quote, end + 1):
            break
        at = end + 1
    if end + 1 < len(text) and not _ends(text, end + 1, delimiter):
        raise ValueError(f"line {line}: {text[end + 1]!r} stands behind a quoted value")
    return quote.join(parts), end + 1


def _ends(text: str, at: int, delimiter: str) -> bool:
    return text[at] == delimiter or text[at] == "\n" or text.startswith("\r\n", at)


def _written(value: str, delimiter: str, quote: str) -> str:
    must = value.startswith(quote) or any(sign in value for sign in (delimiter, "\n", "\r"))
    return f"{quote}{value.replace(quote, quote * 2)}{quote}" if must else value


def _check(delimiter: str, quote: str) -> None:
    if len(delimiter) != 1 or len(quote) != 1 or delimiter == quote or {delimiter, quote} & {"\n", "\r"}:
        raise ValueError(f"{delimiter!r} and {quote!r} are no delimiter and quote")
