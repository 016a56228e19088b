"""Every output says that it is synthetic, in tags that other programs read, unless told not to."""

from __future__ import annotations

import datetime
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.PngImagePlugin
import pytest
import soundfile
from video_files import moving, write_video

from cyclegan_media.backbones.registry import build
from cyclegan_media.cli import main
from cyclegan_media.demo.voices import say
from cyclegan_media.errors import UserError
from cyclegan_media.media import Image, read_image, write_image
from cyclegan_media.media.info import read_provenance
from cyclegan_media.media.provenance import Provenance, records_in, without_records
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, save_model
from cyclegan_media.speech import AnalysisConfig, SpeakerStatistics, analyse
from cyclegan_media.translate import Translator

TRAINED = b"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
DOMAINS = {"a": "horse", "b": "zebra"}


@pytest.fixture(scope="module")
def horses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, as a training leaves it."""
    spec = {"name": "resnet", "width": 2, "blocks": 1}
    folder = tmp_path_factory.mktemp("runs") / "h2z" / "model"
    config = ModelConfig(
        modality="image", domains=DOMAINS, generators={"a2b": spec}, recipe="cyclegan"
    )
    save_model(folder, PretrainedModel(config, {"a2b": build(spec)}))
    return folder


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = {"name": "gated_cnn", "width": 2, "residual_blocks": 1}
    analysis = AnalysisConfig(f0="dio")
    speaker = SpeakerStatistics.from_features([analyse(say(10, "a"), analysis)])
    config = ModelConfig(
        modality="voice",
        domains={"a": "anna", "b": "ben"},
        generators={"b2a": spec},
        analysis=analysis.model_dump(mode="json"),
    )
    statistics = {**speaker.to_tensors("a"), **speaker.to_tensors("b")}
    folder = tmp_path_factory.mktemp("models") / "anna2ben"
    return save_model(folder, PretrainedModel(config, {"b2a": build(spec)}, statistics))


@pytest.fixture(scope="module")
def translator(horses: Path) -> Translator:
    return Translator.load(horses, device="cpu")


def picture(path: Path, dtype: Any = np.uint8) -> Path:
    values = np.random.default_rng(1).random((16, 24, 3)) * np.iinfo(dtype).max
    return write_image(path, Image(values.astype(dtype)))


def check_horses(records: list[Provenance], medium: str) -> None:
    (record,) = records
    assert (record.model, record.recipe, record.medium) == ("h2z", "cyclegan", medium)
    assert (record.direction, record.source, record.target) == ("a2b", "horse", "zebra")
    assert record.version == "0.1.0"
    assert record.source_type == "trainedAlgorithmicMedia"


# ------------------------------------------------------------------------------------ pictures


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "avif", "tif", "gif", "jp2"])
def test_pictures_say_so(suffix: str, dtype: Any, translator: Translator, tmp_path: Path) -> None:
    source = picture(tmp_path / "in.png", dtype)
    target = tmp_path / f"out.{suffix}"
    translator.translate(source, target)
    check_horses(read_provenance(target), "picture")
    content = target.read_bytes()
    assert str(tmp_path).encode() not in content
    assert TRAINED in content
    with PIL.Image.open(target) as opened:
        opened.load()
        if suffix not in ("gif", "jp2"):
            assert b"<Iptc4xmpExt:DigitalSourceType>" + TRAINED in opened.info["xmp"]
        if suffix == "png":
            assert opened.info["xmp"].decode() == opened.info["XML:com.adobe.xmp"]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_tags_leave_16_bits_as_they_are(suffix: str, tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(65536, size=(7, 5, 3)).astype(np.uint16)
    record = Provenance("0.1.0", "m", "picture", "a2b", "a", "b")
    target = write_image(tmp_path / f"out.{suffix}", Image(values), provenance=[record])
    assert read_provenance(target) == [record]
    with av.open(str(target)) as container:
        pixels = next(container.decode(video=0)).to_ndarray(format="rgb48le")
    np.testing.assert_array_equal(pixels, values)


def test_a_deep_tiff_keeps_its_profile_beside_the_tags(tmp_path: Path) -> None:
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("XYZ")).tobytes()
    values = np.full((4, 4, 3), 999, np.uint16)
    record = Provenance("0.1.0", "m", "picture", "a2b", "a", "b")
    target = tmp_path / "out.tif"
    write_image(target, Image(values, icc_profile=profile), provenance=[record])
    assert read_image(target).icc_profile == profile


@pytest.mark.parametrize("suffix", ["bmp", "ppm", "tga"])
def test_formats_without_tags_are_written_with_a_note(
    suffix: str, translator: Translator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = picture(tmp_path / "in.png")
    with caplog.at_level(logging.WARNING):
        translator.translate(source, tmp_path / f"out.{suffix}")
    assert "no place to say that the picture is synthetic" in caplog.text
    assert read_provenance(tmp_path / f"out.{suffix}") == []
    caplog.clear()
    translator.translate(source, tmp_path / f"again.{suffix}", provenance=False)
    assert caplog.text == ""


XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
    ' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"'
    ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    ' Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"'
    ' photoshop:City="Étretat"/></rdf:RDF></x:xmpmeta>'
)


def photograph(path: Path) -> Path:
    """A turned JPEG with tags, and a thumbnail of what it shows."""
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x013B], exif[0x8298] = 6, "Anna", "Anna 2020"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    exif.get_ifd(0x8769)[0x927C] = b"THUMBNAIL of the face"
    exif.get_ifd(0x8825)[1] = "N"
    values = np.random.default_rng(1).integers(256, size=(16, 24, 3)).astype(np.uint8)
    PIL.Image.fromarray(values).save(path, exif=exif, xmp=XMP.encode())
    return path


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "avif", "tif"])
@pytest.mark.parametrize("provenance", [True, False])
def test_tags_of_the_source_stay(
    suffix: str, provenance: bool, translator: Translator, tmp_path: Path
) -> None:
    source = photograph(tmp_path / "in.jpg")
    target = tmp_path / f"out.{suffix}"
    translator.translate(source, target, provenance=provenance)
    with PIL.Image.open(target) as opened:
        exif, xmp = opened.getexif(), opened.info["xmp"].decode()
        assert opened.size == (16, 24)
        assert exif[0x013B] == "Anna"
        assert exif[0x8298] == "Anna 2020"
        assert exif.get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"
        assert exif.get_ifd(0x8825)[1] == "N"
        assert exif.get(0x0112, 1) == 1
    assert 'photoshop:City="Étretat"' in xmp
    assert "tiff:Orientation" not in xmp
    assert b"THUMBNAIL" not in target.read_bytes()
    assert ("digitalCapture" in xmp) is not provenance
    assert (TRAINED.decode() in xmp) is provenance


def test_texts_of_a_png_stay(translator: Translator, tmp_path: Path) -> None:
    info = PIL.PngImagePlugin.PngInfo()
    info.add_text("Title", "Ein Pferd")
    info.add_itxt("Author", "Änne")
    PIL.Image.new("RGB", (16, 16)).save(tmp_path / "in.png", pnginfo=info)
    translator.translate(tmp_path / "in.png", tmp_path / "out.png")
    with PIL.Image.open(tmp_path / "out.png") as opened:
        assert opened.info["Title"] == "Ein Pferd"
        assert opened.info["Author"] == "Änne"


@pytest.mark.parametrize("broken", [b"\xff\xfe rubbish", b"<x:xmpmeta", b"<a><b/></a>"])
def test_broken_xmp_does_not_matter(broken: bytes, translator: Translator, tmp_path: Path) -> None:
    PIL.Image.new("RGB", (16, 16)).save(tmp_path / "in.jpg", xmp=broken)
    translator.translate(tmp_path / "in.jpg", tmp_path / "out.jpg")
    check_horses(read_provenance(tmp_path / "out.jpg"), "picture")


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_the_whole_way_is_told(suffix: str, translator: Translator, tmp_path: Path) -> None:
    once, twice = tmp_path / f"once.{suffix}", tmp_path / f"twice.{suffix}"
    translator.translate(picture(tmp_path / "in.png"), once)
    if suffix == "gif":  # to be told from the record before
        content = once.read_bytes()
        once.write_bytes(content.replace(b'"h2z"', b'"z2h"'))
    translator.translate(once, twice)
    names = [record.model for record in read_provenance(twice)]
    assert names == (["z2h", "h2z"] if suffix == "gif" else ["h2z"])


# ----------------------------------------------------------------------- recordings and videos


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "in.flac"
    with soundfile.SoundFile(path, "w", 16000, 1) as file:
        file.title, file.artist, file.comment = "A sentence", "Änne", "as recorded"
        file.write(say(3, "a")[:8000])
    return path


@pytest.mark.parametrize(
    "suffix", ["wav", "flac", "ogg", "aif", "caf", "mp3", "m4a", "aac", "opus", "mka"]
)
def test_recordings_say_so(suffix: str, voices: Path, recording: Path, tmp_path: Path) -> None:
    target = tmp_path / f"out.{suffix}"
    Translator.load(voices, device="cpu").translate(recording, target, direction="b2a")
    (record,) = read_provenance(target)
    assert (record.model, record.medium, record.recipe) == ("anna2ben", "voice", None)
    assert (record.direction, record.source, record.target) == ("b2a", "ben", "anna")
    content = target.read_bytes()
    assert TRAINED in content
    assert str(tmp_path).encode() not in content
    if suffix not in ("mp3", "m4a", "aac", "opus", "mka"):
        with soundfile.SoundFile(target) as file:
            lines = file.comment.splitlines()
            assert file.title == "A sentence"
        assert lines[0] == "as recorded"
        assert records_in(lines[1]) == [record]


@pytest.mark.parametrize("suffix", ["au", "w64"])
def test_recordings_without_tags_are_written_with_a_note(
    suffix: str, voices: Path, recording: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / f"out.{suffix}"
    with caplog.at_level(logging.WARNING):
        Translator.load(voices, device="cpu").translate(recording, target, direction="b2a")
    assert "no place to say that the recording is synthetic" in caplog.text
    assert read_provenance(target) == []


def ffprobe_tags(path: Path) -> dict[str, str]:
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not installed")
    shown = subprocess.run(
        ["ffprobe", "-v", "error", "-of", "json", "-show_entries", "format_tags:stream_tags", path],
        capture_output=True,
        check=True,
        text=True,
    )
    content = json.loads(shown.stdout)
    found: dict[str, str] = {}
    for part in [content["format"], *content["streams"]]:
        found |= {key.lower(): text for key, text in part.get("tags", {}).items()}
    return found


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm", "avi", "flv", "ogv", "wmv"])
def test_videos_say_so_to_ffprobe(suffix: str, translator: Translator, tmp_path: Path) -> None:
    tags = {"title": "A walk", "comment": "as recorded"}
    source = write_video(tmp_path / "in.mkv", moving(3, (32, 48)), tags=tags)
    target = tmp_path / f"out.{suffix}"
    translator.translate(source, target)
    check_horses(read_provenance(target), "video")
    told = ffprobe_tags(target)
    assert told["title"] == "A walk"
    check_horses(records_in(told["comment"]), "video")
    assert without_records(told["comment"]) == "as recorded"
    assert str(tmp_path).encode() not in target.read_bytes()


def test_a_broadcast_has_no_place_for_it(
    translator: Translator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_video(tmp_path / "in.mp4", moving(3, (32, 48)))
    with caplog.at_level(logging.WARNING):
        translator.translate(source, tmp_path / "out.ts")
    assert "no place to say that it is synthetic" in caplog.text


# ------------------------------------------------------------------------------ the command line


def test_info_shows_it(horses: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = picture(tmp_path / "in.png")
    arguments = ["translate", str(source), "-m", str(horses), "--device", "cpu"]
    clip = write_video(tmp_path / "in.mp4", moving(3, (32, 48)))
    assert main([*arguments, "-o", str(tmp_path / "out.png")]) == 0
    assert main([*arguments, "-o", str(tmp_path / "plain.png"), "--no-provenance"]) == 0
    arguments[1] = str(clip)
    assert main([*arguments, "-o", str(tmp_path / "out.mp4")]) == 0
    for name, medium in (("out.png", "picture"), ("out.mp4", "video")):
        capsys.readouterr()
        assert main(["info", str(tmp_path / name)]) == 0
        said = capsys.readouterr().out
        words = f"{medium} by cyclegan-media 0.1.0, model h2z, recipe cyclegan, horse to zebra"
        assert said.count("synthetic") == 1
        assert words in said
        assert main(["info", str(tmp_path / name), "--json"]) == 0
        (record,) = json.loads(capsys.readouterr().out)["synthetic"]
        assert record["model"] == "h2z"
    assert main(["info", str(tmp_path / "plain.png")]) == 0
    assert "synthetic" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "line",
    [
        "Synthetic media made with cyclegan-media: {}",
        "Synthetic media made with cyclegan-media: {not json}",
        'Synthetic media made with cyclegan-media: {"source_type": 3, "model": []}',
        'Synthetic media made with cyclegan-media: {"source_type": "x", "model": {"a": 1}}',
    ],
)
def test_what_only_looks_like_a_record_is_none(line: str) -> None:
    assert records_in(line) == []


# --------------------------------------------------------------------------- content credentials


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate chain of our own, and the key of its first certificate."""
    pytest.importorskip("c2pa", reason="c2pa-python is not installed")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def name(text: str) -> x509.Name:
        kinds = x509.NameOID.ORGANIZATION_NAME, x509.NameOID.COMMON_NAME
        return x509.Name([x509.NameAttribute(kind, text) for kind in kinds])

    def usage(**on: bool) -> x509.KeyUsage:
        names = (
            *("digital_signature", "content_commitment", "key_encipherment"),
            *("data_encipherment", "key_agreement", "key_cert_sign", "crl_sign"),
            *("encipher_only", "decipher_only"),
        )
        return x509.KeyUsage(**{key: on.get(key, False) for key in names})

    root, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    now = datetime.datetime.now(datetime.UTC)
    made = []
    for subject, key, is_root in (("Studio", leaf, False), ("Root", root, True)):
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("Root"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(is_root, None), critical=True)
            .add_extension(
                usage(key_cert_sign=True) if is_root else usage(digital_signature=True),
                critical=True,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()),
                critical=False,
            )
        )
        if not is_root:
            purpose = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(purpose, critical=False)
        made.append(builder.sign(root, hashes.SHA256()))
    folder = tmp_path_factory.mktemp("keys")
    (folder / "chain.pem").write_bytes(
        b"".join(one.public_bytes(serialization.Encoding.PEM) for one in made)
    )
    (folder / "key.pem").write_bytes(
        leaf.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    return folder / "chain.pem", folder / "key.pem"


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "avif", "tif", "gif", "mp4", "avi"])
def test_credentials_are_signed_and_read_back(
    suffix: str,
    horses: Path,
    chain: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import c2pa

    if suffix in ("mp4", "avi"):
        source = write_video(tmp_path / "in.mp4", moving(3, (32, 48)))
    else:
        source = picture(tmp_path / "in.png")
    target = tmp_path / f"out.{suffix}"
    keys = ["--c2pa-cert", str(chain[0]), "--c2pa-key", str(chain[1])]
    arguments = ["translate", str(source), "-m", str(horses), "--device", "cpu", *keys]
    assert main([*arguments, "-o", str(target)]) == 0, capsys.readouterr().err
    with c2pa.Reader(str(target)) as reader:
        content = json.loads(reader.json())
    assert content["validation_state"] == "Valid"
    manifest = content["manifests"][content["active_manifest"]]
    assert manifest["title"] == target.name
    said = {one["label"]: one["data"] for one in manifest["assertions"]}
    (action,) = said["c2pa.actions.v2"]["actions"]
    assert action["action"] == "c2pa.created"
    assert action["digitalSourceType"] == TRAINED.decode()
    (models,) = action["parameters"].values()
    assert models[0]["model"] == "h2z"
    # The tags are there as well, and the file can be read.
    capsys.readouterr()
    assert main(["info", str(target)]) == 0
    said = capsys.readouterr().out
    assert "model h2z, recipe cyclegan" in said
    assert "Valid content credentials, signed by Studio" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, target.name])


