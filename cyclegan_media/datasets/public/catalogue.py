"""Which public sets there are: addresses, checksums, terms, and the recipes that they are for.

An address stands here only where the authors' own scripts or several independent projects give it,
and a checksum only where a project that checks downloads has published one: TensorFlow Datasets
for the pictures (recorded at the authors' former address), torchaudio for the voices.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from cyclegan_media.errors import UserError


@dataclass(frozen=True)
class PublicSet:
    """A set that can be downloaded, or (without ``url``) of which one can say where it is."""

    name: str
    what: str
    """What it holds to train on, in a line."""
    terms: str
    """Licence or terms of use, as its publishers state them."""
    url: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    checked_by: str = ""
    """Who published the checksum."""
    recipe: str | None = None
    """The shipped recipe that trains on it."""
    pair: tuple[str, str] | None = None
    """Folders of domains A and B, below the folder of all sets, where they are not trainA, trainB
    of this one."""
    only: frozenset[str] = frozenset()
    """Folders and files of the archive that are wanted; empty for all."""
    by_hand: str = ""
    """Of a set without an address: how to come by it."""

    @property
    def archive_name(self) -> str:
        """What the downloaded file is called, by the set's name and the address's suffix."""
        path = unquote(urlsplit(self.url or "").path).lower()
        return self.name + next((suffix for suffix in _SUFFIXES if path.endswith(suffix)), "")


_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz")

_IMAGENET = "pictures of ImageNet: non-commercial research and education only (image-net.org)"
_FLICKR = "photographs by Flickr's users, who hold the rights; no licence is stated"
_PAINTINGS = f"paintings from WikiArt; {_FLICKR}"
_CYCLEGAN = "https://efrosgans.eecs.berkeley.edu/cyclegan/datasets"

_PICTURES = [
    # name, bytes, SHA-256, recipe, what, terms
    (
        "horse2zebra",
        116_867_962,
        "a74d9d392eecca9966b51287a76ca126af473d9de4f3e8fc0e9cda08fa1730a1",
        "horse2zebra",
        "wild horses and zebras, 1067 and 1334 pictures of 256×256",
        _IMAGENET,
    ),
    (
        "apple2orange",
        78_456_409,
        "845a191e9af8926408ea597001cd03a452e3300a1f44a79fe329b3d59f6e3eb8",
        "apple2orange",
        "apples and oranges, 995 and 1019 pictures of 256×256",
        _IMAGENET,
    ),
    (
        "summer2winter_yosemite",
        132_640_856,
        "167fe1726807a9d22bd106b4a6c0bd7953b688af924ac1bf967439c4961e49f9",
        "summer2winter",
        "Yosemite in summer and in winter, 1231 and 962 photographs of 256×256",
        _FLICKR,
    ),
    (
        "monet2photo",
        305_231_073,
        "88f91b00fc228f97c9411fbf1880ec1d119c98f1722e4cfcfaa2fb35fac05b04",
        "photo2monet",
        "paintings by Monet and landscape photographs, 1072 and 6287",
        _PAINTINGS,
    ),
    (
        "cezanne2photo",
        279_885_071,
        "3a6c10ca21f9485862f1cbd707744b9dc258954a04631271d23a3605eeb63cff",
        "photo2monet",
        "paintings by Cézanne and landscape photographs, 525 and 6287",
        _PAINTINGS,
    ),
    (
        "ukiyoe2photo",
        292_946_532,
        "02a2a2fb5ecf425ca1bf86aca7304377da64a2a1d3b86df54eb65e4068bf3b08",
        "photo2monet",
        "Japanese woodblock prints and landscape photographs, 562 and 6287",
        _PAINTINGS,
    ),
    (
        "vangogh2photo",
        306_590_349,
        "362c3473e70be0944bda08d49d660eafdc2854df55d697835b8186d1d79caaff",
        "photo2monet",
        "paintings by van Gogh and landscape photographs, 400 and 6287",
        _PAINTINGS,
    ),
    (
        "maps",
        1_476_754_427,
        "639534f69dbf9f36bef8d6292a7698006361221f83f0285d7c9ca78afe6e8a9e",
        "maps",
        "aerial photographs and maps of New York, 1096 each",
        "pictures of Google Maps, under Google's terms; no licence is stated",
    ),
    (
        "facades",
        35_135_868,
        "9a31ebf3a31b9b5cd195dd5bf62e9308e00cb94604d1019e3889ac84248695c0",
        "facades",
        "façades and their architectural labels, 400 each",
        "CMP Facade Database (Tyleček & Šára 2013), to be cited; no licence is stated",
    ),
    (
        "iphone2dslr_flower",
        339_964_458,
        "8fcb5e374d631b107e1d961b8c4cd0a186aa2a4ff3e279923f4c426128de7113",
        "cyclegan",
        "flowers taken with telephones and with large lenses, about 1800 and 3300",
        _FLICKR,
    ),
]

_ARCTIC_TERMS = "free software without restriction, commercial use included (CMU-LTI-03-177)"
_ARCTIC_FILES = frozenset({"wav", "etc", "README", "COPYING", "LICENSE"})
_ARCTIC = {
    "awb": (
        "a Scottish man",
        "d74a950c9739a65f7bfc4dfa6187f2730fa03de5b8eb3f2da97a51b74df64d3c",
    ),
    "bdl": (
        "a man from the United States",
        "26b91aaf48b2799b2956792b4632c2f926cd0542f402b5452d5adecb60942904",
    ),
    "clb": (
        "a woman from the United States",
        "3f16dc3f3b97955ea22623efb33b444341013fc660677b2e170efdcc959fa7c6",
    ),
    "jmk": (
        "a Canadian man",
        "3a37c0e1dfc91e734fdbc88b562d9e2ebca621772402cdc693bbc9b09b211d73",
    ),
    "ksp": (
        "an Indian man",
        "8029cafce8296f9bed3022c44ef1e7953332b6bf6943c14b929f468122532717",
    ),
    "rms": (
        "a man from the United States",
        "c6dc11235629c58441c071a7ba8a2d067903dfefbaabc4056d87da35b72ecda4",
    ),
    "slt": (
        "a woman from the United States",
        "7c173297916acf3cc7fcab2713be4c60b27312316765a90934651d367226b4ea",
    ),
}

_VCC = "Creative Commons Attribution 4.0, as users of the set state; see"


def _sets() -> list[PublicSet]:
    pictures = [
        PublicSet(
            name,
            what,
            terms,
            url=f"{_CYCLEGAN}/{name}.zip",
            sha256=sha256,
            bytes=size,
            checked_by="TensorFlow Datasets",
            recipe=recipe,
        )
        for name, size, sha256, recipe, what, terms in _PICTURES
    ]
    cityscapes = PublicSet(
        "cityscapes",
        "street scenes and their semantic labels, 2975 each",
        "Cityscapes' own: non-commercial, no redistribution, with an account",
        recipe="cityscapes",
        by_hand="its terms forbid others to hand it on; make an account at"
        " https://www.cityscapes-dataset.com, get leftImg8bit_trainvaltest.zip and"
        " gtFine_trainvaltest.zip, and scale both to 256×256 into trainA (photographs), trainB"
        " (…_color.png), testA and testB",
    )
    arctic = [
        PublicSet(
            f"cmu_arctic_{speaker}",
            f"{who} reading about 1130 English sentences, the same as the others of CMU ARCTIC",
            _ARCTIC_TERMS,
            url=f"https://www.festvox.org/cmu_arctic/packed/cmu_us_{speaker}_arctic.tar.bz2",
            sha256=sha256,
            checked_by="torchaudio",
            recipe="cyclegan_vc2",
            pair=(
                f"cmu_arctic_{'bdl' if speaker == 'slt' else speaker}/wav",
                "cmu_arctic_slt/wav",
            ),
            only=_ARCTIC_FILES,
        )
        for speaker, (who, sha256) in _ARCTIC.items()
    ]
    challenges = [
        PublicSet(
            "vcc2016",
            "Voice Conversion Challenge 2016: ten speakers reading the same 162 sentences",
            f"{_VCC} https://datashare.ed.ac.uk/handle/10283/2211",
            url="https://datashare.is.ed.ac.uk/bitstream/handle/10283/2211/vcc2016_training.zip",
            recipe="cyclegan_vc",
            pair=("vcc2016/SF1", "vcc2016/TM1"),
        ),
        PublicSet(
            "vcc2018",
            "Voice Conversion Challenge 2018: twelve speakers reading 81 sentences each",
            f"{_VCC} https://datashare.ed.ac.uk/handle/10283/3061",
            url="https://datashare.ed.ac.uk/bitstream/handle/10283/3061/vcc2018_database_training.zip",
            recipe="cyclegan_vc2",
            pair=("vcc2018/VCC2SF3", "vcc2018/VCC2TM1"),
        ),
    ]
    return [*pictures, cityscapes, *challenges, *arctic]


CATALOGUE: dict[str, PublicSet] = {entry.name: entry for entry in _sets()}
"""Every set by its name."""


def find_set(name: str) -> PublicSet:
    """The set called ``name``.

    Raises:
        UserError: there is none; lists those there are.
    """
    if name not in CATALOGUE:
        raise UserError(
            f"{name}: no set is called so; there are {', '.join(CATALOGUE)}, or give --url"
        )
    return CATALOGUE[name]


def own_set(url: str, name: str | None = None) -> PublicSet:
    """A set of one's own at ``url``, called as its last part if not otherwise.

    Raises:
        UserError: the name cannot be that of a folder.
    """
    if name is None:
        last = PurePosixPath(unquote(urlsplit(url).path)).name
        name = next((last[: -len(end)] for end in _SUFFIXES if last.lower().endswith(end)), last)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", name):
        raise UserError(
            f"{url}: {name!r} cannot be the name of its folder; give one by --name, of letters,"
            " digits, '_', '-' and '.'"
        )
    return PublicSet(name, f"what is at {url}", "as its publisher states them", url=url)
