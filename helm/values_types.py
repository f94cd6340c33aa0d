"""What the words after `Type:` mean, in values.yaml and in the program's default.toml, as JSON schema."""

import re

NAME = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
# A host, perhaps with a port, then path segments; no tag and no digest.
REPOSITORY = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"
TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
DIGEST = r"sha256:[0-9a-f]{64}"
QUANTITY = r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?"
DNS = r"(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"


def pattern(regex):
    return {"type": "string", "pattern": f"^{regex}$"}


PATTERNS = {
    "name": NAME,
    "label": LABEL,
    "repository": REPOSITORY,
    "tag": TAG,
    "digest": DIGEST,
    "image": rf"{REPOSITORY}(:{TAG}(@{DIGEST})?|@{DIGEST})",
    "quantity": QUANTITY,
    "Go duration": r"([0-9]+(h|m|s|ms))+",
    "file name": r"[A-Za-z0-9_][A-Za-z0-9._-]*",
    "secret key": r"[-._A-Za-z0-9]+",
    "absolute path": r"/[^\n]+",
    "https address": r"https://[^\s]+",
    "word": r"[^\s]+",
    "connection": r"tenants/[^/\s]+/connections/[^/\s]+",
}

TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


def thing(properties, required=()):
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": list(required)}


def some(items, **more):
    return {"type": "array", "items": items, **more}


TEXT = {"type": "string"}
WORDS = some(TEXT)
SELECTOR = thing({
    "matchLabels": TEXTS,
    "matchExpressions": some(thing({
        "key": TEXT, "operator": {"enum": ["In", "NotIn", "Exists", "DoesNotExist"]}, "values": WORDS,
    }, ["key", "operator"])),
})
AMOUNTS = thing({name: pattern(QUANTITY) for name in ("cpu", "memory", "ephemeral-storage")})

WHOLE = {
    "boolean": {"type": "boolean"},
    "list of names": some(pattern(NAME)),
    "list of texts": WORDS,
    "list of words": some(pattern(PATTERNS["word"])),
    "list of DNS names": some(pattern(DNS)),
    "list of ports": some({"type": "integer", "minimum": 1, "maximum": 65535}, minItems=1, uniqueItems=True),
    "map of texts": TEXTS,
    "resources": thing({"requests": AMOUNTS, "limits": AMOUNTS}, ["requests", "limits"]),
    "peers": some({**thing({
        "podSelector": SELECTOR, "namespaceSelector": SELECTOR,
        "ipBlock": thing({"cidr": TEXT, "except": WORDS}, ["cidr"]),
    }), "minProperties": 1}),
    "tolerations": some(thing({
        "key": TEXT, "operator": {"enum": ["Exists", "Equal"]}, "value": TEXT,
        "effect": {"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]}, "tolerationSeconds": {"type": "integer"},
    })),
    # Deep, and the API server's to check.
    "affinity": thing({name: {"type": "object"} for name in ("nodeAffinity", "podAffinity", "podAntiAffinity")}),
    "external secrets": {
        "type": "object",
        "propertyNames": pattern(NAME),
        "additionalProperties": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": pattern(PATTERNS["secret key"]),
            "additionalProperties": thing({"key": TEXT, "property": TEXT, "version": TEXT}, ["key"]),
        },
    },
}


def optional(kind, empty):
    """With the empty text, or without."""
    if "enum" in kind:
        return {"enum": ["", *kind["enum"]]} if empty else kind
    return {**kind, "pattern": f"^$|{kind['pattern']}"} if empty else kind


def files(endings):
    ending = "|".join(endings)
    return {
        "type": "object",
        "propertyNames": pattern(rf"[A-Za-z0-9][-_A-Za-z0-9.]*\.({ending})"),
        "additionalProperties": {"type": "string", "minLength": 1},
    }


def integer(words):
    least, most = re.fullmatch(r"integer, (\d+) to (\d+)", words).groups()
    return {"type": "integer", "minimum": int(least), "maximum": int(most)}


def type_of(words):
    """Of a value of the chart."""
    if words in WHOLE:
        return WHOLE[words]
    if words.endswith(", or null"):
        kind = type_of(words.removesuffix(", or null"))
        return {**kind, "type": [kind["type"], "null"]}
    empty = words.endswith(", or empty")
    words = words.removesuffix(", or empty")
    if words.startswith("one of "):
        return optional({"enum": words.removeprefix("one of ").split(", ")}, empty)
    if words.startswith("files ("):
        return files(words.removeprefix("files (").removesuffix(")").split(", "))
    if words.startswith("integer, "):
        return integer(words)
    # What runs under `latest` would be anybody's guess. The expressions of Helm know no "but not this".
    latest = {"tag": "^latest$", "image": ":latest(@|$)"}.get(words)
    moving = {"not": {"pattern": latest}} if latest else {}
    return {**optional(pattern(PATTERNS[words]), empty), **moving}


def config_type(words):
    """Of a key of bursar.toml: what the program takes, as far as a schema can say it. It checks the rest itself."""
    if words == "boolean":
        return {"type": "boolean"}
    if words.startswith("integer, "):
        return integer(words)
    if words.startswith("one of "):
        return {"enum": words.removeprefix("one of ").split(", ")}
    if words.startswith("duration, "):
        return pattern(r"[0-9]+(ms|s|m|h)")
    if re.fullmatch(r"(Redis URL|web address|proxy address)(, or empty)?", words):
        # It becomes part of a ConfigMap, which is no place for a password.
        return pattern(r"[^@\s]*")
    return {"type": "string"}
