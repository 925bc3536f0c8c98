"""What a CUDA session is asked for, and where nodes are."""

from pathlib import Path

import onnxruntime as ort
import pytest

from contract.bundle import Bundle, read_bundle
from contract.errors import BundleError, ConfigError
from service.scoring.cuda_session import CudaOptions, check_tensorrt, cpu_nodes, cuda_providers, open_cuda_session
from service.scoring.engine import session_options
from tests.service.bundles import write_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundles")
    write_tiny_bundle(folder, "dtn", 1)
    return read_bundle(folder / "dtn" / "v1")


def providers(bundle: Bundle, options: CudaOptions, *, captured: bool = True) -> dict[str, dict[str, str]]:
    return dict(cuda_providers(bundle.graphs["candidate"], options, captured=captured, largest=512))


def test_settings_reach_the_provider(bundle: Bundle) -> None:
    usual = providers(bundle, CudaOptions())
    assert usual == {
        "CUDAExecutionProvider": {
            "use_tf32": "0", "arena_extend_strategy": "kSameAsRequested", "enable_cuda_graph": "1"
        }
    }  # fmt: skip
    other = providers(bundle, CudaOptions(megabytes=100, tf32=True), captured=False)["CUDAExecutionProvider"]
    assert (other["gpu_mem_limit"], other["use_tf32"], other["enable_cuda_graph"]) == (str(100 << 20), "1", "0")


def test_tensorrt_is_given_a_range_for_every_input_and_a_folder(bundle: Bundle, tmp_path: Path) -> None:
    found = providers(bundle, CudaOptions(tensorrt=True, cache=tmp_path / "engines"))
    assert list(found) == ["TensorrtExecutionProvider", "CUDAExecutionProvider"]
    tensorrt = found["TensorrtExecutionProvider"]
    low, high = (
        dict(part.split(":") for part in tensorrt[f"trt_profile_{end}_shapes"].split(",")) for end in ("min", "max")
    )
    assert (low["item_rows"], high["item_rows"]) == ("1", "512")
    assert (low["cross_dense"], high["cross_dense"]) == ("1x1", "512x1")
    assert high["item_columns"] == f"{1 << 25}x2"
    assert {"request_columns", "item_columns", "request_of_item", "item_rows", "cross_dense"} <= set(low) == set(high)
    assert found["CUDAExecutionProvider"]["enable_cuda_graph"] == "0"
    assert Path(tensorrt["trt_engine_cache_path"]).is_dir()


def test_tensorrt_that_is_absent_is_refused() -> None:
    check_tensorrt(CudaOptions())
    if "TensorrtExecutionProvider" not in ort.get_available_providers():
        with pytest.raises(ConfigError, match="TWINSCORE_TENSORRT=true: this onnxruntime has no TensorRT"):
            check_tensorrt(CudaOptions(tensorrt=True))


def test_nodes_on_the_cpu_are_found(bundle: Bundle) -> None:
    options = session_options()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = ort.InferenceSession(bundle.graphs["item"], options, providers=["CPUExecutionProvider"])
    assert {"Gather", "Gemm", "Concat"} <= set(cpu_nodes(session))


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="there is CUDA")
@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider' is not in available")
def test_a_device_that_is_absent_is_refused_in_one_line(bundle: Bundle, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"TWINSCORE_DEVICE=cuda: .*no usable device; check driver"):
        open_cuda_session(bundle.graphs["item"], CudaOptions(), captured=True, largest=64)
    assert capfd.readouterr().out == ""


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="there is CUDA")
@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider' is not in available")
def test_a_graph_that_does_not_load_is_named(tmp_path: Path) -> None:
    (tmp_path / "item.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match=r"item\.onnx: cannot run on cuda: .*"):
        open_cuda_session(tmp_path / "item.onnx", CudaOptions(), captured=True, largest=64)
