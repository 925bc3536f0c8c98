"""Errors as part of the product: each message says what is wrong, where, and what to do.

TwinscoreError
├── SchemaError      a schema file or its meaning
├── DataError        a source file, column or row
├── DictionaryError  a value dictionary on disk
├── BundleError      a model bundle on disk
├── ConfigError      a setting, recipe or experiment file
└── StoreError       Redis, or the rows in it
"""

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class TwinscoreError(Exception):
    """Base of all errors that a person can act on; the command line prints them as one line."""


class SchemaError(TwinscoreError):
    """A schema that cannot be read or contradicts itself."""


class DataError(TwinscoreError):
    """Raw data that does not fit its schema."""


class DictionaryError(TwinscoreError):
    """A dictionary file that is missing or damaged."""


class BundleError(TwinscoreError):
    """A bundle that is incomplete, altered, or fails its own golden cases."""


class ConfigError(TwinscoreError):
    """A setting that is missing, unknown or out of range."""


class StoreError(TwinscoreError):
    """Redis cannot be started, reached or trusted."""


class Problem(BaseModel):
    """RFC 9457 problem details, the body of every error reply."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(default="about:blank", description="stable name of the kind of problem")
    title: str = Field(description="short summary, the same for every occurrence")
    status: int = Field(description="HTTP status")
    detail: str = Field(description="what is wrong here and what to do")
    instance: str | None = Field(default=None, description="request id")


def first_error(error: ValidationError) -> str:
    """The first pydantic error as `place: message (got value)`, and how many more there are."""
    errors = error.errors(include_url=False)
    first = errors[0]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    got = "" if first["type"] == "missing" or isinstance(first["input"], dict | list) else f" (got {first['input']!r})"
    more = f"; and {len(errors) - 1} more" if len(errors) > 1 else ""
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}{got}{more}" if place else f"{message}{more}"
