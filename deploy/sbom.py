"""The program's bill of materials: written from what Cargo says, and checked against it and the schema."""

import hashlib
import json
import os
import subprocess
import sys
import tomllib
import uuid
from datetime import datetime, timezone

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

PACKAGE = "file-recycler"
# What the releases are built for.
TARGET = "x86_64-unknown-linux-gnu"
# Known to be in the program, and known to be in its tests alone.
IN_IT = {"aws-sdk-s3", "lapin", "ring", "rustls", "sqlx-postgres", "tokio"}
NOT_IN_IT = {"jsonschema", "proptest", "rcgen", "recycler-test-s3", "s3s"}


def cargo(*arguments):
    done = subprocess.run(["cargo", *arguments, "--locked"], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def in_the_program():
    """(name, version) of each crate in the program, build scripts and tests aside.

    `cargo tree` decides, since `cargo metadata` also counts what only features would bring that are off here.
    """
    lines = cargo("tree", "-p", PACKAGE, "-e", "normal", "--prefix", "none", "--target", TARGET, "--format", "{p}")
    pairs = {tuple(line.split()[:2]) for line in lines.splitlines() if line.strip()}
    return {(name, version.removeprefix("v")) for name, version in pairs}


def checksums():
    with open("Cargo.lock", "rb") as file:
        packages = tomllib.load(file)["package"]
    return {(package["name"], package["version"]): package.get("checksum") for package in packages}


def component(package, checksum):
    name, version = package["name"], package["version"]
    purl = PackageURL(type="cargo", name=name, version=version)
    licence = package.get("license")
    source = package.get("repository")
    return Component(
        type=ComponentType.APPLICATION if name == PACKAGE else ComponentType.LIBRARY,
        name=name,
        version=version,
        bom_ref=str(purl),
        purl=purl,
        licenses=[LicenseExpression(licence.replace("/", " OR "))] if licence else None,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=checksum)] if checksum else None,
        external_references=[ExternalReference(type=ExternalReferenceType.VCS, url=XsUri(source))] if source else None,
    )


def bill():
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--filter-platform", TARGET))
    wanted, sums = in_the_program(), checksums()
    packages = {package["id"]: package for package in metadata["packages"]}
    key = lambda identity: (packages[identity]["name"], packages[identity]["version"])
    made = {key(identity): component(package, sums.get(key(identity)))
            for identity, package in packages.items() if key(identity) in wanted}
    with open("Cargo.lock", "rb") as file:
        lock = hashlib.sha256(file.read()).hexdigest()
    root = next(one for (name, _), one in made.items() if name == PACKAGE)
    # The same for the same sources: a bill can be made again and compared.
    moment = int(os.environ.get("SOURCE_DATE_EPOCH") or subprocess.check_output(
        ["git", "log", "-1", "--format=%ct"], text=True))
    document = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"{PACKAGE}@{root.version}#{lock}"),
        components=[one for one in made.values() if one is not root],
    )
    document.metadata.component = root
    document.metadata.timestamp = datetime.fromtimestamp(moment, timezone.utc)
    for node in metadata["resolve"]["nodes"]:
        if key(node["id"]) in made:
            normal = [edge["pkg"] for edge in node["deps"] if any(kind["kind"] is None for kind in edge["dep_kinds"])]
            below = [made[key(identity)] for identity in normal if key(identity) in made]
            document.register_dependency(made[key(node["id"])], below)
    return JsonV1Dot6(document).output_as_string(indent=1)


def problems(text):
    """What is wrong with a bill, a sentence each."""
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        return [f"it does not follow the schema: {error}"]
    document = json.loads(text)
    components = [*document.get("components", []), document["metadata"]["component"]]
    listed = [(one["name"], one["version"]) for one in components]
    wanted, sums, found = in_the_program(), checksums(), []
    if len(listed) != len(set(listed)):
        found.append("a crate is listed twice")
    if missing := sorted(wanted - set(listed)):
        found.append(f"missing: {missing}")
    if more := sorted(set(listed) - wanted):
        found.append(f"not in the program: {more}")
    names = {name for name, _ in listed}
    if IN_IT - names or NOT_IN_IT & names:
        found.append(f"of the tests, or missing: {sorted(IN_IT - names | NOT_IN_IT & names)}")
    for one in components:
        given = [entry["content"] for entry in one.get("hashes", [])]
        expected = sums.get((one["name"], one["version"]))
        if given != ([expected] if expected else []):
            found.append(f"{one['name']} {one['version']} has another checksum than in Cargo.lock")
        if not one.get("licenses"):
            found.append(f"{one['name']} {one['version']} has no licence")
    linked = {entry["ref"]: entry.get("dependsOn", []) for entry in document.get("dependencies", [])}
    reached, waiting = set(), [document["metadata"]["component"]["bom-ref"]]
    while waiting:
        if (ref := waiting.pop()) not in reached:
            reached.add(ref)
            waiting.extend(linked.get(ref, []))
    if cut := sorted({one.get("bom-ref", one["name"]) for one in components} - reached):
        found.append(f"nothing depends on: {cut}")
    return found


def main(arguments):
    if arguments[0] == "--check":
        with open(arguments[1], encoding="utf-8") as file:
            text = file.read()
    else:
        text = bill()
    if found := problems(text):
        print("the bill of materials is wrong:", *found, sep="\n  ", file=sys.stderr)
        return 1
    if arguments[0] != "--check":
        with open(arguments[0], "w", encoding="utf-8") as file:
            file.write(text + "\n")
    count = len(json.loads(text)["components"])
    print(f"{count} crates in {PACKAGE}, as Cargo says; the bill follows the schema of CycloneDX 1.6")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
