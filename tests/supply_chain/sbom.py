"""The bill of materials, in CycloneDX's form: what production installs, as it is locked."""

from __future__ import annotations

import tomllib
import uuid
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from tests.supply_chain.licences import licence_of
from tests.supply_chain.lock import PRODUCTION, packages
from worker.stack import ROOT


def bill(lock: Path = PRODUCTION) -> str:
    """The bill as JSON: each package with version, hashes, licence and what needs it.

    The same lock file has the same serial number. Licences are those that the installed packages
    name. Raises `importlib.metadata.PackageNotFoundError` if one is not installed.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    licences = LicenseFactory()
    ours = Component(
        name=project["name"],
        version=project["version"],
        type=ComponentType.APPLICATION,
        bom_ref=project["name"],
        licenses=[licences.make_from_string(project["license"])],
    )
    locked = packages(lock)
    components = {
        one.name: Component(
            name=one.name,
            version=one.version,
            type=ComponentType.LIBRARY,
            bom_ref=one.name,
            purl=PackageURL("pypi", None, one.name, one.version),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha) for sha in one.hashes],
            licenses=[licences.make_from_string(licence_of(one.name) or "unknown")],
        )
        for one in locked
    }
    bom = Bom(
        components=components.values(),
        serial_number=uuid.uuid5(uuid.NAMESPACE_OID, lock.read_text()),
    )
    bom.metadata.component = ours
    bom.register_dependency(ours)
    for one in locked:
        bom.register_dependency(components[one.name])
        for by in one.needed_by:
            bom.register_dependency(components.get(by, ours), [components[one.name]])
    return JsonV1Dot6(bom).output_as_string(indent=2)
