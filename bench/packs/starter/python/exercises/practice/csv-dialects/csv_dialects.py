"""Lines of values, in more than one dialect."""


def read(text: str, delimiter: str = ",", quote: str = '"') -> list[list[str]]:
    raise NotImplementedError


def write(records: list[list[str]], delimiter: str = ",", quote: str = '"') -> str:
    raise NotImplementedError
