"""Turn the embedded SQL engine's errors into one line that says what there is instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pipelines.errors import LakeError
from pipelines.lake.queries import READABLE


@contextmanager
def explained() -> Iterator[None]:
    """Turn the engine's errors into a LakeError of one line."""
    from deltalake.exceptions import DeltaError

    try:
        yield
    except (DeltaError, ValueError) as error:
        raise LakeError(f"sql: {_explain(str(error))}") from None


def _explain(message: str) -> str:
    missing = re.search(r"table 'datafusion\.public\.([^']*)' not found", message)
    if missing:
        return f"no table or view {missing[1]!r}; {nearest(missing[1], READABLE)}"
    column = re.search(r"No field named ([^\s]+?)\.(?:\s|$)", message)
    valid = re.search(r"Valid fields are (.*)", message, re.DOTALL)
    if column and valid:
        fields = [item.strip().rstrip(".").split(".")[-1] for item in valid[1].split(",")]
        name = column[1].replace('"', "")
        return f"no column {name!r}; {nearest(name.split('.')[-1].lower(), fields, 'columns')}"
    syntax = re.search(r'ParserError\("(.*)"\)', message)
    return syntax[1] if syntax else one_line(message)


def nearest(name: str, there: Iterable[str], what: str = "tables") -> str:
    """What was probably meant, and what there is."""
    close = difflib.get_close_matches(name, list(there), n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}{what}: {', '.join(dict.fromkeys(there)) or 'none yet'}"


def one_line(error: object) -> str:
    """The error's text on one line, without the engine's layers of prefixes."""
    text = " ".join(str(error).split())
    text = re.sub(
        r"^((Error during planning|Schema|Internal|External|Arrow)( error)?: )+", "", text
    )
    return text if len(text) <= 300 else f"{text[:300]}..."
