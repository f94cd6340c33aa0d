"""What every example renders to: good for Kubernetes, and held to what the chart promises of every pod."""

import functools
import re
import shutil

import helm_python as helm
import jsonschema
import kubernetes_validate
import kubernetes_validate.utils
import pytest
import yaml
from crds import SHAPES
from rendering import (
    CHART, EXAMPLES, NAMESPACE, RELEASE, broker, bursar_toml, chart, containers, example, of_kind, only, pods, rendered,
    values,
)

# The oldest that the chart takes, one in the middle, the newest that there are schemas for.
VERSIONS = ["1.30", "1.34", "1.37"]
# Reading the same schema a thousand times is what takes the time.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_chart_lints_strictly(name):
    for version in VERSIONS:
        report = helm.lint(CHART, values(name), strict=True, namespace=NAMESPACE, kube_version=version)
        assert report["errors"] == [], report
        assert [m for m in report["messages"] if m["severity"] > 1] == [], report


def test_lint_finds_what_is_wrong(tmp_path):
    """That the linter looks at all."""
    copy = tmp_path / "bursar"
    shutil.copytree(CHART, copy)
    (copy / "templates/wrong.yaml").write_text("kind: ConfigMap\nmetadata: {{ .Values.none.such }}\n")
    report = helm.lint(copy, values("trial"), strict=True, namespace=NAMESPACE)
    assert any("wrong.yaml" in str(m) for m in [*report["messages"], *report["errors"]]), report


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_manifest_is_what_kubernetes_takes(name):
    seen = set()
    for document in example(name):
        seen.add(document["kind"])
        if document["kind"] in SHAPES:
            jsonschema.Draft202012Validator(SHAPES[document["kind"]]).validate(document)
            continue
        for version in VERSIONS:
            kubernetes_validate.validate(document, version, strict=True)
    assert {"ConfigMap", "Service", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget"} <= seen


def test_the_schemas_refuse_what_kubernetes_would():
    deployment = rendered(values("trial"))
    deployment = only(deployment, "Deployment", RELEASE)
    deployment["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    for version in VERSIONS:
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(deployment, version, strict=True)


def test_the_examples_show_every_kind_that_the_chart_makes():
    made = set(re.findall(r"^kind: (\w+)$", "".join(p.read_text() for p in CHART.glob("templates/**/*.yaml")), re.M))
    shown = {d["kind"] for name in EXAMPLES for d in example(name)}
    assert len(made) > 10 and not made - shown


@pytest.mark.parametrize("name", EXAMPLES)
def test_pods_are_restricted(name):
    """Pod Security `restricted`, and more."""
    for of, spec in pods(example(name)):
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & set(spec), of
        assert spec["automountServiceAccountToken"] is False, of
        assert spec["enableServiceLinks"] is False, of
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True and security.get("runAsUser", 1) > 0, of
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, of
        kinds = {key for volume in spec["volumes"] for key in volume} - {"name"}
        assert kinds <= {"configMap", "csi", "emptyDir", "persistentVolumeClaim", "projected", "secret"}, of
        for container in containers(spec):
            security = container["securityContext"]
            assert security["capabilities"] == {"drop": ["ALL"]}, (of, container["name"])
            assert security["allowPrivilegeEscalation"] is False and security["privileged"] is False
            assert security["readOnlyRootFilesystem"] is True and security["runAsNonRoot"] is True
            assert "runAsUser" not in security
            for bound in ("requests", "limits"):
                assert set(container["resources"][bound]) >= {"cpu", "memory"}, (of, container["name"])
            assert all("hostPort" not in port for port in container.get("ports", []))


@pytest.mark.parametrize("name", EXAMPLES)
def test_images_are_named_by_version_or_digest(name):
    for of, spec in pods(example(name)):
        for container in containers(spec):
            image = container["image"]
            assert re.search(r":[^/]*\d[^/]*$|@sha256:[0-9a-f]{64}$", image), (of, image)
            assert "latest" not in image


@pytest.mark.parametrize("name", EXAMPLES)
def test_brokers_have_probes_and_time_to_end(name):
    made = broker(example(name))
    pod = made["spec"]["template"]["spec"]
    container = pod["containers"][0]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == "monitoring"
    # Liveness asks nothing of Redis, the KEK or providers; readiness may.
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    grace = re.search(r'^grace = "(\d+)(s|m)"$', bursar_toml(example(name)), re.M)
    grace = int(grace[1]) * (60 if grace[2] == "m" else 1) if grace else 90
    assert pod["terminationGracePeriodSeconds"] > grace + container["lifecycle"]["preStop"]["sleep"]["seconds"]
    constraints = {c["topologyKey"] for c in pod["topologySpreadConstraints"]}
    assert constraints == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    if made["kind"] == "Deployment":
        rolling = made["spec"]["strategy"]["rollingUpdate"]
        assert rolling["maxUnavailable"] == 0 and rolling["maxSurge"] >= 1
    else:
        assert made["spec"]["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_only_the_data_volume_can_be_written_to(name):
    pod = broker(example(name))["spec"]["template"]["spec"]
    container = next(c for c in pod["containers"] if c["name"] == "bursar")
    writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
    # A socket has to be opened for writing.
    assert writable - {"/run/bursar/kms"} == {"/var/lib/bursar"}
    assert not any("subPath" in m for m in container["volumeMounts"]), "what is replaced would not arrive"


@pytest.mark.parametrize("name", EXAMPLES)
def test_secrets_are_in_secrets_and_closed_to_others(name):
    documents = example(name)
    for document in of_kind(documents, "ConfigMap"):
        text = "\n".join(document["data"].values())
        assert not re.search(r"PRIVATE KEY|bursar-keyset|BEGIN CERTIFICATE", text)
        assert not re.search(r"(?i)^\s*(password|client_secret|secret|token)\s*=", text, re.M)
        assert not re.search(r"://[^/\s\"]*:[^/\s\"@]+@", text), "a password in an address"
    made = {value for document in of_kind(documents, "Secret") for value in (document.get("stringData") or {}).values()}
    for _, spec in pods(documents):
        for container in containers(spec):
            written = str([container.get("args"), container.get("env"), container.get("command")])
            assert not any(secret in written for secret in made)
        for volume in spec["volumes"]:
            for source in [volume.get("secret"), volume.get("projected")]:
                assert source is None or source["defaultMode"] == 0o440, volume


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_network_is_closed_but_for_what_is_named(name):
    documents = example(name)
    policy = only(documents, "NetworkPolicy", RELEASE)["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    labels = broker(documents)["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    for rule in [*policy["ingress"], *policy["egress"]]:
        assert rule["ports"] and (rule.get("from") or rule.get("to")), rule
    covered = [p["spec"]["podSelector"]["matchLabels"].items() for p in of_kind(documents, "NetworkPolicy")]
    for document in documents:
        labels = document["metadata"] if document["kind"] == "Pod" else document.get("spec", {}).get("template", {}).get("metadata")
        if labels:
            assert any(c <= labels["labels"].items() for c in covered), document["metadata"]["name"]
    # Metadata services of clouds are within no default.
    for rule in policy["egress"]:
        for peer in rule["to"]:
            block = peer.get("ipBlock", {})
            if block.get("cidr") == "0.0.0.0/0" and rule["ports"][0]["port"] == 443 and len(rule["ports"]) == 1:
                assert "169.254.0.0/16" in block["except"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_cluster_gives_no_more_rights_than_a_question(name):
    documents = example(name)
    review = 'review: true' in EXAMPLES[name].read_text()
    roles = [d for d in documents if d["kind"] in ("Role", "ClusterRole")]
    assert len(roles) == (1 if review else 0)
    for role in roles:
        assert role["rules"] == [{"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}]
    for account in of_kind(documents, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", EXAMPLES)
def test_selectors_find_their_pods_and_no_others(name):
    documents = example(name)
    made = [d for d in documents if d["kind"] in ("Deployment", "StatefulSet")]
    for document in made:
        assert document["spec"]["selector"]["matchLabels"].items() <= document["spec"]["template"]["metadata"]["labels"].items()
    for service in of_kind(documents, "Service"):
        found = [d for d in made if service["spec"]["selector"].items() <= d["spec"]["template"]["metadata"]["labels"].items()]
        assert len(found) == 1, service["metadata"]["name"]
        ports = {p["name"] for c in found[0]["spec"]["template"]["spec"]["containers"] for p in c["ports"]}
        assert {p["targetPort"] for p in service["spec"]["ports"]} <= ports
    headless = only(documents, "Service", f"{RELEASE}-headless")
    assert headless["spec"]["clusterIP"] == "None"


def test_a_changed_configuration_rolls_and_changed_policies_do_not():
    def annotations(**changes):
        made = broker(rendered(values("sentinel", **changes)))["spec"]["template"]["metadata"]["annotations"]
        return {name: text for name, text in made.items() if name.startswith("checksum/")}

    before = annotations()
    assert annotations() == before
    assert annotations(config__log={"level": "debug"}) != before
    profile = {"p.toml": 'extends = "generic-oauth2"\nname = "p"\n'}
    assert annotations(providers={"files": profile}) != before
    assert annotations(policies__files={"p.cedar": "permit (principal, action, resource);"}) == before


def test_the_trail_survives_as_was_asked():
    kept = only(example("sentinel"), "PersistentVolumeClaim", f"{RELEASE}-data")
    assert kept["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert kept["spec"]["accessModes"] == ["ReadWriteMany"]
    each = broker(example("cluster"))
    assert each["kind"] == "StatefulSet"
    assert [c["metadata"]["name"] for c in each["spec"]["volumeClaimTemplates"]] == ["data"]
    theirs = broker(example("kms"))["spec"]["template"]["spec"]["volumes"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "bursar-audit"}} in theirs


def test_more_brokers_under_load():
    hpa = only(example("cluster"), "HorizontalPodAutoscaler", RELEASE)["spec"]
    assert hpa["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": RELEASE}
    assert (hpa["minReplicas"], hpa["maxReplicas"]) == (3, 8)
    assert "replicas" not in broker(example("cluster"))["spec"], "it would fight the autoscaler"


def test_whoever_gives_users_itself_may():
    for _, spec in pods(example("external-secrets")):
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(spec["securityContext"])
        assert spec["securityContext"]["runAsNonRoot"] is True


def test_the_bundled_server_says_what_it_is():
    text = chart().render(values("trial"), name=RELEASE, namespace=NAMESPACE)["bursar/templates/redis.yaml"]
    assert text.startswith("# FOR TRIALS ONLY.")
    conf = only(example("trial"), "Secret", "bursar-redis")["stringData"]["redis.conf"]
    for line in ("appendonly yes", "appendfsync always", "maxmemory-policy noeviction", "user default off"):
        assert line in conf.splitlines()
    documented = re.search(r"^ACL SETUSER bursar reset on >PASSWORD (.*)$", (CHART.parents[1] / "docs/redis.md").read_text(), re.M)
    assert documented[1] in conf


def test_a_plugin_on_the_node_is_mounted_where_it_was_said():
    documents = rendered(values("kms", keys__kmsPlugin={"hostPath": "/var/run/kms"}, networkPolicy__egress__kms={}))
    volumes = broker(documents)["spec"]["template"]["spec"]["volumes"]
    assert {"name": "kms", "hostPath": {"path": "/var/run/kms", "type": "Directory"}} in volumes


def test_the_image_names_the_ports_that_are_listened_at():
    listened = {port["containerPort"] for port in broker(example("cert-manager"))["spec"]["template"]["spec"]["containers"][0]["ports"]}
    for file in ("Dockerfile", "Dockerfile.binary"):
        exposed = re.search(r"^EXPOSE (.*)$", (CHART.parents[1] / file).read_text(), re.M)[1]
        assert {int(port) for port in exposed.split()} == listened, file


def test_the_alerts_are_those_of_the_documents():
    rule = only(example("sentinel"), "PrometheusRule", RELEASE)
    assert rule["spec"] == yaml.safe_load((CHART.parents[1] / "docs/alerts.yaml").read_text())
