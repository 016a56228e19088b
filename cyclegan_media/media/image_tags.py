"""What a picture file says beside its pixels: EXIF, XMP and texts, kept and added to."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import PIL.Image
import PIL.PngImagePlugin

from cyclegan_media.media.provenance import SOURCE_TYPES, Provenance, records_in

XMP_KEYWORD = "XML:com.adobe.xmp"
"""The keyword of the PNG text that holds an XMP packet (XMP specification part 3, 1.1.5)."""

_EXIF_KEPT = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
"""Description, maker, model, software, date, artist and copyright; the others say how the file
that was read is laid out."""
_EXIF_PARTS = (0x8769, 0x8825)
"""The directories of the photograph and of the place."""
_EXIF_LOST = (0x927C, 0xA005)
"""A maker's own notes, which may hold the picture before its translation, and what only some
programs can follow."""

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_META = "adobe:ns:meta/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_OWN = "urn:x-cyclegan-media:provenance/"
_PREFIXES = {"rdf": _RDF, "x": _META, "Iptc4xmpExt": _IPTC, "cyclegan_media": _OWN}
_ABOUT = f"{{{_RDF}}}about"
_DESCRIPTION = f"{{{_RDF}}}Description"
_SOURCE_TYPE = f"{{{_IPTC}}}DigitalSourceType"
_RECORDS = f"{{{_OWN}}}Records"
_TURNED = re.compile(rb'\s+tiff:Orientation="\d"|<tiff:Orientation>\d</tiff:Orientation>')
_DEEPEST = 100
"""Elements in one another; a packet has about ten, and what writes XML calls itself for each."""
_AROUND = b"\0 \r\n\t"
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_END = '\n<?xpacket end="w"?>'


@dataclass(frozen=True)
class ImageTags:
    """The tags of a picture that stay true of its translation."""

    exif: bytes | None = None
    """Upright, without thumbnails, which would show the picture before its translation."""
    xmp: bytes | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
    """Of a PNG, by their keywords."""
    comment: str = ""
    """Of a GIF or a JPEG 2000."""


def read_tags(picture: PIL.Image.Image) -> ImageTags:
    """The tags of an open picture."""
    texts = {
        key: str(text)
        for key, text in getattr(picture, "text", {}).items()
        if key != XMP_KEYWORD and not key.startswith("Raw profile")
    }
    xmp = picture.info.get("xmp")
    return ImageTags(
        exif=_kept_exif(picture),
        xmp=_TURNED.sub(b"", xmp) if isinstance(xmp, bytes) else None,
        texts=texts,
        comment=_comment(picture),
    )


def picture_records(picture: PIL.Image.Image) -> list[Provenance]:
    """What an open picture says of its making."""
    xmp, found = picture.info.get("xmp"), []
    root = _parse(xmp) if isinstance(xmp, bytes) else None
    if root is not None:
        items = [item.text or "" for holder in root.iter(_RECORDS) for item in holder.iter()]
        found = [record for text in items for record in records_in(text)]
    return list(dict.fromkeys([*found, *records_in(_comment(picture))]))


def xmp_with(records: Sequence[Provenance], before: bytes | None = None) -> bytes | None:
    """An XMP packet with the records added to what ``before`` says.

    The Digital Source Type is what the file is now: a composite if any record says so.
    """
    if not records:
        return before
    root = _parse(before) if before else None
    rdf = None if root is None else next(root.iter(f"{{{_RDF}}}RDF"), None)
    if root is None or rdf is None:
        root = ET.Element(f"{{{_META}}}xmpmeta")
        rdf = ET.SubElement(root, f"{{{_RDF}}}RDF")
    lines = [
        item.text or "" for holder in rdf.iter(_RECORDS) for item in holder.iter(f"{{{_RDF}}}li")
    ]
    _remove(rdf, (_SOURCE_TYPE, _RECORDS))
    description = ET.SubElement(rdf, _DESCRIPTION, {_ABOUT: ""})
    types = {record.source_type for record in records}
    ET.SubElement(description, _SOURCE_TYPE).text = SOURCE_TYPES + min(types)  # composite…
    sequence = ET.SubElement(ET.SubElement(description, _RECORDS), f"{{{_RDF}}}Seq")
    for line in [*lines, *(record.to_line() for record in records)]:
        ET.SubElement(sequence, f"{{{_RDF}}}li").text = line
    for prefix, uri in {**_prefixes(before or b""), **_PREFIXES}.items():
        with suppress(ValueError):  # ElementTree keeps ns0, ns1, … to itself
            ET.register_namespace(prefix, uri)
    return (_BEGIN + ET.tostring(root, encoding="unicode") + _END).encode()


def _remove(rdf: ET.Element, names: Sequence[str]) -> None:
    for description in rdf.iter(_DESCRIPTION):
        for name in names:
            description.attrib.pop(name, None)
            for child in description.findall(name):
                description.remove(child)


def _parse(xmp: bytes) -> ET.Element | None:
    """The packet's outermost element; ``None`` where it is no XML, or cannot be written again."""
    try:
        root = ET.fromstring(xmp.strip(_AROUND))
    except (ET.ParseError, ValueError):
        return None
    level, depth = [root], 0
    while level:
        level, depth = [child for element in level for child in element], depth + 1
    return root if depth <= _DEEPEST else None


def _prefixes(xmp: bytes) -> dict[str, str]:
    """What a packet calls its namespaces; some programs know them by these names alone."""
    with suppress(ET.ParseError):
        events = ET.iterparse(io.BytesIO(xmp.strip(_AROUND)), ("start-ns",))
        return {str(prefix): str(uri) for _, (prefix, uri) in events if prefix}
    return {}


def _comment(picture: PIL.Image.Image) -> str:
    comment = picture.info.get("comment", "")
    return comment.decode(errors="replace") if isinstance(comment, bytes) else str(comment)


def _kept_exif(picture: PIL.Image.Image) -> bytes | None:
    try:
        before, kept = picture.getexif(), PIL.Image.Exif()
        for tag in _EXIF_KEPT:
            if tag in before:
                kept[tag] = before[tag]
        for part in _EXIF_PARTS:
            content = dict(before.get_ifd(part))
            for tag in _EXIF_LOST:
                content.pop(tag, None)
            if content:
                kept.get_ifd(part).update(content)
                kept[part] = 0  # its place, which is found when the whole is written
        return kept.tobytes() if len(kept) else None
    except Exception:  # what is damaged, in one of many ways, is left out
        return None
