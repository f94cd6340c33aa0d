"""The commands of docs/install.md and docs/upgrade.md, as far as they can be tried without a cluster."""

import argparse
import re
import shlex
import subprocess

import helm_python as helm
import pytest
from program import PROGRAM, environment
from rendering import EXAMPLES, RELEASE, REPOSITORY, broker, example, of_kind, pods, rendered, set_at

PAGES = {name: (REPOSITORY / f"docs/{name}.md").read_text() for name in ("install", "upgrade")}
HELM = {
    "install": ["release", "chart"], "upgrade": ["release", "chart"], "template": ["release", "chart"], "test": ["release"],
    "history": ["release"], "rollback": ["release"], "uninstall": ["release"],
}


def commands(page, program):
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGES[page], re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    found = [shlex.split(line.split(" | ")[0].split(" > ")[0].removesuffix(" &")) for line in lines]
    return [words[1:] for words in found if words and words[0] == program]


ALL_HELM = [(page, words) for page in PAGES for words in commands(page, "helm")]


@pytest.mark.parametrize("page,words", ALL_HELM, ids=[" ".join(words)[:60] for _, words in ALL_HELM])
def test_helm_commands_fit_the_chart(page, words):
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("verb", choices=HELM)
    for name in HELM[words[0]]:
        parser.add_argument(name)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--values")
    parser.add_argument("--set", action="append", default=[])
    for switch in ("--wait", "--logs"):
        parser.add_argument(switch, action="store_true")
    given = parser.parse_args(words)
    assert given.release == RELEASE
    if "chart" in given:
        assert given.chart == "helm/bursar"
        values = helm.values_from_yaml((REPOSITORY / given.values).read_text())
        for each in given.set:
            set_at(values, *each.split("=", 1))
        assert broker(rendered(values))["metadata"]["namespace"] == given.namespace


def test_programs_commands_that_need_no_broker_run(tmp_path):
    ran = []
    for words in commands("install", "bursar"):
        if words[0] == "--endpoint":
            continue  # test_trial.py has a broker for them
        at = [str(REPOSITORY / word) if word.startswith("docs/") else word for word in words]
        (tmp_path / "keyset").unlink(missing_ok=True)
        done = subprocess.run([PROGRAM, *at], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        ran.append(words[0])
    assert set(ran) == {"keys", "policy"}


def made_by_hand(section):
    """Secrets and ConfigMaps that a section of install.md has one make, with their keys."""
    text = PAGES["install"].split(f"\n## {section}\n")[1].split("\n## ")[0]
    made = {}
    for line in re.findall(r"^kubectl --namespace bursar create (?:secret generic|configmap) (.*)$", text, re.M):
        name, *files = shlex.split(line)
        files = [file.removeprefix("--from-file=").split("=")[0] for file in files]
        made[name] = {file.split("/")[-1] for file in files}
    return made


def needed(documents):
    """What pods mount that the chart does not make."""
    made = {(d["kind"], d["metadata"]["name"]) for d in documents}
    found = {}

    def need(kind, name, items):
        if (kind, name) not in made and name != "kube-root-ca.crt":
            found.setdefault(name, set()).update(item["key"] for item in items or [{"key": "ca.crt"}])

    for _, spec in pods(documents):
        for volume in spec["volumes"]:
            for source in [volume, *volume.get("projected", {}).get("sources", [])]:
                if secret := source.get("secret"):
                    need("Secret", secret.get("secretName") or secret["name"], secret.get("items"))
                if config := source.get("configMap"):
                    need("ConfigMap", config["name"], config.get("items"))
    return found


@pytest.mark.parametrize("section,name", [("The first token, in ten minutes", "trial"), ("Production", "sentinel")])
def test_the_page_makes_all_that_the_example_needs(section, name):
    assert made_by_hand(section) == needed(example(name))


def test_what_kubectl_is_asked_for_is_there():
    trial = example("trial")
    text = PAGES["install"] + PAGES["upgrade"]
    for kind, name in re.findall(r"kubectl .*?\b(service|deployment|statefulset|secret|token)[/ ]([a-z][-a-z]+)", text):
        kind = {"service": "Service", "deployment": "Deployment", "secret": "Secret", "token": "ServiceAccount"}.get(kind)
        if kind and name not in ("generic",):
            assert of_kind(trial, kind, name), (kind, name)


def test_examples_are_named_and_there():
    for page, text in PAGES.items():
        for path in re.findall(r"\(\.\./(helm/bursar/[^)#]+)\)", text):
            assert (REPOSITORY / path).exists(), (page, path)
    shown = set(re.findall(r"examples/([-a-z]+)\.yaml\)", PAGES["install"]))
    assert shown == set(EXAMPLES) - {"trial"}, "each example is where somebody looks for it"
