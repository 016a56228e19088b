"""The options of translating, which ``translate``, ``batch`` and others have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclegan_media.commands.options import (
    add_device,
    natural,
    part,
    positive,
    positive_or_auto,
    quality,
    share,
    show_progress,
    tile,
)

if TYPE_CHECKING:
    from cyclegan_media.media.credentials import Credentials
    from cyclegan_media.speech.conversion import Conversion
    from cyclegan_media.translate.face import Faces
    from cyclegan_media.translate.options import Options
    from cyclegan_media.translate.stages import StageTimes


def add_direction(parser: argparse._ActionsContainer) -> None:
    """Add ``--direction``."""
    parser.add_argument(
        "--direction",
        choices=("a2b", "b2a"),
        default="a2b",
        help="from domain A to B (default) or from B to A",
    )


def add_video_options(parser: argparse.ArgumentParser) -> None:
    """Add what concerns videos."""
    video = parser.add_argument_group("videos")
    video.add_argument(
        "--video-stream",
        type=natural,
        metavar="N",
        help="which of several video streams, counted from 0 (default: the largest)",
    )
    video.add_argument(
        "--decoder",
        choices=("cpu", "nvdec"),
        default="cpu",
        help="what decodes; nvdec is an NVIDIA GPU's, of what it can (default: cpu)",
    )
    video.add_argument(
        "--steady",
        action="store_const",
        const=0.75,
        default=0.0,
        help="against flicker, carry the last frame's translation along the motion (needs the extra"
        " 'video')",
    )
    video.add_argument(
        "--steadiness",
        type=share,
        dest="steady",
        metavar="BETA",
        help="the same, to another degree than 0.75: near 1 is steadier and less sharp",
    )
    video.add_argument(
        "--codec",
        metavar="NAME",
        help="FFmpeg's name of the encoder, for instance hevc, or h264_nvenc on an NVIDIA GPU"
        " (default: libx264)",
    )
    video.add_argument(
        "--crf",
        type=quality,
        metavar="N",
        help="quality: lower is better and larger (x264: 0 to 51; NVENC: its cq)",
    )
    video.add_argument("--preset", metavar="NAME", help="speed of the encoder, for instance fast")


def add_face_options(parser: argparse.ArgumentParser) -> None:
    """Add what concerns faces."""
    faces = parser.add_argument_group("faces")
    faces.add_argument(
        "--faces",
        action="store_const",
        const="largest",
        help="translate nothing but faces: one at a time, that which is seen longest and largest",
    )
    faces.add_argument(
        "--all-faces",
        action="store_const",
        const="all",
        dest="faces",
        help="translate nothing but faces: every one in a frame",
    )
    faces.add_argument(
        "--face-size",
        type=positive,
        metavar="N",
        help="side of the crops that the model was trained on (default: as the model says, or 256)",
    )
    faces.add_argument(
        "--face-margin",
        type=quality,
        metavar="SHARE",
        help="what these show around a face, as --margin of the command faces (default: as the"
        " model says, or 0.4)",
    )
    faces.add_argument(
        "--face-colours",
        choices=("frame", "model"),
        default="frame",
        help="whose colours a translated face takes (default: frame)",
    )
    faces.add_argument(
        "--detector-model", metavar="FILE", help="a YuNet model (ONNX), for a better detector"
    )


def add_voice_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add what concerns voices."""
    voices = parser.add_argument_group("voices")
    voices.add_argument(
        "--vocoder",
        metavar="VOCODER",
        help="what makes the waveform of a model on log-mel spectra: griffin_lim (default), or the"
        " file or folder of a published HiFi-GAN or Vocos",
    )
    voices.add_argument(
        "--variance",
        type=part,
        default=0.0,
        metavar="SHARE",
        help="against a muffled voice, bring the variance of its spectra to the target's: 0 is not"
        " at all (default), 1 wholly",
    )
    voices.add_argument(
        "--retrieval",
        type=part,
        default=0.0,
        metavar="SHARE",
        help="draw spectra to the nearest that the model has learned from, those of the source"
        " before and those of the target after it: 0 is not at all (default), 1 wholly",
    )
    voices.add_argument(
        "--pitch",
        choices=("gaussian", "quantile"),
        default="gaussian",
        help="match the mean and deviation of the pitch (default), or its whole distribution",
    )
    voices.add_argument(
        "--synthesis",
        choices=("vocoder", "differential"),
        default="vocoder",
        help="make the waveform anew (default), or filter the recording, which keeps its pitch"
        " and needs no vocoder: for two voices of about the same pitch",
    )
    return voices


