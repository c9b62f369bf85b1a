"""What the program is made of: pinned packages under fitting licences, no dangerous calls."""

from __future__ import annotations

import ast
import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest
from cyclonedx.model.bom import Bom

from tests.supply_chain.audit import NONE_KNOWN, NOT_CHECKED, SOME_KNOWN, judge
from tests.supply_chain.licences import is_compatible, licence_of
from tests.supply_chain.lock import DEVELOPMENT, PRODUCTION, packages
from tests.supply_chain.pythons import VERSIONS, missing
from tests.supply_chain.sbom import bill
from worker.stack import ROOT

LOCKED = packages()

# -- the lock files -----------------------------------------------------------------------------


def test_everything_is_pinned_with_hashes_and_production_is_what_tests_run_on() -> None:
    tested = {one.name: one for one in packages(DEVELOPMENT)}
    assert len(LOCKED) > 30
    for one in LOCKED:
        assert (one.version, one.hashes) == (tested[one.name].version, tested[one.name].hashes)


@pytest.mark.parametrize("line", ["requests", "requests>=2", "requests==2.34.2", "-e ."])
def test_what_is_not_pinned_is_found(tmp_path: Path, line: str) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text(f"{PRODUCTION.read_text()}{line}\n    # via flower\n")
    with pytest.raises(ValueError, match="not pinned"):
        packages(lock)


def test_only_locked_packages_are_installed() -> None:
    installs = [
        line
        for file in ("Makefile", ".ci/run", "README.md", "Procfile")
        for line in (ROOT / file).read_text().splitlines()
        if "pip install" in line
    ]
    assert installs
    locked = re.compile(r"--require-hashes -r (requirements|tests/benchmarks/peers/requirements)")
    assert [line for line in installs if not locked.search(line)] == []


@pytest.mark.parametrize("lock", [PRODUCTION, DEVELOPMENT], ids=lambda lock: lock.stem)
@pytest.mark.parametrize("python", VERSIONS)
def test_all_that_a_python_needs_is_locked(python: str, lock: Path) -> None:
    assert missing(python, lock) == []


