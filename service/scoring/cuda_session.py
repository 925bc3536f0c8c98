"""Sessions on a CUDA device: all of a graph is there, or the model is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from contract.errors import BundleError, ConfigError
from service.scoring.engine import line, open_session, session_options

_CUDA, _TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
_SHOWN = 5  # nodes in a message
_TABLE_ROWS = 1 << 25  # more than any table of items has

Provider = tuple[str, dict[str, str]]
Shapes = Mapping[str, tuple[int, ...]]  # of a graph's inputs


@dataclass(frozen=True, slots=True)
class CudaOptions:
    """What can be set of a device."""

    graphs: bool = True
    megabytes: int = 0  # of the arena of each session; 0: no limit
    tf32: bool = False  # it misses the golden scores of most models
    tensorrt: bool = False
    cache: Path = Path(".run/tensorrt")  # engines that TensorRT built; they fit one kind of GPU


def open_cuda_session(path: Path, options: CudaOptions, *, captured: bool, largest: int) -> ort.InferenceSession:
    """A session of up to `largest` rows without a node on the CPU; ConfigError without a device, else BundleError.

    ONNX Runtime adds copies between host and device only around nodes on the CPU, so there are none either.
    """
    ort.preload_dlls()  # CUDA and cuDNN from their wheels
    providers = cuda_providers(path, options, captured=captured, largest=largest)
    session = session_options()
    session.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    session.add_session_config_entry("session.disable_cpu_ep_fallback", "1")  # opening fails where a node is there
    try:
        return ort.InferenceSession(path, session, providers=providers, enable_fallback=0)
    except Exception as error:  # the runtime raises classes of its own, and RuntimeError for a driver
        raise _refusal(path, providers, error) from None


def check_tensorrt(options: CudaOptions) -> None:
    """ConfigError where TensorRT is wanted of a package without it."""
    if options.tensorrt and _TENSORRT not in ort.get_available_providers():
        raise ConfigError(
            "TWINSCORE_TENSORRT=true: this onnxruntime has no TensorRT; set it to false, "
            "CUDA graphs do without (TWINSCORE_CUDA_GRAPHS)"
        )


def cpu_nodes(session: ort.InferenceSession) -> list[str]:
    """Operators of a session that records where they are, of those on the CPU."""
    return [
        node.op_type
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name == "CPUExecutionProvider"
        for node in part.get_nodes()
    ]


def _refusal(path: Path, providers: list[Provider], error: Exception) -> BundleError | ConfigError:
    """Why a session did not open: no device, nodes that would be on the CPU, else the runtime's words."""
    refused = f"{path}: cannot run on cuda: "
    options = session_options()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    eager = [(name, {k: v for k, v in of.items() if k != "enable_cuda_graph"}) for name, of in providers]
    try:
        session = ort.InferenceSession(path, options, providers=eager, enable_fallback=0)
    except Exception:
        return BundleError(refused + line(error))
    if not {_CUDA, _TENSORRT} & set(session.get_providers()):
        return ConfigError(
            "TWINSCORE_DEVICE=cuda: ONNX Runtime found no usable device; check driver, CUDA and cuDNN, or set it to cpu"
        )
    nodes = cpu_nodes(session)
    shown = ", ".join(sorted(set(nodes))[:_SHOWN])
    wrong = f"{len(nodes)} nodes would run on the CPU ({shown}); export the model again" if nodes else line(error)
    return BundleError(refused + wrong)


def cuda_providers(path: Path, options: CudaOptions, *, captured: bool, largest: int) -> list[Provider]:
    """What runs a graph, in order of preference."""
    cuda = {
        "use_tf32": str(int(options.tf32)),
        "arena_extend_strategy": "kSameAsRequested",  # to what the largest bucket needs, and no further
        "enable_cuda_graph": str(int(captured and not options.tensorrt)),
    }
    if options.megabytes:
        cuda["gpu_mem_limit"] = str(options.megabytes << 20)
    if not options.tensorrt:
        return [(_CUDA, cuda)]
    options.cache.mkdir(parents=True, exist_ok=True)
    shapes = {node.name: tuple(node.shape[1:]) for node in open_session(path).get_inputs()}
    rows = {"item_columns": _TABLE_ROWS}
    most = _profile({name: (rows.get(name, largest), *columns) for name, columns in shapes.items()})
    tensorrt = {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(options.cache),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(options.cache),
        # an engine is built once for this range of shapes; without it, again for every shape beyond those it saw
        "trt_profile_min_shapes": _profile({name: (1, *columns) for name, columns in shapes.items()}),
        "trt_profile_opt_shapes": most,
        "trt_profile_max_shapes": most,
    }
    return [(_TENSORRT, tensorrt), (_CUDA, cuda)]


def _profile(shapes: Shapes) -> str:
    return ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())
