"""Strict shapes of what the chart makes of other projects' kinds: Kubernetes' own schemas do not have them. Only the fields
that the chart uses; one more is a mistake until it was looked up and written here."""

TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
SPAN = {"type": "string", "pattern": "^([0-9]+(h|m|s|ms))+$"}


def thing(required, optional=None):
    return {
        "type": "object", "additionalProperties": False, "required": list(required),
        "properties": {**required, **(optional or {})},
    }


def kind(api_version, name, spec):
    metadata = thing({"name": TEXT, "namespace": TEXT, "labels": TEXTS}, {"annotations": TEXTS})
    return thing({"apiVersion": {"const": api_version}, "kind": {"const": name}, "metadata": metadata, "spec": spec})


SHAPES = {
    # cert-manager.io/docs/reference/api-docs, v1.
    "Certificate": kind("cert-manager.io/v1", "Certificate", thing({
        "secretName": TEXT, "duration": SPAN, "renewBefore": SPAN,
        "dnsNames": {"type": "array", "items": TEXT, "minItems": 1, "uniqueItems": True},
        "usages": {"type": "array", "items": {"enum": ["digital signature", "server auth"]}},
        "privateKey": thing({
            "algorithm": {"enum": ["RSA", "ECDSA", "Ed25519"]}, "size": {"enum": [256, 384, 521]},
            "rotationPolicy": {"enum": ["Never", "Always"]},
        }),
        "issuerRef": thing({"name": TEXT, "kind": {"enum": ["Issuer", "ClusterIssuer"]}, "group": TEXT}),
    })),
    # external-secrets.io/latest/api/spec, v1.
    "ExternalSecret": kind("external-secrets.io/v1", "ExternalSecret", thing({
        "refreshInterval": SPAN,
        "secretStoreRef": thing({"name": TEXT, "kind": {"enum": ["SecretStore", "ClusterSecretStore"]}}),
        "target": thing({
            "name": TEXT, "creationPolicy": {"enum": ["Owner", "Orphan", "Merge", "None"]},
            "deletionPolicy": {"enum": ["Delete", "Merge", "Retain"]},
        }),
        "data": {"type": "array", "minItems": 1, "items": thing({
            "secretKey": TEXT, "remoteRef": thing({"key": TEXT}, {"property": TEXT, "version": TEXT}),
        })},
    })),
    # prometheus-operator.dev/docs/api-reference/api, v1.
    "ServiceMonitor": kind("monitoring.coreos.com/v1", "ServiceMonitor", thing({
        "selector": thing({"matchLabels": TEXTS}),
        "namespaceSelector": thing({"matchNames": {"type": "array", "items": TEXT}}),
        "endpoints": {"type": "array", "minItems": 1, "items": thing({
            "port": TEXT, "path": {"type": "string", "pattern": "^/"}, "interval": SPAN,
        })},
    })),
    "PrometheusRule": kind("monitoring.coreos.com/v1", "PrometheusRule", thing({
        "groups": {"type": "array", "minItems": 1, "items": thing({
            "name": TEXT,
            "rules": {"type": "array", "minItems": 1, "items": {"oneOf": [
                thing({"alert": TEXT, "expr": TEXT}, {
                    "for": SPAN, "keep_firing_for": SPAN, "labels": TEXTS, "annotations": TEXTS}),
                thing({"record": TEXT, "expr": TEXT}, {"labels": TEXTS}),
            ]}},
        }, {"interval": SPAN})},
    })),
}
