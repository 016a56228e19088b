"""Voice networks of the community PyTorch releases of CycleGAN-VC2 and MaskCycleGAN-VC.

A convolution and its gate are two layers there and one of twice the channels here.
"""

from __future__ import annotations

import re

from cyclegan_media.pretrained.published_family import Family, Spec, State, shape

_VC2 = "Kaneko 2019, arXiv 1904.04631"
_MASK = "Kaneko 2021, arXiv 2102.12841"

_STEM = "conv1_gates.weight"


def _generator_spec(name: str, to_1d: str, state: State) -> Spec:
    width, *_ = shape(state, "conv1.weight", 4)
    narrow, flat, _ = shape(state, f"{to_1d}.weight", 3)
    blocks = {m[1] for key in state if (m := re.match(r"residualLayer(\d+)\.", key))}
    return {
        "name": name,
        "coefficients": 4 * flat // narrow,
        "width": width,
        "residual_blocks": len(blocks),
    }


def _vc2_name(layer: str, spec: Spec) -> tuple[str, ...]:
    part, _, rest = layer.partition(".")
    index, _, inner = rest.partition(".")
    match part:
        case "stem":
            return "conv1", "conv1_gates"
        case "down":  # convolution, norm, gate, twice
            block, position = divmod(int(index), 3)
            prefix = f"downSample{block + 1}.convLayer"
            return f"{prefix}.{position}", f"{prefix}_gates.{position}"
        case "to_1d":
            return (f"conv2dto1dLayer.{int(index) - 1}",)
        case "residual":
            prefix, position = f"residualLayer{int(index) + 1}", int(inner.removeprefix("layers."))
            if position < 2:
                return f"{prefix}.conv1d_layer.{position}", f"{prefix}.conv_layer_gates.{position}"
            return (f"{prefix}.conv1d_out_layer.{position - 3}",)
        case "to_2d":
            return (f"conv1dto2dLayer.{index}",)
        case "up":  # convolution, shuffle, norm, gate, twice
            block, position = divmod(int(index), 4)
            return (f"upSample{block + 1}.{position}",)
    return ("lastConvLayer",)


def _mask_name(layer: str, spec: Spec) -> tuple[str, ...]:
    """As in CycleGAN-VC2, but where dimensions change the norm is no part of the layer."""
    (first, *others) = _vc2_name(layer, spec)
    first = re.sub(r"^(conv[12]dto[12]dLayer)\.0$", r"\1", first)
    return re.sub(r"^(conv[12]dto[12]dLayer)\.1$", r"\1_tfan", first), *others


def _discriminator_name(layer: str, spec: Spec) -> tuple[str, ...]:
    position = int(layer.removeprefix("layers."))
    if position < 2:
        return (f"convLayer1.{position}",)
    block, inner = divmod(position - 2, 3)  # convolution, norm, gate, three times
    return (f"downSample{block + 1}.{inner}" if block < 3 else "outputConvLayer.0",)


def _discriminator_spec(name: str, state: State) -> Spec:
    width, *_ = shape(state, "convLayer1.0.weight", 4)
    return {"name": name, "width": width, "horizontal": False}


def _kernel(state: State, key: str) -> tuple[int, ...] | None:
    return tuple(state[key].shape[2:]) if key in state else None


VOICE_FAMILIES = (
    Family(
        title="generator of the CycleGAN-VC2 release",
        paper=_VC2,
        recognise=lambda state: _STEM in state and "conv2dto1dLayer.0.weight" in state,
        spec=lambda state: _generator_spec("vc2", "conv2dto1dLayer.0", state),
        published=_vc2_name,
        # A second name of upSample2's layers.
        unused=r"convLayer\.",
    ),
    Family(
        title="generator of the MaskCycleGAN-VC release",
        paper=_MASK,
        recognise=lambda state: _STEM in state and "conv2dto1dLayer.weight" in state,
        spec=lambda state: _generator_spec("mask_vc", "conv2dto1dLayer", state),
        published=_mask_name,
        # A second name of upSample2's layers, and modules of CycleGAN-VC3 that are never called.
        unused=r"convLayer\.|upSample[12]_tfan\.",
    ),
    Family(
        title="discriminator of the CycleGAN-VC2 release",
        paper=_VC2,
        recognise=lambda state: _kernel(state, "downSample4.0.weight") == (1, 5),
        spec=lambda state: _discriminator_spec("vc2_discriminator", state),
        published=_discriminator_name,
        unused=r"downSample4\.",
    ),
    Family(
        title="discriminator of the MaskCycleGAN-VC release",
        paper=_MASK,
        recognise=lambda state: _kernel(state, "downSample4.0.weight") == (1, 10),
        spec=lambda state: _discriminator_spec("mask_vc_discriminator", state),
        published=_discriminator_name,
        unused=r"downSample4\.",
    ),
)