def test_credentials_show_that_a_file_was_changed(
    horses: Path, chain: tuple[Path, Path], tmp_path: Path
) -> None:
    from cyclegan_media.media.credentials import Credentials, read_credentials

    translator = Translator.load(horses, device="cpu")
    target = tmp_path / "out.png"
    translator.translate(
        picture(tmp_path / "in.png"), target, credentials=Credentials(*chain), overwrite=True
    )
    assert read_credentials(target) == {"signer": "Studio", "state": "Valid"}
    content = bytearray(target.read_bytes())
    content[-20] ^= 1
    target.write_bytes(content)
    found = read_credentials(target)
    assert found is not None
    assert found["state"] == "Invalid"


def test_a_voice_is_signed_too(
    voices: Path, recording: Path, chain: tuple[Path, Path], tmp_path: Path
) -> None:
    from cyclegan_media.media.credentials import Credentials, read_credentials

    translator = Translator.load(voices, device="cpu")
    for suffix in ("wav", "flac", "mp3", "m4a"):
        target = tmp_path / f"out.{suffix}"
        translator.translate(recording, target, direction="b2a", credentials=Credentials(*chain))
        assert read_credentials(target) == {"signer": "Studio", "state": "Valid"}
        assert [record.model for record in read_provenance(target)] == ["anna2ben"]


