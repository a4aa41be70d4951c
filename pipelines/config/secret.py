"""Which values of the settings may be stored, printed or logged.

The JSON form of the settings, `RunConfig.stored()`, is what reaches the lake, the tracker and the
terminal. A value's type decides what of it is there, and only what is known to be harmless is:

| type | its JSON form |
|---|---|
| `SecretStr` (options of object stores, Spark's settings) | asterisks |
| `Address` | without user, password, token and query |
| options of a reader of problems | those on a list, which decide rows (`problems.py`) |
| arguments of a function, a task or an engine | whole: `refuse_credentials` keeps them clean |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated

from pydantic import PlainSerializer, SecretStr

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_CREDENTIAL_WORDS = frozenset(
    ("apikey", "credential", "credentials", "passphrase", "passwd", "password", "pwd", "secret",
     "secrets", "token")
)  # fmt: skip
_CREDENTIAL_KEYS = frozenset(("access", "account", "api", "auth", "private", "secret", "shared"))
"""Words that make a credential of a following `key`; `key` alone may name a field."""
_CONTAINER_SCHEMES = ("abfs", "abfss", "wasb", "wasbs")
"""Their text before the `@` is a container, a part of the address."""
_PART = re.compile(r"[^\s:/@?&=#;,'\"{}\[\]]{4,}")
_HARMLESS_PARAMETERS = ("use_ssl", "user_agent")
"""Of a Spark Connect address (`sc://host:port/;name=value`)."""


def without_credentials(address: str) -> str:
    """An address without user, password and query, and without a Spark Connect token.

    A path without a scheme, a hub id or the name of a function is returned as it is.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    if scheme.lower() == "sc":
        place, *parameters = rest.split(";")
        kept = [item for item in parameters if item.partition("=")[0] in _HARMLESS_PARAMETERS]
        rest = ";".join([place, *kept]) if kept else place.rstrip("/")
    host = rest.partition("/")[0]
    user, _, _ = host.rpartition("@")
    is_container = scheme.lower() in _CONTAINER_SCHEMES and ":" not in user
    # A password may hold slashes, even though it must not: then the host seems to have no number.
    hides_at = "@" not in host and re.search(r":(?!\d*$)", host) is not None
    if ("@" in host and not is_container) or (hides_at and "@" in rest):
        rest = rest[rest.rindex("@") + 1 :] if hides_at else rest.removeprefix(f"{user}@")
    return f"{scheme}://{rest}"


Address = Annotated[
    str, PlainSerializer(without_credentials, return_type=str, when_used="json-unless-none")
]
"""A place that may be written with credentials; its JSON form has none."""


def hide(text: str, given: str, shown: str) -> str:
    """A library's message without what `given` holds and its form to show does not."""
    text = text.replace(given, shown) if given else text
    for part in sorted(set(_PART.findall(given)) - set(_PART.findall(shown)), key=len):
        text = text.replace(part, "***")
    return text


def revealed(secrets: Mapping[str, SecretStr]) -> dict[str, str]:
    """The values themselves, for the library that needs them."""
    return {name: secret.get_secret_value() for name, secret in secrets.items()}


def clean(value: object) -> object:
    """Nested settings with every address in them without credentials."""
    if isinstance(value, str):
        return without_credentials(value)
    if isinstance(value, Mapping):
        return {name: clean(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def leaves(value: object) -> list[str]:
    """The values in nested settings as text, without the names."""
    if isinstance(value, Mapping):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in leaves(item)]
    return [str(value)]


def refuse_credentials(field: str, arguments: object) -> None:
    """Require that nested arguments, which are stored as they are, have no name of a credential.

    Raises:
        ValueError: one of them has.
    """
    for name in _names(arguments):
        if _is_credential(name):
            raise ValueError(
                f"{field} must not hold credentials, got {name!r}: the arguments are stored with "
                "the run; set an environment variable that the code reads"
            )


def _names(tree: object) -> list[str]:
    if isinstance(tree, Mapping):
        return [*map(str, tree), *(name for item in tree.values() for name in _names(item))]
    if isinstance(tree, list | tuple):
        return [name for item in tree for name in _names(item)]
    return []


def _is_credential(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    follows = pairwise(words)
    return not _CREDENTIAL_WORDS.isdisjoint(words) or any(
        first in _CREDENTIAL_KEYS and second == "key" for first, second in follows
    )
