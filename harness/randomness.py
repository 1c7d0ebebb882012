"""The random streams of a trial: a torch generator for each named use of its seed; two uses never share one."""

import hashlib

import torch


def generator(seed: int, use: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator on `device`, the same for the same seed and use."""
    return torch.Generator(device).manual_seed(derived_seed(seed, use))


def derived_seed(seed: int, use: str) -> int:
    """A seed in [0, 2**63) for one use of a trial's seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{use}".encode()).digest()[:8], "little") >> 1
