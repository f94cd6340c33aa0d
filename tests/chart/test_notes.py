"""What is printed after an installation."""

import helm_python as helm
import pytest
from rendering import CHART, EXAMPLES, NAMESPACE, RELEASE, values


def notes(given):
    with helm.Config(namespace=NAMESPACE, storage_driver="memory") as config:
        return config.install(str(CHART), RELEASE, given, dry_run="client")["notes"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_next_command_is_told(name):
    told = notes(values(name))
    kind = "statefulset" if "perReplica" in EXAMPLES[name].read_text() else "deployment"
    assert f"kubectl --namespace {NAMESPACE} rollout status {kind}/{RELEASE}" in told
    tested = "connection:" in EXAMPLES[name].read_text() or name == "trial"
    assert (f"helm test {RELEASE} --namespace {NAMESPACE} --logs" in told) is tested
    assert "{{" not in told and "<no value>" not in told


def test_a_trial_is_called_one():
    told = notes(values("trial"))
    assert told.count("!! FOR TRIALS ONLY") == 3
    assert "every connection is lost" in told
    assert "The audit trail's files go with each pod." in told
    assert "FOR TRIALS ONLY" not in notes(values("sentinel"))


def test_what_breaks_pod_security_is_told():
    told = notes(values("kms", keys__kmsPlugin={"hostPath": "/var/run/kms"}, networkPolicy__egress__kms={}))
    assert "Pod Security" in told
