"""Sample spaces as a chain: which task's label must be 1 before a task's own is known."""

from contract.errors import ConfigError
from contract.schema import Schema


def spaces(schema: Schema) -> list[int | None]:
    """Position of each task's space, None for all impressions; ConfigError for a space that stands after its task."""
    names = [task.name for task in schema.tasks]
    found = [None if task.space == "all" else names.index(task.space) for task in schema.tasks]
    for k, space in enumerate(found):
        if space is not None and space > k:
            raise ConfigError(
                f"task '{names[k]}' is in the space of '{names[space]}': put '{names[space]}' before it in the schema"
            )
    return found


def chain(space_of: list[int | None], task: int) -> list[int]:
    """The task's spaces from the widest to the narrowest, then the task itself."""
    space = space_of[task]
    return [task] if space is None else [*chain(space_of, space), task]
