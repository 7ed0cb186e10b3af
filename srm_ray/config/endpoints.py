"""How a config names a server and its key: what is saved, logged and reported holds no secret."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

SECRET = "secret"  # the type of an error whose value is not repeated
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")


def without_secrets(url: str) -> str:
    """The address. Raises an error, which does not repeat it, where a name, a password or a query is part of it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise PydanticCustomError(SECRET, "not an address") from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise PydanticCustomError(
            SECRET,
            "an address is host, port and path alone, since it is saved with the config: put the key into an "
            "environment variable",
        )
    return url


def variable(name: str) -> str:
    """The name. Raises an error, which does not repeat it, for what is no variable's: mostly the key itself."""
    if name and not VARIABLE.fullmatch(name):
        raise PydanticCustomError(
            SECRET,
            "the name of an environment variable is expected, in capital letters (OPENAI_API_KEY), not the key itself",
        )
    return name


Address = Annotated[str, AfterValidator(without_secrets)]
KeyVariable = Annotated[str, AfterValidator(variable)]
