"""Real videos through a generator: frames, times, sound and colours against the source."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
import torch
from video_files import packets, psnr, same, times

from cyclegan_media.backbones.registry import build
from cyclegan_media.media import VideoReader
from cyclegan_media.translate.image import make_apply
from cyclegan_media.translate.video import VideoResult, translate_video


def _real(shared_data: Path) -> list[tuple[Path, int | None]]:
    folder = shared_data / "video"
    files = [path for path in sorted(folder.iterdir()) if path.suffix in (".mp4", ".mkv")]
    assert len(files) >= 6
    return [(path, None) for path in files]


def _compare(source: Path, target: Path, stream: int | None, result: VideoResult) -> None:
    with VideoReader(source, stream) as before, VideoReader(target) as after:
        assert after.display_matrix == before.display_matrix
        assert (after.height, after.width) == (before.height, before.width)
        assert after.pixel_aspect == before.pixel_aspect
        assert after.layout == before.layout
        for name in ("matrix", "primaries", "transfer"):
            assert getattr(after.tags, name) == getattr(before.tags, name)
        # H.264 that names no colours names no range either: limited is what that means.
        assert (after.tags.range or 1) == (before.tags.range or 1)
        assert after.duration == before.duration
    stamps = times(source, stream)
    assert times(target) == stamps
    assert len(stamps) == result.frames
    with av.open(str(source)) as before_, av.open(str(target)) as after_:
        kept = [s for s in before_.streams if s.type in ("audio", "subtitle")]
        made = [s for s in after_.streams if s.type in ("audio", "subtitle")]
        pairs = [(one.index, other.index) for one, other in zip(kept, made, strict=True)]
    for one, other in pairs:
        assert packets(target, other) == packets(source, one)


def test_identity_keeps_every_real_file(shared_data: Path, tmp_path: Path) -> None:
    for source, stream in _real(shared_data):
        target = tmp_path / f"{source.stem}.mp4"
        result = translate_video(same, source, target, crf=12, stream=stream, overwrite=True)
        _compare(source, target, stream, result)
        assert psnr(source, target, stream, every=5) > 40


@pytest.mark.slow
def test_a_network_keeps_all_but_the_colours_of_every_real_file(
    shared_data: Path, tmp_path: Path
) -> None:
    network = build({"name": "resnet", "width": 2, "blocks": 1}).eval()
    apply = make_apply(network, torch.device("cpu"), torch.float32, 4)
    smaller = (shared_data / "video" / "nasa_13013.mp4", 0)
    for source, stream in [*_real(shared_data), smaller]:
        target = tmp_path / f"{source.stem}.mp4"
        result = translate_video(
            apply, source, target, stream=stream, batch_size=4, preset="ultrafast", overwrite=True
        )
        _compare(source, target, stream, result)
