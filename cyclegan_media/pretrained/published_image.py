"""Image networks of the PyTorch releases of CycleGAN / pix2pix and of pix2pixHD.

What names cannot tell is the release's default (reflection padding; in U-Nets no dropout, which
makes no difference in evaluation mode).
"""

from __future__ import annotations

import re

from cyclegan_media.pretrained.published_family import Family, Spec, State, shape

_CYCLEGAN = "Zhu 2017, arXiv 1703.10593"
_PIX2PIX = "Isola 2017, arXiv 1611.07004"
_PIX2PIXHD = "Wang 2018, arXiv 1711.11585"


def _numbers(state: State, pattern: str) -> list[int]:
    """The different values of the pattern's group among the names, ascending."""
    return sorted({int(m[1]) for key in state if (m := re.match(pattern, key))})


def _blocks(state: State) -> list[int]:
    """Positions of the residual blocks in ``model``."""
    return _numbers(state, r"model\.(\d+)\.conv_block\.")


def _first_layer(state: State, key: str) -> Spec:
    width, channels, *_ = shape(state, key, 4)
    return {"width": width, "channels": channels}


def _norm(state: State) -> Spec:
    """Batch normalisation has a learned scale, the release's instance normalisation has not."""
    affine = any(key.endswith(".weight") and t.dim() == 1 for key, t in state.items())
    return {"norm": "batch" if affine else "instance"}


def _resnet_spec(state: State) -> Spec:
    second = state.get("model.10.conv_block.6.weight")
    return {
        "name": "resnet",
        "blocks": len(_blocks(state)),
        "dropout": second is not None and second.dim() == 4,
        **_first_layer(state, "model.1.weight"),
        **_norm(state),
    }


def _resnet_name(layer: str, spec: Spec) -> tuple[str, ...]:
    """``residual.0.layers.1`` to ``model.10.conv_block.1``: one long sequence."""
    part, index, *inner = layer.split(".")
    first = {"encoder": 0, "residual": 10, "decoder": 10 + spec["blocks"]}[part]
    return (".".join(["model", str(first + int(index)), *inner]).replace("layers", "conv_block"),)


def _unet_spec(state: State) -> Spec:
    level = re.compile(r"model(\.model\.[13])+\.model\.1\.weight")
    return {
        "name": "unet",
        "downsamplings": 1 + sum(bool(level.fullmatch(key)) for key in state),
        **_first_layer(state, "model.model.0.weight"),
        **_norm(state),
    }


def _unet_name(layer: str, spec: Spec) -> tuple[str, ...]:
    """``down.2.conv`` to ``model.model.1.model.3.model.1``: levels are nested.

    Each level holds, in this order, activation, convolution, norm, the next level, activation,
    convolution and norm; the outermost has no first activation and norms, the innermost no
    first norm and next level.
    """
    part, index, kind = layer.split(".")
    level = int(index)
    outermost, innermost = level == 0, level == spec["downsamplings"] - 1
    prefix = "model.model" + ("" if outermost else ".1.model" + ".3.model" * (level - 1))
    number = {("down", "conv"): 1, ("down", "norm"): 2, ("up", "conv"): 5, ("up", "norm"): 6}[
        part, kind
    ]
    if outermost:
        number -= 1 if part == "down" else 2
    elif innermost and part == "up":
        number -= 2
    return (f"{prefix}.{number}",)


def _patchgan_spec(state: State) -> Spec:
    return {
        "name": "patchgan",
        "layers": sum(tensor.dim() == 4 for tensor in state.values()) - 2,
        **_first_layer(state, "model.0.weight"),
        **_norm(state),
    }


def _pixelgan_spec(state: State) -> Spec:
    return {"name": "pixelgan", **_first_layer(state, "net.0.weight"), **_norm(state)}


