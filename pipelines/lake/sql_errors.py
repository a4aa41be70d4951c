"""One-line messages for the embedded SQL engine's errors, with what the lake has instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from deltalake.exceptions import DeltaError

from pipelines.errors import LakeError
from pipelines.lake.views import READABLE


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turn the engine's errors into a LakeError of one line."""
    try:
        yield
    except (DeltaError, ValueError) as error:
        raise LakeError(f"sql: {_message(str(error))}") from None


def _message(text: str) -> str:
    missing = re.search(r"table 'datafusion\.public\.([^']*)' not found", text)
    if missing:
        return f"no table or view {missing[1]!r}; {available(missing[1], READABLE)}"
    column = re.search(r"No field named ([^\s]+?)\.(?:\s|$)", text)
    valid = re.search(r"Valid fields are (.*)", text, re.DOTALL)
    if column and valid:
        fields = [item.strip().rstrip(".").split(".")[-1] for item in valid[1].split(",")]
        name = column[1].replace('"', "")
        return f"no column {name!r}; {available(name.split('.')[-1].lower(), fields, 'columns')}"
    syntax = re.search(r'ParserError\("(.*)"\)', text)
    return syntax[1] if syntax else one_line(text)


def available(name: str, names: Iterable[str], kind: str = "tables") -> str:
    """The names there are, after the one that was probably meant."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}{kind}: {', '.join(dict.fromkeys(names)) or 'none yet'}"


def one_line(error: object) -> str:
    """The error's text on one line of at most 300 characters, without the engine's prefixes."""
    text = " ".join(str(error).split())
    text = re.sub(
        r"^((Error during planning|Schema|Internal|External|Arrow)( error)?: )+", "", text
    )
    return text if len(text) <= 300 else f"{text[:300]}..."
