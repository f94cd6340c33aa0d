"""The program itself takes what the chart writes for it: every example, with the files that it names."""

import subprocess

import pytest
from mounting import Mounts
from program import PROGRAM, environment
from rendering import EXAMPLES, broker, bursar_toml, example, rendered, values


def check(documents, folder):
    """`bursar serve --check` on what a broker's pod has."""
    Mounts(documents, folder).put(broker(documents)["spec"]["template"]["spec"])
    command = [PROGRAM, "serve", "--config", folder / "etc/bursar/config/bursar.toml", "--check"]
    done = subprocess.run(command, env=environment(BURSAR_REPLICA="bursar-0"), capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_configuration_of_every_example_is_accepted(name, tmp_path):
    code, told = check(example(name), tmp_path)
    assert code == 0, f"{told}\n{bursar_toml(example(name))}"
    assert "configuration is valid" in told


# Ways that no example shows.
WAYS = {
    "app_role": ("transit", {
        "config__keys": {"kind": "transit", "transit": {
            "address": "https://vault.example.com:8200", "key": "bursar", "auth": "app_role", "role_id": "r"}},
        "keys": {"transit": {"loginSecret": "login"}}}),
    "transit_token": ("transit", {
        "config__keys__transit": {"address": "https://vault.example.com:8200", "key": "bursar"},
        "keys__transit__loginSecret": "login"}),
    "from_transit": ("trial", {
        "config__keys": {"previous": {"kind": "transit", "transit": {
            "address": "https://vault.example.com:8200", "key": "bursar", "auth": "kubernetes", "role": "r"}}},
        "keys__previous": {"transitCaSecret": "ca"}, "networkPolicy__enabled": False}),
    "from_a_plugin": ("transit", {
        "config__keys__previous": {"kind": "kms_plugin"}, "keys__previous": {},
        "keys__kmsPlugin": {"sidecar": {"image": "registry.example.com/plugin:v1"}}}),
    "redis_at_ipv6": ("cluster", {
        "config__store__redis__nodes": "[fd00::10]:6379 [fd00::11]:6379 [fd00::12]:6379"}),
    "ipv6": ("trial", {"service": {"bind": "[::]"}}),
    "numbers_and_switches": ("trial", {
        "config__refresh": {"enabled": False, "concurrency": 4096},
        "config__audit": {"second": "stdout", "rotate_bytes": 1073741824},
        "config__limits": {"burst": "10s", "strangers_per_second": 0}}),
    "awkward_text": ("cert-manager", {"config__authorization": {
        "public_url": "https://consent.example.com/a", "return_uris": "https://a.example/?q=%22<>&b='x'"}}),
}


@pytest.mark.parametrize("way", WAYS)
def test_other_ways_are_accepted_too(way, tmp_path):
    name, changes = WAYS[way]
    documents = rendered(values(name, **changes))
    code, told = check(documents, tmp_path)
    assert code == 0, f"{told}\n{bursar_toml(documents)}"


def test_a_mistake_that_only_the_program_can_see_is_seen(tmp_path):
    """That the check looks at the files."""
    code, told = check(rendered(values("trial", policies__files={"p.cedar": "permit (nobody);"})), tmp_path)
    assert code == 1 and "p.cedar" in told
