"""What is generated fits what it is generated from, and every key of the program has its place in the chart."""

import json

import generate
import helm_python as helm
import pytest
from rendering import CHART, NAMESPACE, RELEASE, chart, refusal, set_at, values

KEYS, TABLES = generate.config_keys()


def test_the_generated_files_are_up_to_date():
    stale = [str(path) for path, text in generate.generated().items() if not path.exists() or path.read_text() != text]
    assert stale == [], "run `make docs`"


def test_every_key_with_a_path_has_a_row():
    assert generate.rows(KEYS) == []
    # A new one is told of by name.
    new = generate.Key("store.redis.new_file", "A new file.", "path, or empty", '""')
    assert generate.rows([*KEYS, new]) == [
        "store.redis.new_file holds a path or an address: decide it in the chart, and give it a row in DECIDED or LEFT"
    ]
    gone = [key for key in KEYS if key.name != "data_dir"]
    assert generate.rows(gone) == ["data_dir is no key of the program any more"]


@pytest.mark.parametrize("key", [key.name for key in KEYS if key.name in generate.DECIDED])
def test_what_the_chart_decides_is_refused_with_what_to_use(key):
    given = values("trial")
    set_at(given, f"config.{key}", "/somewhere")
    text = refusal(given)
    assert f"config.{key} follows from the chart: remove it, and use {generate.DECIDED[key]}" in text, text


def test_the_schema_takes_every_other_key():
    config = json.loads((CHART / "values.schema.json").read_text())["properties"]["config"]
    for key in KEYS:
        node = config
        for word in key.name.split("."):
            assert node["additionalProperties"] is False
            node = node["properties"][word]
        assert node["description"]


def objects(node, path=""):
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield path, node
        for name, inside in node.items():
            yield from objects(inside, f"{path}/{name}")
    elif isinstance(node, list):
        for n, inside in enumerate(node):
            yield from objects(inside, f"{path}/{n}")


def test_the_schema_is_strict_and_says_what_everything_is_for():
    schema = json.loads((CHART / "values.schema.json").read_text())
    # Deep Kubernetes objects, which the API server checks.
    loose = {path for path, node in objects(schema) if "additionalProperties" not in node}
    assert {path.split("/")[-1] for path in loose} <= {"nodeAffinity", "podAffinity", "podAntiAffinity"}, loose
    for path, node in objects(schema):
        assert node.get("additionalProperties") is not True, path

    def described(node, path):
        for name, inside in node.get("properties", {}).items():
            assert inside.get("description"), f"{path}.{name} has no description"
            # What Kubernetes calls by its own names is described there.
            if name not in ("resources", "affinity"):
                described(inside, f"{path}.{name}")

    described(schema, "")


def test_what_is_packaged_renders_the_same(tmp_path):
    with helm.Chart.load(helm.package(CHART, destination=tmp_path)) as packaged:
        files = packaged.render(values("sentinel"), name=RELEASE, namespace=NAMESPACE)
    assert files == chart().render(values("sentinel"), name=RELEASE, namespace=NAMESPACE)
