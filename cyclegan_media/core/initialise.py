"""Initial weights."""

from __future__ import annotations

from torch import nn


def normal_init(module: nn.Module, gain: float = 0.02) -> None:
    """Weights from N(0, ``gain``²), biases 0 (Zhu 2017, section 4); norm weights N(1, ``gain``²).

    Draws from the global random state of torch.
    """
    for part in module.modules():
        weight, bias = getattr(part, "weight", None), getattr(part, "bias", None)
        if isinstance(part, nn.modules.conv._ConvNd | nn.Linear):
            nn.init.normal_(part.weight, 0.0, gain)
        elif isinstance(part, nn.modules.batchnorm._NormBase) and weight is not None:
            nn.init.normal_(weight, 1.0, gain)
        else:
            continue
        if bias is not None:
            nn.init.zeros_(bias)
