"""C2PA content credentials: a signed statement in a file of how it was made.

Unlike a tag, it tells who says so, and whether the file was changed since: "Content Credentials:
C2PA Technical Specification", 2.x. Needs the package c2pa-python, and a key with a certificate.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cyclegan_media.errors import RunError, UserError, from_os_error
from cyclegan_media.files import PARTIAL_MARK, atomic_file, check_output
from cyclegan_media.media.info import read_provenance
from cyclegan_media.media.provenance import SOURCE_TYPES, Provenance

_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".gif"),
    *(".mp4", ".m4v", ".mov", ".avi", ".m4a", ".wav", ".mp3", ".flac"),
)
"""Of files that both C2PA and this toolkit write."""


@dataclass(frozen=True)
class Credentials:
    """What files are signed with, in two PEM files.

    Raises:
        UserError: c2pa-python is not installed, or the two are not a certificate and its key.
    """

    certificate: Path
    """The signer's certificate, and after it those that lead to the root."""
    key: Path
    """Its private key without a password: EC, Ed25519 or RSA."""

    def __post_init__(self) -> None:
        if find_spec("c2pa") is None:
            raise UserError(
                "content credentials: need the package c2pa-python; install cyclegan-media[c2pa]"
            )
        self.signer()

    def signer(self) -> Any:
        """c2pa-python's object that signs."""
        import c2pa

        algorithm, key = _key(self.key)
        content = _certificates(self.certificate)
        try:
            info = c2pa.C2paSignerInfo(algorithm, content, key, None)
            return c2pa.Signer.from_info(info)
        except c2pa.C2paError as error:
            raise UserError(
                f"{self.certificate}: cannot be signed with, with the key {self.key}: {error}"
            ) from error


@contextmanager
def signed_output(
    target: str | os.PathLike[str], credentials: Credentials, *, overwrite: bool = False
) -> Iterator[Path]:
    """Yield a path where to write; what is written there is signed and then goes to ``target``.

    The statement is what the file's tags say of its making.

    Raises:
        UserError: no file of this suffix can be signed, or see
            :func:`cyclegan_media.files.check_output`.
        RunError: signing fails.
    """
    target = check_output(target, overwrite=overwrite)
    if target.suffix.lower() not in _SUFFIXES:
        known = ", ".join(_SUFFIXES)
        raise UserError(f"{target}: no such file can be signed with credentials, only {known}")
    with (
        atomic_file(target, overwrite=overwrite) as partial,
        # Under its own name, by which messages call it.
        tempfile.TemporaryDirectory(
            prefix=f".{target.stem}{PARTIAL_MARK}", dir=target.parent
        ) as folder,
    ):
        unsigned = Path(folder) / target.name
        yield unsigned
        _sign(unsigned, partial, credentials)


def read_credentials(path: str | os.PathLike[str]) -> dict[str, str] | None:
    """Who signed a file and whether that holds; ``None`` without credentials, or without c2pa.

    Returns:
        ``signer``, and ``state``: ``Invalid`` where the file was changed since or the signature is
        wrong, ``Valid`` where not, ``Trusted`` where the certificate is known, too.
    """
    if Path(path).suffix.lower() not in _SUFFIXES or find_spec("c2pa") is None:
        return None
    import c2pa

    try:
        with c2pa.Reader(str(path)) as reader:
            content = json.loads(reader.json())
    except c2pa.C2paError:
        return None
    signature = content["manifests"][content["active_manifest"]].get("signature_info", {})
    names = [signature.get(key) for key in ("common_name", "issuer")]
    return {
        "signer": ", ".join(dict.fromkeys(filter(None, names))) or "unknown",
        "state": str(content.get("validation_state", "Invalid")),
    }


def _sign(source: Path, target: Path, credentials: Credentials) -> None:
    import c2pa

    manifest = _manifest(source.name, read_provenance(source))
    try:
        with (
            c2pa.Context.from_dict(_SETTINGS) as context,
            c2pa.Builder.from_json(json.dumps(manifest), context) as builder,
        ):
            builder.sign_file(str(source), str(target), credentials.signer())
    except c2pa.C2paError as error:
        raise RunError(f"{source.name}: cannot be signed with credentials: {error}") from error


_SETTINGS = {"builder": {"thumbnail": {"enabled": False}}}
"""A picture of the picture would double the size of small ones."""


def _manifest(title: str, records: Sequence[Provenance]) -> dict[str, Any]:
    version = records[-1].version
    agent = {"name": "cyclegan-media", "version": version}
    action = {
        "action": "c2pa.created",
        "digitalSourceType": SOURCE_TYPES + min(record.source_type for record in records),
        "softwareAgent": agent,
        "parameters": {"org.cyclegan-media.models": [asdict(record) for record in records]},
    }
    return {
        "title": title,
        "claim_generator_info": [agent],
        "assertions": [{"label": "c2pa.actions", "data": {"actions": [action]}}],
    }


def _certificates(path: Path) -> bytes:
    from cryptography import x509

    content = _read(path)
    try:
        x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise UserError(f"{path}: holds no certificates in PEM") from error
    return content


def _key(path: Path) -> tuple[bytes, bytes]:
    """C2PA's name of the algorithm, and the key as the library takes it."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    try:
        key = serialization.load_pem_private_key(_read(path), None)
    except (ValueError, TypeError) as error:  # TypeError: it has a password
        raise UserError(f"{path}: is no private key in PEM without a password") from error
    name = None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        name = _CURVES.get(key.curve.name)
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        name = "ed25519"
    elif isinstance(key, rsa.RSAPrivateKey):
        name = "ps256"
    if name is None:
        raise UserError(f"{path}: is a key of a kind that C2PA does not sign with; use an EC key")
    encoded = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return name.encode(), encoded


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise from_os_error(error, path, "reading it") from error
