"""What every model of the configuration has in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, model_validator

from bridge.config.values import wrong


class Contradiction(NamedTuple):
    """Keys of one model that do not agree; the first is the one to point at."""

    keys: tuple[str, ...]
    message: str
    remedy: str


class Model(BaseModel):
    """Frozen; an unknown key is an error; what does not agree is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def contradictions(self) -> Iterator[Contradiction]:
        """What the keys say against each other."""
        return iter(())

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for contradiction in self.contradictions():
            raise wrong(contradiction.message, contradiction.remedy)
        return self

    @classmethod
    def names_by_key(cls) -> dict[str, str]:
        """The keys as the user writes them, in order, each with the name that it has in Python.

        They differ where a key is a word of the language.
        """
        return {
            info.validation_alias if isinstance(info.validation_alias, str) else name: name
            for name, info in cls.model_fields.items()
        }
