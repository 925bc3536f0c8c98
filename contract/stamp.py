"""What a generation of feature rows holds and since when: written by the loader, read by the service."""

from pydantic import BaseModel, ConfigDict

from contract.rows import redis_key


class Stamp(BaseModel):
    """Times are Unix seconds. A later release may say more."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    digest: str  # of the tables whose rows these are
    prepared: float  # when that data set was finished
    written: float  # when the last load of rows, whole or delta, ended
    deltas: tuple[str, ...] = ()  # digests that were written on top of the first, in order
    pending: str | None = None  # of a delta that has not ended: some rows are its, some are not
    ttl: int | None = None  # seconds after which rows expire
    expires: float | None = None  # when the first of them does


def stamp_key(prefix: str, fingerprint: str, generation: str) -> str:
    """Where the stamp of a generation lies."""
    return redis_key(prefix, fingerprint, generation, "stamp", "")