def test_credentials_that_cannot_be_are_refused(
    translator: Translator, chain: tuple[Path, Path], tmp_path: Path
) -> None:
    from cyclegan_media.media.credentials import Credentials

    certificate, key = chain
    with pytest.raises(UserError, match=r"none\.pem"):
        Credentials(tmp_path / "none.pem", key)
    with pytest.raises(UserError, match="no private key in PEM"):
        Credentials(certificate, certificate)
    (tmp_path / "rubbish.pem").write_text("rubbish")
    with pytest.raises(UserError, match=r"rubbish\.pem: holds no certificates"):
        Credentials(tmp_path / "rubbish.pem", key)
    source = picture(tmp_path / "in.png")
    with pytest.raises(UserError, match="leave provenance on"):
        translator.translate(
            source,
            tmp_path / "out.png",
            provenance=False,
            credentials=Credentials(certificate, key),
        )
    with pytest.raises(UserError, match=r"out\.bmp: no such file can be signed"):
        translator.translate(
            source, tmp_path / "out.bmp", credentials=Credentials(certificate, key)
        )
    assert {path.name for path in tmp_path.iterdir()} == {"in.png", "rubbish.pem"}


def test_without_c2pa_a_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
    horses: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    source = picture(tmp_path / "in.png")
    arguments = ["translate", str(source), "-m", str(horses), "-o", str(tmp_path / "out.png")]
    assert main([*arguments, "--c2pa-cert", "a.pem", "--c2pa-key", "b.pem"]) == 2
    assert "install cyclegan-media[c2pa]" in capsys.readouterr().err
    assert main([*arguments, "--c2pa-cert", "a.pem"]) == 2
    assert "go together" in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()