def test_what_is_not_locked_for_a_python_is_found(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    text = PRODUCTION.read_text()
    begin, end = text.index("async-timeout=="), text.index("billiard==")
    lock.write_text(text[:begin] + text[end:])
    assert missing("3.11.3", lock) == missing("3.14.0", lock) == []
    [problem] = missing("3.11.2", lock)
    assert "redis needs async-timeout" in problem


# -- licences -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [one.name for one in LOCKED])
def test_each_licence_fits(name: str) -> None:
    assert is_compatible(licence_of(name)), licence_of(name) or "it names none"


@pytest.mark.parametrize(
    ("expression", "fits"),
    [
        ("MIT", True),
        ("MIT OR GPL-3.0-only", True),
        ("Apache-2.0 AND BSD-2-Clause", True),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-3.0-only", False),
        ("AGPL-3.0-only", False),
        ("LGPL-2.1-or-later", False),
        ("(MIT)", False),
        ("SSPL-1.0 AND MIT OR BSD", False),
        ("", False),
    ],
)
def test_which_licences_do(expression: str, fits: bool) -> None:
    assert is_compatible(expression) is fits


def test_the_bill_of_materials_lists_what_is_locked() -> None:
    told = json.loads(bill())
    assert told["bomFormat"] == "CycloneDX" and told["specVersion"] == "1.6"
    components = {one["name"]: one for one in told["components"]}
    assert components.keys() == {one.name for one in LOCKED}
    for one in LOCKED:
        component = components[one.name]
        assert component["version"] == one.version == version(one.name)
        assert {sha["content"] for sha in component["hashes"]} == set(one.hashes)
        assert component["purl"] == f"pkg:pypi/{one.name}@{one.version}"
        assert component["licenses"]
    needs = {one["ref"]: set(one.get("dependsOn", [])) for one in told["dependencies"]}
    assert {"celery", "requests", "cryptography"} <= needs["cometchat-webhook-worker"]
    assert "kombu" in needs["celery"] and "tornado" in needs["flower"]
    assert json.loads(bill())["serialNumber"] == told["serialNumber"]
    assert len(list(Bom.from_json(told).components)) == len(LOCKED)  # type: ignore[attr-defined]


# -- known vulnerabilities ----------------------------------------------------------------------

CLEAN = {"name": "requests", "version": "2.34.2", "vulns": []}
KNOWN = {"id": "PYSEC-1", "aliases": ["CVE-2026-1"], "fix_versions": ["3.0"], "description": "x"}


def test_only_an_answer_about_each_package_is_a_pass() -> None:
    def verdict(*told: object, wanted: str = "requests") -> int:
        return judge(json.dumps({"dependencies": told, "fixes": []}), "", {wanted}).code

    assert verdict(CLEAN) == NONE_KNOWN
    assert verdict({**CLEAN, "vulns": [KNOWN]}) == SOME_KNOWN
    assert verdict(CLEAN, wanted="urllib3") == NOT_CHECKED
    assert verdict({"name": "requests", "skip_reason": "not found"}) == NOT_CHECKED
    assert verdict() == NOT_CHECKED


def test_what_is_known_is_told() -> None:
    told = {"dependencies": [{**CLEAN, "vulns": [KNOWN]}]}
    words = judge(json.dumps(told), "", {"requests"}).words
    assert words == "requests 2.34.2: PYSEC-1, CVE-2026-1; mended in 3.0"


@pytest.mark.parametrize("out", ["", "[]", "{}", "null", "Traceback"])
def test_a_database_that_is_not_reached_is_no_pass(out: str) -> None:
    code, words = judge(out, "Traceback …\nConnectionError: no such host\n", {"requests"})
    assert code == NOT_CHECKED
    assert "no pass" in words and "(ConnectionError: no such host)" in words


# -- the program's own code ---------------------------------------------------------------------

#: Modules that run what they read.
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "jsonpickle", "joblib"}
NAMES = {"eval", "exec", "compile", "__import__"}
METHODS = {
    "yaml.load",
    "os.system",
    "os.popen",
    "yaml.unsafe_load",
    "ssl._create_unverified_context",
}
OPTIONS = {("shell", True), ("verify", False), ("check_hostname", False)}


def dangerous(source: str) -> list[str]:
    """What a module has that must not be there."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [one.name for one in names if one.name.split(".")[0] in MODULES]
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in MODULES:
                found.append(module)
            case ast.Name(id=name) if name in NAMES:
                found.append(name)
            case ast.Attribute() if ast.unparse(node) in METHODS:
                found.append(ast.unparse(node))
            case ast.keyword(arg=name, value=ast.Constant(value=value)):
                found += [f"{name}={value}"] if (name, value) in OPTIONS else []
            case ast.Assign(targets=[ast.Attribute(attr=name)], value=ast.Constant(value=value)):
                found += [f"{name}={value}"] if (name, value) in OPTIONS else []
            case ast.Constant(value="pickle" | "yaml"):
                found.append(f"{node.value!r}")  # as a serializer
    return found


SOURCES = [
    file for room in ("config", "tasks", "worker", "docs") for file in (ROOT / room).rglob("*.py")
]


def test_nothing_runs_what_it_reads_or_skips_a_certificate() -> None:
    assert len(SOURCES) > 80
    assert {file.name: bad for file in SOURCES if (bad := dangerous(file.read_text()))} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "import os, marshal",
        "from pickle import loads",
        "from dill.source import x",
        "eval('1')",
        "run = eval",
        "exec(text)",
        "compile(text, '', 'exec')",
        "__import__(name)",
        "subprocess.run(command, shell=True)",
        "requests.get(url, verify=False)",
        "session.verify = False",
        "context.check_hostname = False",
        "yaml.load(text)",
        "os.system(command)",
        "app.conf.update(accept_content=['json', 'pickle'])",
    ],
)
def test_what_must_not_be_there_is_found(code: str) -> None:
    assert dangerous(code)
    assert not dangerous("re.compile('x'); redis.eval(script); literal_eval(text); f(verify=True)")
