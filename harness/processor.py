"""Where and how this process computes: the device; on a CPU one thread, exact products, memory that is kept."""

import contextlib
import ctypes
import gc
import resource
import sys
from pathlib import Path
from typing import Any

import torch

from harness.errors import MachineError
from harness.provenance import cpu_name

ONE_DNN, DEFAULT, CUDA = "oneDNN", "default", "CUDA"
MAX_PRODUCT_ERROR = 1e-5
"""Of a product of float32 matrices, relative to its largest number: float32 is off by 5e-7, TF32 by 5e-4, bfloat16 by
4e-3."""
KEPT_BY_MALLOC = {-1: 2**31 - 1, -3: 32 << 20}
"""Arguments of mallopt(3): M_TRIM_THRESHOLD and M_MMAP_THRESHOLD, the latter the largest that glibc takes."""

_one_dnn: Any = torch.backends.mkldnn  # an object that stands for the module of this name, with more on it


def set_up_processor(num_threads: int = 1) -> None:
    """Sets up torch for trials.

    One thread, because a product summed by two may differ in its last bit: a score must not depend on how many trials
    run side by side.
    """
    torch.set_num_threads(num_threads)
    # Undoes TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1, which makes a GPU's products TF32. It sets oneDNN's precision too, so
    # it comes before the choice of that.
    torch.set_float32_matmul_precision("highest")
    _keep_memory()
    _choose_products()


def device_of(name: str) -> torch.device:
    """The device that `auto`, `cpu` or `cuda` stands for here.

    Raises:
        MachineError: torch sees no CUDA device.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise MachineError("--device cuda, but torch sees no CUDA device here; use --device cpu, or auto")
    return torch.device("cuda" if name == "auto" and torch.cuda.is_available() else name.replace("auto", "cpu"))


def device_name(device: torch.device) -> str:
    """`CPU: …`, or what the driver calls the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()


def products(device: torch.device) -> str:
    """What multiplies matrices on that device, for the record; in float32 wherever it is."""
    if device.type == "cuda":
        return CUDA
    return ONE_DNN if _one_dnn.matmul.fp32_precision == "bf16" else DEFAULT


def _keep_memory() -> None:
    """Lets malloc keep what is freed. A step frees and takes the same megabytes again and again, and what glibc gives
    back to the system in between comes again page by page."""
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        for parameter, value in KEPT_BY_MALLOC.items():
            library.mallopt(parameter, value)


def reset_peak_memory(device: torch.device) -> None:
    """Begins `peak_memory_bytes` anew, between two trials. What the one before left is given back to the system first,
    or it would count for this one."""
    gc.collect()
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        with contextlib.suppress(OSError):  # a container may forbid it; the peak is then that of the worker so far
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory_bytes(device: torch.device) -> int:
    """Of the GPU's memory, or of this process since `reset_peak_memory` (elsewhere than on Linux, since it began)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _choose_products() -> None:
    """Lets oneDNN multiply where it does so in float32.

    Torch hands float32 products to oneDNN only where bfloat16 would do. On processors that have no bfloat16 matrix
    units oneDNN then computes in float32 all the same, and on AMD's faster than MKL; on others the products are
    coarser, which the probe shows, and the choice is taken back.
    """
    if not _one_dnn.is_available():
        return
    before = _one_dnn.matmul.fp32_precision
    _one_dnn.matmul.fp32_precision = "bf16"
    if _product_error() > MAX_PRODUCT_ERROR:
        _one_dnn.matmul.fp32_precision = before


def _product_error() -> float:
    """The largest error of products like those of the model, one of them batched, against float64."""
    rng = torch.Generator().manual_seed(0)
    errors: list[float] = []
    for shapes in (((1024, 128), (128, 384)), ((384, 1024), (1024, 128)), ((1024, 16, 8), (1024, 8, 16))):
        one, other = (torch.randn(*shape, generator=rng) for shape in shapes)
        exact = one.double() @ other.double()
        errors.append(float((one @ other - exact).abs().max() / exact.abs().max()))
    return max(errors)
