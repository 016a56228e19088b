"""The picture at the top of the README, from what `make demo` left.

python scripts/readme_picture.py demo-output docs/images/demo.webp
"""

from __future__ import annotations

import io
import sys
from itertools import islice
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from cyclegan_media.media import VideoReader, read_audio
from cyclegan_media.page.plots import spectrogram_png

FRAME = 30
"""Which frame of the clips is shown."""
WIDTH, GAP, HEAD = 276, 12, 34


def main() -> None:
    demo, target = Path(sys.argv[1]), Path(sys.argv[2])
    clips, voice = demo / "picture" / "clips", demo / "voice"
    names = ("before", "after", "cycle", "truth")
    rows = [[_frame(clips / f"{way}-0-{name}.mp4") for name in names] for way in ("a2b", "b2a")]
    said = "sentence_00000"
    recordings = [
        voice / "data" / "testA" / f"{said}.wav",
        voice / "recordings" / f"a2b-{said}-after.wav",
        voice / "recordings" / f"a2b-{said}-cycle.wav",
        voice / "data" / "truthA2B" / f"{said}.wav",
    ]
    rows.append([_spectrogram(file) for file in recordings])
    width = 4 * WIDTH + 5 * GAP
    sheet = Image.new("RGB", (width, HEAD + sum(row[0].height + GAP for row in rows)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)
    for column, title in enumerate(("input", "translated", "and back", "right answer")):
        draw.text((GAP + column * (WIDTH + GAP), 8), title, "#333333", font)
    top = HEAD
    for row in rows:
        for column, picture in enumerate(row):
            sheet.paste(picture, (GAP + column * (WIDTH + GAP), top))
        top += row[0].height + GAP
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target, quality=82, method=6)


def _frame(clip: Path) -> Image.Image:
    with VideoReader(clip) as video:
        pixels = next(islice(video, FRAME, None)).pixels
    return _fitted(Image.fromarray(pixels))


def _spectrogram(recording: Path) -> Image.Image:
    audio = read_audio(recording, mono=True)
    drawn = Image.open(io.BytesIO(spectrogram_png(audio.samples[0], audio.sample_rate)))
    white = Image.new("RGBA", drawn.size, "white")
    white.alpha_composite(drawn.convert("RGBA"))
    return _fitted(white.convert("RGB"))


def _fitted(picture: Image.Image) -> Image.Image:
    size = (WIDTH, round(WIDTH * picture.height / picture.width))
    return picture.resize(size, Image.Resampling.BICUBIC)


if __name__ == "__main__":
    main()
