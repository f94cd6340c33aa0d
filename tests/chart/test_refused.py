"""Values that are wrong are refused, with the value's name and, where values do not fit each other, with what to do."""

import pytest
from rendering import refusal, set_at, values

# (example, path, value, what is said). Of the schema: Helm names the place as a path.
BY_SCHEMA = [
    ("trial", "image.tag", "latest", "/image/tag"),
    ("trial", "image.repository", "registry.example.com/bursar:1", "/image/repository"),
    ("trial", "image.digest", "sha256:abc", "/image/digest"),
    ("trial", "image.tagg", "1", "tagg"),
    ("trial", "replicas", 0, "/replicas"),
    ("trial", "replicas", "3", "/replicas"),
    ("trial", "imagee", {}, "imagee"),
    ("trial", "redis.bundled.image", "docker.io/library/redis:latest", "/redis/bundled/image"),
    ("trial", "redis.bundled.image", "docker.io/library/redis", "/redis/bundled/image"),
    ("trial", "audit.storage.kind", "hostPath", "/audit/storage/kind"),
    ("trial", "audit.storage.size", "ten", "/audit/storage/size"),
    ("trial", "tls.source", "none", "/tls/source"),
    ("trial", "policies.files", {"p.txt": "x"}, "p.txt"),
    ("trial", "policies.files", {"../p.cedar": "x"}, "p.cedar"),
    ("trial", "resources.limits.cpu", "lots", "/resources/limits/cpu"),
    ("trial", "podDisruptionBudget.maxUnavailable", 0, "/podDisruptionBudget/maxUnavailable"),
    ("trial", "pod.runAsUser", 0, "/pod/runAsUser"),
    ("trial", "service.bind", "127.0.0.1", "/service/bind"),
    ("trial", "networkPolicy.clients", [{}], "/networkPolicy/clients/0"),
    ("trial", "networkPolicy.egress.redis.ports", [], "/networkPolicy/egress/redis/ports"),
    ("trial", "config.refresh.tick", "1 second", "/config/refresh/tick"),
    ("trial", "config.refresh.concurrency", 0, "/config/refresh/concurrency"),
    ("trial", "config.log.format", "xml", "/config/log/format"),
    ("trial", "config.store.redis.passwd", "x", "passwd"),
    ("trial", "config.stor", {}, "stor"),
    ("kms", "config.store.redis.url", "redis://:opensesame@redis.internal:6379", "/config/store/redis/url"),
    ("kms", "config.egress.proxy", "https://me:opensesame@proxy.example", "/config/egress/proxy"),
    ("external-secrets", "externalSecrets.secrets", {"a": {"b": {"property": "c"}}}, "/externalSecrets/secrets/a/b"),
    ("sentinel", "test.connection", "concur", "/test/connection"),
]

