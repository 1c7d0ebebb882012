"""How a process computes: the products are float32's, and a coarser library is not taken."""

import ctypes
import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from harness import processor
from harness.errors import MachineError
from harness.processor import CUDA, DEFAULT, ONE_DNN, device_of, products, set_up_processor

CPU = torch.device("cpu")
one_dnn: Any = torch.backends.mkldnn


@pytest.fixture(autouse=True)
def torch_as_it_comes(torch_as_found: None) -> None:
    one_dnn.matmul.fp32_precision = "none"


@pytest.mark.parametrize("shapes", [((700, 128), (128, 384)), ((64, 23, 8), (64, 8, 23)), ((128, 640), (640, 64))])
def test_products_are_those_of_float32(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    """Against float64: eight bits of a bfloat16 would be off by 4e-3."""
    set_up_processor()
    rng = torch.Generator().manual_seed(3)
    one, other = (torch.randn(*shape, generator=rng) for shape in shapes)
    torch.testing.assert_close((one @ other).double(), one.double() @ other.double(), rtol=1e-5, atol=1e-4)


def test_a_trial_computes_with_one_thread() -> None:
    set_up_processor()
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(("error", "expected"), [(4e-3, DEFAULT), (5e-4, DEFAULT), (5e-7, ONE_DNN)])
def test_one_dnn_is_taken_only_where_its_products_are_float32(
    error: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not one_dnn.is_available():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(processor, "_product_error", lambda: error)
    set_up_processor()
    assert products(CPU) == expected
    assert expected == ONE_DNN or one_dnn.matmul.fp32_precision == "ieee"


def test_the_probe_sees_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of rounded factors, as a bfloat16 unit has them."""
    exact = torch.Tensor.__matmul__

    def coarse(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        if one.dtype == torch.float32:
            one, other = one.bfloat16().float(), other.bfloat16().float()
        return exact(one, other)

    assert processor._product_error() < 1e-6
    monkeypatch.setattr(torch.Tensor, "__matmul__", coarse)
    assert processor._product_error() > 1e-3


def test_products_on_a_gpu_are_not_touched() -> None:
    """TF32 would be a score of another kind; it is torch's default not to use it, and ours."""
    set_up_processor()
    assert products(torch.device("cuda")) == CUDA
    assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cuda.matmul.fp32_precision != "tf32"


ASKED = """
import torch
from harness.processor import set_up_processor
print(torch.backends.cuda.matmul.allow_tf32)
set_up_processor()
print(torch.backends.cuda.matmul.allow_tf32, torch.backends.cuda.matmul.fp32_precision)
"""


def test_no_environment_makes_products_on_a_gpu_coarser() -> None:
    """Torch reads the variable when it is imported."""
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}
    command = [sys.executable, "-c", ASKED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment)
    assert done.stdout.split() == ["True", "False", "ieee"]


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_malloc_takes_both_settings() -> None:
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        pytest.skip("this libc has no mallopt")
    assert all(library.mallopt(parameter, value) == 1 for parameter, value in processor.KEPT_BY_MALLOC.items())


def test_auto_is_the_cpu_where_there_is_no_gpu_and_cuda_an_error_with_the_remedy() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert device_of("auto") == device_of("cpu") == CPU
    with pytest.raises(MachineError, match=r"torch sees no CUDA device here; use --device cpu, or auto"):
        device_of("cuda")
