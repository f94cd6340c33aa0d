"""The chart as Helm's own engine renders it, and ways to look at what comes out."""

import copy
import functools
from pathlib import Path

import helm_python as helm
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "helm/bursar"
EXAMPLES = {path.stem: path for path in sorted((CHART / "examples").glob("*.yaml"))}
RELEASE = "bursar"
NAMESPACE = "bursar"


@functools.cache
def chart():
    return helm.Chart.load(CHART)


def values(example, **changes):
    """The values of an example; a change is named by its path with `__` for dots, `None` is null."""
    read = helm.values_from_yaml(EXAMPLES[example].read_text())
    for path, value in changes.items():
        set_at(read, path.replace("__", "."), value)
    return read


def set_at(table, path, value):
    *above, last = path.split(".")
    for word in above:
        table = table.setdefault(word, {})
    table[last] = value


def rendered(given):
    """Every manifest of the chart, in the order of the files."""
    files = chart().render(copy.deepcopy(given), name=RELEASE, namespace=NAMESPACE)
    texts = [text for name, text in sorted(files.items()) if not name.endswith("NOTES.txt")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


@functools.cache
def example(name):
    return rendered(values(name))


def of_kind(documents, kind, suffix=""):
    return [d for d in documents if d["kind"] == kind and d["metadata"]["name"].endswith(suffix)]


def only(documents, kind, name):
    found = [d for d in documents if d["kind"] == kind and d["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} of {kind}/{name}"
    return found[0]


def pods(documents):
    """Every pod's specification, with the name of what makes it."""
    for document in documents:
        if document["kind"] == "Pod":
            yield document["metadata"]["name"], document["spec"]
        elif "template" in document.get("spec", {}):
            yield document["metadata"]["name"], document["spec"]["template"]["spec"]


def containers(spec):
    return [*spec.get("initContainers", []), *spec["containers"]]


def broker(documents):
    """What makes the brokers."""
    found = [d for d in documents if d["kind"] in ("Deployment", "StatefulSet") and d["metadata"]["name"] == RELEASE]
    assert len(found) == 1
    return found[0]


def bursar_toml(documents):
    return only(documents, "ConfigMap", "bursar-config")["data"]["bursar.toml"]


def refusal(given):
    """What the chart says of values that it does not take."""
    try:
        rendered(given)
    except helm.HelmError as error:
        return str(error)
    raise AssertionError("these values were taken")