def add_provenance_options(parser: argparse.ArgumentParser, *, signed: bool = True) -> None:
    """Add what concerns that outputs say that they are synthetic, ``signed`` if so wished."""
    group = parser.add_argument_group("provenance")
    group.add_argument(
        "--no-provenance",
        action="store_false",
        dest="provenance",
        help="do not say in the output's tags that it is synthetic, and by which model",
    )
    if not signed:
        return
    group.add_argument(
        "--c2pa-cert",
        metavar="FILE",
        help="sign C2PA content credentials: the certificate chain (PEM)",
    )
    group.add_argument("--c2pa-key", metavar="FILE", help="and its private key (PEM)")


def add_sample_options(parser: argparse.ArgumentParser, *, several: bool = True) -> None:
    """Add what concerns models that have many translations of one input.

    Args:
        several: whether an input may be translated several times, or by a picture's style.
    """
    many = parser.add_argument_group("many-to-many models (recipe augmented)")
    if several:
        _add_several(many)
    many.add_argument(
        "--seed",
        type=natural,
        metavar="N",
        help="draw other styles; one seed gives the same ones every time (default: 0)",
    )


def _add_several(many: argparse._ArgumentGroup) -> None:
    many.add_argument(
        "--samples",
        type=positive,
        metavar="N",
        help="write N translations of each input, each in a style of its own: out-1.jpg, out-2.jpg,"
        " …; number k has the same style for all inputs (default: one, which is the first)",
    )
    many.add_argument(
        "--latent-from",
        metavar="FILE",
        help="borrow the style of this picture of the domain that is translated to",
    )


def add_machine_options(
    parser: argparse.ArgumentParser, *precisions: str
) -> argparse._ArgumentGroup:
    """Add what concerns the machine; ``precisions`` are allowed beside those of any command."""
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--batch-size",
        type=positive_or_auto,
        metavar="N",
        help="pictures at once, or auto, by the device and its memory (default)",
    )
    machine.add_argument(
        "--tile",
        type=tile,
        default="auto",
        metavar="N",
        help="compute large pictures in tiles of N × N pixels, for less memory and the same result;"
        " or auto, where they might not fit into memory (default), or off",
    )
    add_device(machine, *precisions)
    return machine


def add_runtime(machine: argparse._ActionsContainer) -> None:
    """Add ``--runtime``."""
    machine.add_argument(
        "--runtime",
        choices=("torch", "onnx"),
        default="torch",
        help="what runs the networks; onnx takes an exported model, too, and computes in fp32 on"
        " the CPU (default: torch)",
    )


def add_speed_options(machine: argparse._ActionsContainer) -> None:
    """Add what concerns the speed of a single command."""
    machine.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="compile the network, or do not (default: for videos long enough to earn it back)",
    )


def make_options(
    args: argparse.Namespace,
    analysis: Mapping[str, Any] | None = None,
    timed: Callable[[StageTimes], object] | None = None,
) -> Options:
    """What the command line asks for.

    Args:
        analysis: of the model's ``config.json``, which says how its faces were cut out.
        timed: see :attr:`Options.timed`.
    """
    from cyclegan_media.translate.options import Options

    return Options(
        direction=args.direction,
        overwrite=args.overwrite,
        batch_size=args.batch_size,
        compile=args.compile,
        tile=args.tile,
        codec=args.codec,
        crf=args.crf,
        preset=args.preset,
        stream=args.video_stream,
        decoder=args.decoder,
        progress=show_progress(args),
        timed=timed,
        steady=args.steady,
        samples=args.samples,
        seed=args.seed,
        latent_from=args.latent_from,
        vocoder=args.vocoder,
        conversion=make_conversion(args),
        faces=_faces(args, analysis),
        provenance=args.provenance,
        credentials=_credentials(args),
    )


def make_conversion(args: argparse.Namespace) -> Conversion | None:
    """What :func:`add_voice_options` let the user ask for, the vocoder aside."""
    names = ("variance", "retrieval", "pitch", "synthesis")
    chosen = tuple(getattr(args, name) for name in names)
    if chosen == (0.0, 0.0, "gaussian", "vocoder"):
        return None
    from cyclegan_media.speech.conversion import Conversion

    return Conversion(**dict(zip(names, chosen, strict=True)))


def _credentials(args: argparse.Namespace) -> Credentials | None:
    if args.c2pa_cert is None and args.c2pa_key is None:
        return None
    from cyclegan_media.errors import UserError
    from cyclegan_media.media.credentials import Credentials

    if args.c2pa_cert is None or args.c2pa_key is None:
        raise UserError("--c2pa-cert and --c2pa-key: go together")
    return Credentials(Path(args.c2pa_cert), Path(args.c2pa_key))


def _faces(args: argparse.Namespace, analysis: Mapping[str, Any] | None) -> Faces | None:
    if args.faces is None:
        return None
    from cyclegan_media.faces import load_detector
    from cyclegan_media.translate.face import FaceOptions, Faces

    options = FaceOptions.for_model(
        analysis,
        size=args.face_size,
        margin=args.face_margin,
        which=args.faces,
        match_colours=args.face_colours == "frame",
    )
    return Faces(load_detector(args.detector_model), options)
