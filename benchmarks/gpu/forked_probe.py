"""What a forked process does in the stage `environment`."""

import torch


def use(device: str) -> None:
    """Raises where the device cannot be used, or computes nonsense."""
    ones = torch.ones(64, 64, device=device)
    if (ones @ ones).sum().item() != 64**3:
        raise ArithmeticError(f"a product of ones on {device} is wrong")