def _global_depth(state: State) -> Spec:
    blocks = _blocks(state)
    return {"downsamplings": (blocks[0] - 4) // 3, "blocks": len(blocks)}


def _global_spec(state: State) -> Spec:
    return {
        "name": "pix2pixhd_global",
        **_global_depth(state),
        **_first_layer(state, "model.1.weight"),
    }


def _global_name(layer: str, spec: Spec) -> tuple[str, ...]:
    """``body.1.0`` to ``model.4``: groups of four, three or one layers become one sequence."""
    part, index, *inner = layer.split(".")
    downsamplings, blocks = spec["downsamplings"], spec["blocks"]
    group, last = int(index), 4 + 6 * downsamplings + blocks
    if part == "head":
        return (f"model.{last + group}",)
    middle = 4 + 3 * downsamplings
    if group <= downsamplings:
        first = 0 if group == 0 else 1 + 3 * group
    elif group <= downsamplings + blocks:
        return (f"model.{middle + group - downsamplings - 1}.conv_block.{inner[-1]}",)
    else:
        first = middle + blocks + 3 * (group - downsamplings - blocks - 1)
    return (f"model.{first + int(inner[0])}",)


def _enhancer_spec(state: State) -> Spec:
    enhancers = _numbers(state, r"model(\d+)_1\.")[-1]
    return {
        "name": "pix2pixhd_enhancer",
        "enhancers": enhancers,
        "enhancer_blocks": len(_numbers(state, r"model1_2\.(\d+)\.conv_block\.")),
        **_global_depth(state),
        **_first_layer(state, f"model{enhancers}_1.1.weight"),
    }


def _enhancer_name(layer: str, spec: Spec) -> tuple[str, ...]:
    """``local_up.0.1.layers.5`` to ``model1_2.1.conv_block.5``."""
    part, index, *inner = layer.split(".")
    if part == "global_body":
        return _global_name(layer, spec)
    blocks = spec["enhancer_blocks"]
    if part == "head":
        return (f"model{spec['enhancers']}_2.{blocks + 3 + int(index)}",)
    enhancer, group = int(index) + 1, int(inner[0])
    if part == "local_down":
        return (f"model{enhancer}_1.{4 * group + int(inner[1])}",)
    if group < blocks:
        return (f"model{enhancer}_2.{group}.conv_block.{inner[-1]}",)
    return (f"model{enhancer}_2.{blocks + int(inner[1])}",)


def _multiscale_spec(state: State) -> Spec:
    return {
        "name": "multiscale_patchgan",
        "scales": len(_numbers(state, r"scale(\d+)_layer")),
        "layers": len(_numbers(state, r"scale0_layer(\d+)")) - 2,
        **_first_layer(state, "scale0_layer0.0.weight"),
    }


def _multiscale_name(layer: str, spec: Spec) -> tuple[str, ...]:
    """``scales.0.2`` to ``scale1_layer1.0``: the release counts from the smallest scale."""
    _, scale, index = layer.split(".")
    published, position = spec["scales"] - 1 - int(scale), int(index)
    block, inner = (0, position) if position < 2 else (1 + (position - 2) // 3, (position - 2) % 3)
    return (f"scale{published}_layer{block}.{inner}",)


IMAGE_FAMILIES = (
    Family(
        title="local enhancer of pix2pixHD",
        paper=_PIX2PIXHD,
        recognise=lambda state: "model1_1.1.weight" in state and bool(_blocks(state)),
        spec=_enhancer_spec,
        published=_enhancer_name,
    ),
    Family(
        title="multi-scale discriminator of pix2pixHD",
        paper=_PIX2PIXHD,
        recognise=lambda state: "scale0_layer0.0.weight" in state,
        spec=_multiscale_spec,
        published=_multiscale_name,
    ),
    Family(
        # CycleGAN's generator is the one with two downsamplings, so its blocks start at 10.
        title="ResNet generator of the CycleGAN release",
        paper=_CYCLEGAN,
        recognise=lambda state: _blocks(state)[:1] == [10],
        spec=_resnet_spec,
        published=_resnet_name,
    ),
    Family(
        title="global generator of pix2pixHD",
        paper=_PIX2PIXHD,
        recognise=lambda state: bool(_blocks(state)),
        spec=_global_spec,
        published=_global_name,
    ),
    Family(
        title="U-Net generator of the CycleGAN release",
        paper=_PIX2PIX,
        recognise=lambda state: "model.model.0.weight" in state,
        spec=_unet_spec,
        published=_unet_name,
    ),
    Family(
        title="PixelGAN discriminator of the CycleGAN release",
        paper=_PIX2PIX,
        recognise=lambda state: "net.0.weight" in state,
        spec=_pixelgan_spec,
        published=lambda layer, spec: (layer.replace("layers", "net"),),
    ),
    Family(
        title="PatchGAN discriminator of the CycleGAN release",
        paper=_PIX2PIX,
        recognise=lambda state: "model.0.weight" in state,
        spec=_patchgan_spec,
        published=lambda layer, spec: (layer.replace("layers", "model"),),
    ),
)
"""In the order in which they are tried."""
