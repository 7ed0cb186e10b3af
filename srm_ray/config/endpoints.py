"""How a config names a server and its key: what is saved, logged and reported holds no secret."""

import re
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from srm_ray.config.base import Section

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


class EndpointConfig(Section):
    """An OpenAI-compatible server to ask, in place of a local model."""

    shorthand: ClassVar[str | None] = "url"

    url: Address = Field("", description="its address, e.g. http://localhost:8000/v1; empty: a local model answers")
    model: str = Field("", description="name of the model there; empty: the only one that it serves")
    key: KeyVariable = Field(
        "OPENAI_API_KEY", description="environment variable that holds the key, where one is needed"
    )
    concurrency: int = Field(16, ge=1, description="requests under way at once")
    timeout: float = Field(600, gt=0, description="seconds that one completion may take")
    attempts: int = Field(6, ge=1, description="times that a request is tried which fails for a reason that may pass")
    backoff: float = Field(1.0, ge=0, description="seconds before the second attempt, doubled for each further one")
    body: dict[str, Any] = Field({}, description="further fields of each request, e.g. {top_p: 0.95}")
    price_in: float = Field(0.0, ge=0, description="price of a million prompt tokens, dollars")
    price_out: float = Field(0.0, ge=0, description="price of a million completion tokens, dollars")
