"""Settings, from the environment alone: HOST, PORT, REDIS_URL, and TWINSCORE_* for the rest."""

import difflib
import os
import re
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from contract.errors import ConfigError

PREFIX = "TWINSCORE_"
MOST_WORKERS = 256
# read by the tests; and what Kubernetes and Docker set for a service that is called twinscore
_NOT_OURS = re.compile(PREFIX + r"(DATA|VECTORS|SERVICE_(HOST|PORT)(_.*)?|PORT_\d+_.*)")
_OF_THEMSELVES = 4  # processes that nobody asked for: each holds models and caches of its own
_LINK = ("tcp://", "udp://")


class Settings(BaseSettings):
    """All that can be set; `python -m service` reads it from the environment."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, populate_by_name=True)

    host: str = Field(default="127.0.0.1", validation_alias="HOST")
    port: int = Field(default=8000, ge=0, le=65535, validation_alias="PORT")  # 0: any free one
    redis_url: str | None = Field(default=None, validation_alias="REDIS_URL")  # None: a private server
    features_url: str | None = None  # where feature rows are, redis+cluster://host:port,… too; None: REDIS_URL
    bundles: Path = Path("bundles")
    experiments: Path = Path("deploy/experiments.yaml")
    device: Literal["cpu", "cuda"] = "cpu"
    workers: int = Field(default=0, ge=0, le=MOST_WORKERS)  # processes; 0: one a core up to 4, and one on a GPU
    threads: int = Field(default=0, ge=0, le=256)  # of one engine on the CPU; 0: all cores, shared by the workers
    share_gpu: bool = False  # several workers on one GPU, which take turns
    max_items: int = Field(default=1000, ge=1, le=100_000)
    max_body_bytes: int = Field(default=1 << 20, ge=1)
    max_id_bytes: int = Field(default=256, ge=1)
    max_batch_rows: int = Field(default=4096, ge=1)  # candidates in one run of an engine
    max_waiting_rows: int = Field(default=32_768, ge=1)  # candidates that may wait for an engine; more: 503
    deadline_ms: int = Field(default=10_000, ge=0)  # of a request without X-Deadline-Ms; 0: none
    allow_arm_override: bool = False
    redis_timeout_ms: int = Field(default=50, ge=1)
    item_cache_rows: int = Field(default=200_000, ge=0, le=1 << 24)  # kept in process, a schema; 0: none
    item_cache_mb: int = Field(default=256, ge=1)  # bounds them too
    item_cache_seconds: float = Field(default=60, gt=0)  # a row is read again at least so often
    item_table_mb: int = Field(default=256, ge=0)  # of columns of hot items, a model; 0: none are kept
    cuda_graphs: bool = True  # of TWINSCORE_DEVICE=cuda, as all up to tensorrt_cache
    gpu_mem_mb: int = Field(default=0, ge=0)  # of one graph of a model; 0: no limit
    tf32: bool = False  # faster products, that miss the golden scores
    tensorrt: bool = False
    tensorrt_cache: Path = Path(".run/tensorrt")
    redis_prefix: str = Field(default="twinscore", min_length=1)
    live: bool = True  # experiments change while serving; False: the file alone says, as it is at the start
    admin_token: SecretStr | None = None  # for PUT /experiments and its like; None: nobody may
    state: Path = Path(".run/state")  # the last good configuration, for a start without Redis
    log: str = "file:.run/log"  # of exposures and events; or redis, redis://…, kafka://host:port/topic, off
    log_queue: int = Field(default=100_000, ge=1)  # records that wait for it, a process; more exposures are dropped
    log_length: int = Field(default=1_000_000, ge=1)  # of the Redis stream
    archive: Path = Path(".run/archive")  # where `outcomes` keeps the log's records as Parquet
    snapshot_minutes: int = Field(default=60, ge=1)  # between points of the intervals over time, of new phases

    @property
    def engine_threads(self) -> int:
        """Threads of one engine."""
        return self.threads or max(1, len(os.sched_getaffinity(0)) // self.processes)

    @property
    def processes(self) -> int:
        """Processes of the service: engines that share one interpreter wait for it, and leave cores idle meanwhile."""
        if self.workers or self.device == "cuda":
            return self.workers or 1
        return min(len(os.sched_getaffinity(0)), _OF_THEMSELVES)


def read_settings() -> Settings:
    """Settings of this process; ConfigError names the variable that is unknown or out of range."""
    known = {f"{PREFIX}{name}".upper() for name, field in Settings.model_fields.items() if not field.validation_alias}
    for name, value in sorted(os.environ.items()):
        upper = name.upper()
        others = _NOT_OURS.fullmatch(upper) or value.startswith(_LINK)
        if upper.startswith(PREFIX) and upper not in known and not others:
            names = [name.removeprefix(PREFIX) for name in known]
            close = difflib.get_close_matches(upper.removeprefix(PREFIX), names, n=1)
            hint = f"did you mean {PREFIX}{close[0]}?" if close else f"known: {', '.join(sorted(known))}"
            raise ConfigError(f"{name}: unknown variable; {hint}")
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = str(first["loc"][0]).upper()
        name = place if place in {"HOST", "PORT", "REDIS_URL"} else f"{PREFIX}{place.removeprefix(PREFIX)}"
        raise ConfigError(f"{name}={first['input']}: {first['msg'].lower()}") from None