# Of what values mean together: a sentence with the value to change.
BY_MEANING = [
    ("trial", "image.repository", "", "image.repository is empty"),
    ("trial", "audit.storage.kind", "", "audit.storage.kind is empty"),
    ("trial", "config.audit.second", "none", "set config.audit.second to stdout"),
    ("kms", "audit.storage.kind", "perReplica", "audit.storage.existingClaim has no effect"),
    ("cluster", "autoscaling.minReplicas", 9, "autoscaling.minReplicas is more than"),
    ("sentinel", "consent.enabled", True, "consent.enabled needs config.authorization.public_url"),
    ("cert-manager", "consent.enabled", False, "config.authorization.public_url has no effect"),
    ("trial", "policies.files", {}, "policies.files is empty"),
    ("trial", "providers.files", {"p.toml": "-----BEGIN PRIVATE KEY-----\n"}, "providers.files holds a private key"),
    ("trial", "policies.configMap", "rights", "policies.files and policies.configMap are both set"),
    ("cert-manager", "providers.configMap", "profiles", "providers.files and providers.configMap are both set"),
    ("external-secrets", "externalSecrets.storeRef.name", "", "externalSecrets.storeRef.name"),
    ("trial", "tracing.caSecret", "x", "tracing.caSecret has no effect"),
    ("sentinel", "tls.secretName", "", "tls.secretName is empty"),
    ("cert-manager", "tls.certManager.issuerRef.name", "", "tls.certManager.issuerRef.name is empty"),
    ("spiffe", "tls.secretName", "x", "tls.secretName has no effect"),
    ("spiffe", "callers.spiffe.bundles", "none", "callers: nobody could call"),
    ("trial", "config.tls.clients", "required", "set config.tls.clients to optional"),
    ("spiffe", "config.tls.clients", "optional", "callers who prove nothing would be let in"),
    ("transit", "callers.spiffe.configMap", "", "callers.spiffe.configMap is empty"),
    ("spiffe", "callers.spiffe.configMap", "x", "callers.spiffe.configMap has no effect"),
    ("cluster", "config.identity", {}, "callers.certificates.configMap needs config.identity.dns.names"),
    ("spiffe", "config.identity.dns.names", "a.b", "config.identity.dns.names needs callers.certificates.configMap"),
    ("sentinel", "callers.tokens.cluster.enabled", False, "callers.tokens.cluster.review has no effect"),
    ("trial", "callers.tokens.issuers", {"cluster.toml": "x"}, "give it another name"),
    ("sentinel", "config.store", {}, "config.store.redis: say where Redis is"),
    ("trial", "config.store.redis.url", "redis://a:6379", "config.store.redis.url and redis.bundled.enabled: keep one"),
    ("trial", "config.store.redis.tls", "on", "redis.bundled has no TLS"),
    ("trial", "redis.passwordSecret.name", "x", "redis.passwordSecret.name has no effect"),
    ("cluster", "redis.passwordSecret.name", "", "redis.passwordSecret.name is empty"),
    ("sentinel", "redis.passwordSecret.sentinelKey", "", "redis.passwordSecret.sentinelKey is empty"),
    ("cluster", "config.store.redis.tls", "off", "redis.tls has no effect: set config.store.redis.tls to on"),
    ("cluster", "networkPolicy.egress.redis.ports", [6380], "networkPolicy.egress.redis.ports lacks 6379"),
    ("trial", "keys.keyset.secretName", "", "keys.keyset.secretName is empty"),
    ("cert-manager", "keys.keyset.secretName", "x", "keys.keyset.csi.secretProviderClass are both set"),
    ("kms", "keys.keyset", {"secretName": "x"}, "keys.keyset has no effect: config.keys.kind is kms_plugin"),
    ("kms", "keys.kmsPlugin.sidecar.image", "", "keys.kmsPlugin: say where the plugin is"),
    ("kms", "keys.kmsPlugin.hostPath", "/x", "keys.kmsPlugin.hostPath are both set"),
    ("trial", "keys.kmsPlugin.hostPath", "/x", "keys.kmsPlugin has no effect"),
    ("transit", "config.keys.transit.auth", "app_role", "keys.transit.loginSecret is empty"),
    ("trial", "keys.transit.caSecret", "x", "keys.transit has no effect"),
    ("transit", "keys.previous.keysetSecret", "", "keys.previous.keysetSecret is empty"),
    ("trial", "keys.previous.keysetSecret", "x", "keys.previous.keysetSecret has no effect"),
    ("trial", "keys.previous.transitCaSecret", "x", "keys.previous.transitCaSecret and transitLoginSecret have no effect"),
    ("trial", "config.keys.previous", {"kind": "transit", "transit": {"auth": "token_file"}}, "keys.previous.transitLoginSecret is empty"),
    ("sentinel", "networkPolicy.egress.redis.to", [], "networkPolicy.egress.redis.to is empty"),
    ("transit", "networkPolicy.egress.transit.to", [], "networkPolicy.egress.transit.to is empty"),
    ("trial", "networkPolicy.egress.apiServer.to", [], "networkPolicy.egress.apiServer.to is empty"),
    ("kms", "config.egress.proxy", "https://proxy.example:3128", "brokers could not reach config.egress.proxy"),
    ("kms", "config.egress.addresses", "private", "config.egress.addresses is private"),
    ("trial", "networkPolicy.egress.kms.to", [{"podSelector": {}}], "networkPolicy.egress.kms has no effect"),
    ("sentinel", "networkPolicy.egress.otlp.to", [], "networkPolicy.egress.otlp.to is empty"),
    ("sentinel", "networkPolicy.monitoring", [], "networkPolicy.monitoring is empty"),
    ("cert-manager", "networkPolicy.consent", [], "networkPolicy.consent is empty"),
    ("trial", "replicas", 2, "trial.simulator needs replicas: 1"),
    ("trial", "config.egress.addresses", "public", "config.egress.addresses and trial.simulator: keep one"),
    ("trial", "providers.configMap", "x", "providers.configMap and trial.simulator"),
    ("trial", "test.connection", "tenants/a/connections/b", "test.connection and trial.simulator: keep one"),
    ("trial", "callers.tokens.cluster.enabled", False, "trial.simulator needs callers.tokens.cluster.enabled"),
    ("cluster", "test.certificateSecret", "", "test.connection needs a caller"),
    ("spiffe", "test.serverSpiffeId", "", "test.connection needs test.serverSpiffeId and test.caSecret"),
    ("kms", "test.caSecret", "x", "test has no effect: test.connection is empty"),
]


def refused(example, path, value):
    given = values(example)
    set_at(given, path, value)
    return refusal(given)


@pytest.mark.parametrize("example,path,value,said", BY_SCHEMA, ids=[f"{c[1]}={c[2]}"[:50] for c in BY_SCHEMA])
def test_what_the_schema_says(example, path, value, said):
    text = refused(example, path, value)
    assert "schema" in text and said in text, text


@pytest.mark.parametrize("example,path,value,said", BY_MEANING, ids=[f"{c[0]}:{c[1]}"[:50] for c in BY_MEANING])
def test_what_values_mean_together(example, path, value, said):
    text = refused(example, path, value)
    assert "mistake(s) in the values" in text and said in text, text


def test_all_mistakes_are_told_at_once():
    given = values("trial")
    set_at(given, "image.repository", "")
    set_at(given, "audit.storage.kind", "")
    set_at(given, "config.listen", "0.0.0.0:1")
    text = refusal(given)
    assert "3 mistake(s)" in text, text
    for said in ("image.repository", "audit.storage.kind", "config.listen"):
        assert said in text


def test_nothing_at_all_says_what_is_needed():
    text = refusal({})
    for said in ("image.repository", "audit.storage.kind", "policies.files", "config.store.redis", "keys.keyset", "tls.secretName", "callers"):
        assert said in text, text
