"""What must hold of the container files, whatever else changes in them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WHOLE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
COMPOSE: dict[str, Any] = WHOLE["services"]
VOLUMES: dict[str, Any] = WHOLE["volumes"]
GPU: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.gpu.yml").read_text())["services"]
OURS = sorted(name for name, service in COMPOSE.items() if "build" in service)


def test_ports_are_published_on_this_machine_alone() -> None:
    published = [port for service in COMPOSE.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert not COMPOSE["redis"].get("ports")


@pytest.mark.parametrize("name", OURS)
def test_our_containers_can_neither_write_nor_gain_rights(name: str) -> None:
    service = COMPOSE[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service
    assert service.get("user", "not root") not in ("root", "0", 0)


def test_ours_wait_for_redis_and_the_loader_tries_again() -> None:
    for name in ("service", "features", "outcomes"):
        assert COMPOSE[name]["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert COMPOSE["redis"]["healthcheck"]["test"]
    assert COMPOSE["features"]["restart"] == "on-failure"


def test_loader_service_and_outcomes_meet_in_one_redis() -> None:
    assert COMPOSE["service"]["environment"]["REDIS_URL"] in COMPOSE["features"]["command"]
    assert COMPOSE["service"]["environment"]["REDIS_URL"] == COMPOSE["outcomes"]["environment"]["REDIS_URL"]


def test_redis_keeps_through_a_crash_what_was_acknowledged() -> None:
    options = COMPOSE["redis"]["command"]
    assert options[options.index("--appendonly") + 1] == "yes"
    assert f"redis:{options[options.index('--dir') + 1]}" in COMPOSE["redis"]["volumes"]
    assert COMPOSE["redis"]["restart"] == "unless-stopped"


@pytest.mark.parametrize(("name", "folder"), [("service", "/state"), ("outcomes", "/archive")])
def test_folders_that_are_written_to_outlive_their_containers(name: str, folder: str) -> None:
    (volume,) = [mount.partition(":")[0] for mount in COMPOSE[name]["volumes"] if mount.endswith(f":{folder}")]
    assert volume in VOLUMES


def test_what_is_mounted_from_the_repository_exists() -> None:
    mounts = [mount for service in COMPOSE.values() for mount in service.get("volumes", [])]
    sources = [mount.partition(":")[0] for mount in mounts if mount.startswith(".")]
    assert sources
    assert all((ROOT / source).exists() for source in sources)


def test_prometheus_scrapes_the_service_where_it_listens() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    targets = [t for job in config["scrape_configs"] for static in job["static_configs"] for t in static["targets"]]
    inside = {f"service:{port.rpartition(':')[2]}" for port in COMPOSE["service"]["ports"]}
    assert inside <= set(targets)


def test_gpu_override_reserves_a_gpu_and_says_so_to_the_service() -> None:
    assert set(GPU) <= set(COMPOSE)
    service = GPU["service"]
    assert service["build"]["args"]["RUNTIME"] == "gpu"
    assert service["environment"]["TWINSCORE_DEVICE"] == "cuda"
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert "gpu" in device["capabilities"]
    assert service["image"] != COMPOSE["service"]["image"]  # one must not pass for the other
