"""The bills of materials in CycloneDX that `make build` puts beside the zips that have others' packages in them.

They are of version 1.5, the one that Amazon Inspector's ScanSbom takes, and hold no time and nothing made up: the same
zip has the same bytes of it everywhere.
"""

from __future__ import annotations

import email
import hashlib
import json
import re
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

OURS = "valkey-leaderboard"
"""The project, which wants the packages that no other package wants."""

METADATA = re.compile(r"(?:python/)?[^/]+\.dist-info/METADATA")


@dataclass(frozen=True)
class Pin:
    """What a lock file says of a package: the hashes of the files that may be installed, and who wants it."""

    version: str
    sha256: list[str]
    wanted_by: list[str]


def pins(lock: str) -> dict[str, Pin]:
    """The pins of a lock file's text by name."""
    return {
        text.partition("==")[0]: Pin(
            version=re.split(r"[\s;]", text.partition("==")[2], maxsplit=1)[0],
            sha256=re.findall(r"--hash=sha256:(\w+)", text),
            wanted_by=re.findall(r"^    # (?:via |  )(\w[\w.-]*)", text, re.MULTILINE),
        )
        for text in re.split(r"^(?=[\w.-]+==)", lock, flags=re.MULTILINE)[1:]
    }


def document(zipped: Path, lock: str, target: str) -> bytes:
    """The bill of a zip, whose packages a lock file's text pins."""
    with zipfile.ZipFile(zipped) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" in name}
    pinned = pins(lock)
    found = {_normalized(metadata["Name"]): (record, metadata) for record, metadata in _packages(files)}
    components = [_component(pinned[name], *found[name], files) for name in sorted(found)]
    wants: dict[str, list[str]] = {ref: [] for ref in [OURS, *(component["bom-ref"] for component in components)]}
    for name in sorted(found):
        for parent in {OURS, *found} & {*pinned[name].wanted_by}:
            wants[OURS if parent == OURS else _purl(parent, pinned[parent])].append(_purl(name, pinned[name]))
    root = {
        "type": "application",
        "bom-ref": OURS,
        "name": OURS,
        "components": [{"type": "file", "name": zipped.name, "hashes": [_hash(zipped.read_bytes())]}],
        "properties": [{"name": f"{OURS}:target", "value": target}],
    }
    content = {
        "version": 1,
        "metadata": {"component": root},
        "components": components,
        "dependencies": [{"ref": ref, "dependsOn": wanted} for ref, wanted in wants.items()],
    }
    serial = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(content))
    head = {"bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": f"urn:uuid:{serial}"}
    return f"{json.dumps({**head, **content}, indent=2)}\n".encode()


def _packages(files: Mapping[str, bytes]) -> Iterator[tuple[str, Message]]:
    """The name of its RECORD and the metadata of each package."""
    for name in filter(METADATA.fullmatch, files):
        yield name.replace("METADATA", "RECORD"), email.message_from_bytes(files[name])


def _component(pin: Pin, record: str, metadata: Message, files: Mapping[str, bytes]) -> dict[str, Any]:
    """A package. Which of the pinned files was installed nobody knows afterwards; what of it is shipped is what its
    RECORD holds the hashes of."""
    purl = _purl(_normalized(metadata["Name"]), pin)
    origin = {
        "type": "distribution",
        "url": purl,
        "comment": "the files that may have been installed",
        "hashes": [{"alg": "SHA-256", "content": content} for content in pin.sha256],
    }
    licenses = _licenses(metadata)
    return {
        "type": "library",
        "bom-ref": purl,
        "name": metadata["Name"],
        "version": pin.version,
        "description": metadata["Summary"] or "",
        **({"licenses": licenses} if licenses else {}),
        "purl": purl,
        "externalReferences": [origin],
        "components": [{"type": "file", "name": record, "hashes": [_hash(files[record])]}],
    }


def _licenses(metadata: Message) -> list[dict[str, Any]]:
    """As exactly as the metadata says it: an SPDX expression, or else names."""
    if expression := metadata["License-Expression"]:
        return [{"expression": expression}]
    classifiers = [text for text in metadata.get_all("Classifier", []) if text.startswith("License :: ")]
    names = [text.rpartition(" :: ")[2] for text in classifiers] or [metadata["License"] or ""]
    return [{"license": {"name": name}} for name in names if name and "\n" not in name]


def _purl(name: str, pin: Pin) -> str:
    return f"pkg:pypi/{name}@{pin.version}"


def _normalized(name: str) -> str:
    """A package's name as lock files and purls write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _hash(content: bytes) -> dict[str, str]:
    return {"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}
