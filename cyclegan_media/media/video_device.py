"""Pictures that a GPU has decoded, whose samples stay in its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cyclegan_media.media.video_format import PlaneLayout

if TYPE_CHECKING:
    import av
    from torch import Tensor

_PLANAR = {
    "nv12": ("yuv420p",),
    "p010le": ("yuv420p10le",),
    "p016le": ("yuv420p12le", "yuv420p16le"),
}
"""FFmpeg's names of 4:2:0 as NVDEC stores it (a plane of Y, one of Cb and Cr by turns, the bits of
deep samples at the top of 16), and of the planar formats that hold the same."""


def planes_in_place(picture: av.VideoFrame, layout: PlaneLayout) -> list[Tensor] | None:
    """The planes ``(rows, columns)`` of ``layout``, copied where the picture lies; nothing waits.

    Returns:
        ``None`` where the picture has to be brought into that layout in the computer's memory.
    """
    import torch
    from torch.utils.dlpack import from_dlpack

    stored = picture.sw_format or picture.format
    odd = picture.width % 2 or picture.height % 2  # of which PyAV leaves out the last chroma
    if layout.format not in _PLANAR.get(stored.name, ()) or odd:
        return None
    # A stream to wait for may not be named: FFmpeg's copies and PyTorch's work are both queued on
    # the device's default stream.
    luma, chroma = (from_dlpack(plane.__dlpack__()) for plane in picture.planes)
    planes = (luma, *chroma.unbind(-1))
    if stored.name == "nv12":
        return [plane.clone(memory_format=torch.contiguous_format) for plane in planes]
    unused = 16 - layout.coding.bits
    return [(plane.int() >> unused).to(torch.uint16) for plane in planes]
