"""Where and how this process computes: the device, and on a CPU one thread, float32 products, memory that is kept."""

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
"""Error of a product of float32 matrices, relative to its largest number: float32 is off by 5e-7, TF32 by 5e-4,
bfloat16 by 4e-3."""
KEPT_BY_MALLOC = {-1: 2**31 - 1, -3: 32 << 20}
"""Arguments of mallopt(3): M_TRIM_THRESHOLD and M_MMAP_THRESHOLD, the latter at glibc's maximum."""

_one_dnn: Any = torch.backends.mkldnn  # an object with more attributes stands in for the module of this name


def set_up_processor(num_threads: int = 1) -> None:
    """Sets up torch for trials.

    One thread, because a product summed by two may differ in its last bit: a score must not depend on how many trials
    run side by side.
    """
    torch.set_num_threads(num_threads)
    # Undoes TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1, which makes a GPU's products TF32. This call also sets oneDNN's
    # precision, so it must come before that is chosen.
    torch.set_float32_matmul_precision("highest")
    _keep_memory()
    _choose_products()


def device_of(name: str) -> torch.device:
    """The device that `auto`, `cpu` or `cuda` stands for here.

    Raises:
        MachineError: `cuda` was asked for, but torch sees no CUDA device.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise MachineError("--device cuda, but torch sees no CUDA device here; use --device cpu, or auto")
    return torch.device("cuda" if name == "auto" and torch.cuda.is_available() else name.replace("auto", "cpu"))


def device_name(device: torch.device) -> str:
    """`CPU: …`, or what the driver calls the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()


def products(device: torch.device) -> str:
    """What multiplies matrices on that device, as a record names it; always in float32."""
    if device.type == "cuda":
        return CUDA
    return ONE_DNN if _one_dnn.matmul.fp32_precision == "bf16" else DEFAULT


def _keep_memory() -> None:
    """Lets malloc keep freed memory.

    A step frees and takes the same megabytes again and again, and what glibc returns to the system in between has to be
    mapped again page by page.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        for parameter, value in KEPT_BY_MALLOC.items():
            library.mallopt(parameter, value)


def reset_peak_memory(device: torch.device) -> None:
    """Resets `peak_memory_bytes` between two trials.

    What the previous trial left is returned to the system first, or it would count towards the next one.
    """
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
    """Peak memory of the GPU, or of this process, since `reset_peak_memory`.

    Outside Linux, that of a process is its peak since it began.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _choose_products() -> None:
    """Lets oneDNN multiply where it does so in float32.

    Torch hands float32 products to oneDNN only where bfloat16 precision is allowed. On processors without bfloat16
    matrix units oneDNN still computes in float32, on AMD's faster than MKL does. On others the products are coarser;
    the probe shows that, and the choice is undone.
    """
    if not _one_dnn.is_available():
        return
    before = _one_dnn.matmul.fp32_precision
    _one_dnn.matmul.fp32_precision = "bf16"
    if _product_error() > MAX_PRODUCT_ERROR:
        _one_dnn.matmul.fp32_precision = before


def _product_error() -> float:
    """The largest error, compared with float64, of products like the model's, one of them batched."""
    rng = torch.Generator().manual_seed(0)
    errors: list[float] = []
    for shapes in (((1024, 128), (128, 384)), ((384, 1024), (1024, 128)), ((1024, 16, 8), (1024, 8, 16))):
        one, other = (torch.randn(*shape, generator=rng) for shape in shapes)
        exact = one.double() @ other.double()
        errors.append(float((one @ other - exact).abs().max() / exact.abs().max()))
    return max(errors)
