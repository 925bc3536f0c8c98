"""Names of what experiments keep in Redis; a prefix is TWINSCORE_REDIS_PREFIX."""


def live(prefix: str) -> str:
    """The text of the configuration in force."""
    return f"{prefix}:experiments:live"


def versions(prefix: str) -> str:
    """A hash: version → Version as JSON."""
    return f"{prefix}:experiments:versions"


def log(prefix: str) -> str:
    """The stream of exposures and events."""
    return f"{prefix}:log"


def cursor(prefix: str) -> str:
    """How far the outcomes are counted; written in one transaction with all that follows."""
    return f"{prefix}:outcomes:cursor"


def user(prefix: str, user_id: str) -> str:
    """What is remembered of one user."""
    return f"{prefix}:outcomes:user:{user_id}"


def sums(prefix: str, key: str, phase: int) -> str:
    """ExperimentSums of one phase, as JSON."""
    return f"{prefix}:outcomes:sums:{key}:{phase}"


def snapshots(prefix: str, key: str, phase: int) -> str:
    """The Snapshots of one phase as JSON; kept apart, since the sums are written with every batch."""
    return f"{prefix}:outcomes:snapshots:{key}:{phase}"


def staged(prefix: str) -> str:
    """A list: batches that are counted and not yet archived."""
    return f"{prefix}:outcomes:staged"


def lease(prefix: str) -> str:
    """Which consumer counts; the others stand by."""
    return f"{prefix}:outcomes:lease"


def readout(prefix: str, key: str) -> str:
    """The last Readout of an experiment, as JSON."""
    return f"{prefix}:readout:{key}"


def health(prefix: str) -> str:
    """A hash: process → ArmHealth of its arms as JSON."""
    return f"{prefix}:experiments:health"
