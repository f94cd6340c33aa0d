"""Writes what follows from values.yaml and from the program's configuration: values.schema.json, README.md, and the list of
keys that are refused in `config`.

    python helm/generate.py            writes them
    python helm/generate.py --check    says which are stale, and ends with 1 if any is
"""

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from values_types import config_type, type_of

CHART = Path(__file__).resolve().parent / "bursar"
REPOSITORY = CHART.parent.parent
PROGRAM = REPOSITORY / "src/config/default.toml"
ALERTS = REPOSITORY / "docs/alerts.yaml"

# Keys of bursar.toml that follow from the chart, and the value to use instead. Every key that holds a path or an address to
# listen at stands here, or in `LEFT`: `rows` fails on a new one.
DECIDED = {
    "listen": "service.port and service.bind",
    "replica": "nothing: it is the pod's name",
    "data_dir": "audit.storage",
    "unix.path": "the Service: a socket in a pod has no callers",
    "unix.access": "the Service: a socket in a pod has no callers",
    "tls.certificate": "tls.source",
    "tls.cert_file": "tls.secretName",
    "tls.key_file": "tls.secretName",
    "identity.spiffe.bundles": "callers.spiffe.bundles",
    "identity.spiffe.bundles_dir": "callers.spiffe.configMap",
    "identity.spiffe.workload_api": "spiffe.driver and spiffe.socket",
    "identity.dns.ca_file": "callers.certificates.configMap",
    "identity.tokens.issuers_dir": "callers.tokens.issuers",
    "identity.token_review.address": "callers.tokens.cluster.review",
    "identity.token_review.issuers": "callers.tokens.cluster.review",
    "identity.token_review.ca_file": "callers.tokens.cluster.review",
    "identity.token_review.token_file": "callers.tokens.cluster.review",
    "policy.dir": "policies.files or policies.configMap",
    "policy.shadow_dir": "policies.shadow",
    "store.kind": "config.store.redis: brokers share Redis, and the embedded store is for one process",
    "store.embedded.file": "config.store.redis: brokers share Redis, and the embedded store is for one process",
    "store.redis.password_file": "redis.passwordSecret",
    "store.redis.sentinel_password_file": "redis.passwordSecret.sentinelKey",
    "store.redis.ca_file": "redis.tls.caSecret",
    "store.redis.cert_file": "redis.tls.clientSecret",
    "store.redis.key_file": "redis.tls.clientSecret",
    "keys.keyset_file": "keys.keyset",
    "keys.kms_plugin.socket": "keys.kmsPlugin",
    "keys.transit.ca_file": "keys.transit.caSecret",
    "keys.transit.token_file": "keys.transit.loginSecret",
    "keys.transit.jwt_file": "keys.transit.audience",
    "keys.transit.secret_id_file": "keys.transit.loginSecret",
    "keys.previous.keyset_file": "keys.previous.keysetSecret",
    "keys.previous.kms_plugin.socket": "keys.kmsPlugin",
    "keys.previous.transit.ca_file": "keys.previous.transitCaSecret",
    "keys.previous.transit.token_file": "keys.previous.transitLoginSecret",
    "keys.previous.transit.jwt_file": "keys.transit.audience",
    "keys.previous.transit.secret_id_file": "keys.previous.transitLoginSecret",
    "providers.dir": "providers.files or providers.configMap",
    "authorization.listen": "consent.enabled",
    "audit.dir": "audit.storage",
    "monitoring.listen": "service.bind",
    "tracing.ca_file": "tracing.caSecret",
}

# Keys that hold one and are the operator's all the same, and why.
LEFT = {
    "audit.syslog_socket": "has a default and no effect unless audit.second is syslog",
    "audit.syslog_address": "a logger in the same pod, or none",
}

PLACES = re.compile(r"^(path|address)(, or empty)?$")


@dataclass
class Key:
    """A key of bursar.toml, or a value of the chart: its name from the top, what it means, the words of its type."""

    name: str
    meaning: str
    type: str
    default: str


@dataclass
class Table:
    name: str
    meaning: str
    inside: dict = field(default_factory=dict)


def fail(text):
    raise SystemExit(f"helm/generate.py: {text}")


def comment(lines):
    """Meaning and type of the comment lines before a key."""
    kind = ""
    if lines and lines[-1].startswith("Type: "):
        kind = lines.pop().removeprefix("Type: ").removesuffix(".")
    return " ".join(lines), kind


def config_keys():
    """The keys of bursar.toml, and the tables they stand in, as src/config/schema.rs reads them."""
    keys, tables, table, lines = [], {}, "", []
    for line in PROGRAM.read_text().splitlines():
        if not line:
            lines = []
        elif line.startswith("#"):
            lines.append(line.lstrip("# "))
        elif line.startswith("["):
            table = line.strip("[]")
            tables[table], lines = comment(lines)[0], []
        else:
            name, default = line.split(" = ", 1)
            meaning, kind = comment(lines)
            keys.append(Key(f"{table}.{name}".lstrip("."), meaning, kind, default))
            lines = []
    return keys, tables


def rows(keys):
    """What is wrong with DECIDED and LEFT."""
    names = {key.name for key in keys}
    placed = {key.name for key in keys if PLACES.match(key.type)}
    wrong = [f"{name} holds a path or an address: decide it in the chart, and give it a row in DECIDED or LEFT"
             for name in sorted(placed - set(DECIDED) - set(LEFT))]
    return wrong + [f"{name} is no key of the program any more" for name in sorted((set(DECIDED) | set(LEFT)) - names)]


def config_schema(keys, tables):
    """The schema of `config`."""
    top = {"type": "object", "additionalProperties": False, "properties": {}}

    def inside(path):
        node, walked = top, []
        for word in path:
            walked.append(word)
            node = node["properties"].setdefault(word, {
                "type": "object", "description": tables.get(".".join(walked), ""), "additionalProperties": False,
                "properties": {},
            })
        return node["properties"]

    for key in keys:
        *path, word = key.name.split(".")
        if key.name in DECIDED:
            # Taken by the schema and refused by a template: that can say what to use instead.
            inside(path)[word] = {"description": f"Follows from the chart: use {DECIDED[key.name]}."}
        else:
            inside(path)[word] = {"description": key.meaning, **config_type(key.type)}
    return top


def values():
    """values.yaml as tables and keys, in its order. It is written plainly: a comment, a type, a key."""
    text = (CHART / "values.yaml").read_text()
    parsed = yaml.safe_load(text)
    top, lines, stack = Table("", ""), [], []
    stack.append((-1, top))
    kind_of_open = None
    for number, line in enumerate(text.splitlines(), 1):
        indent, bare = len(line) - len(line.lstrip()), line.strip()
        if not bare:
            lines = []
            continue
        if bare.startswith("#"):
            lines.append(bare.lstrip("# "))
            continue
        name, _, rest = bare.partition(":")
        if kind_of_open is not None and indent > kind_of_open:
            continue  # a default of several lines
        kind_of_open = None
        while indent <= stack[-1][0]:
            stack.pop()
        above = stack[-1][1]
        whole = f"{above.name}.{name}".lstrip(".")
        meaning, kind = comment(lines)
        lines = []
        value = parsed
        for word in whole.split("."):
            value = value[word]
        if kind:
            meaning = meaning or fail(f"values.yaml:{number}: {whole} has no meaning")
            above.inside[name] = Key(whole, meaning, kind, json.dumps(value))
            kind_of_open = indent
        elif rest.strip():
            fail(f"values.yaml:{number}: {whole} has no type")
        else:
            table = Table(whole, meaning)
            above.inside[name] = table
            stack.append((indent, table))
    return top


def schema(table, config):
    properties = {}
    for name, entry in table.inside.items():
        if isinstance(entry, Table):
            properties[name] = schema(entry, config)
        elif entry.type == "configuration":
            properties[name] = {"description": entry.meaning, **config}
        else:
            properties[name] = {"description": entry.meaning, **type_of(entry.type)}
    described = {"description": table.meaning} if table.meaning else {}
    return {**described, "type": "object", "additionalProperties": False, "properties": properties}


def readme(table):
    out = [(CHART.parent / "README.head.md").read_text().rstrip(), ""]

    def walk(table):
        keys = [entry for entry in table.inside.values() if isinstance(entry, Key)]
        if table.name and "." not in table.name:
            out.extend(["", f"### `{table.name}`", "", table.meaning, ""])
        if keys and table.name:
            rows_of(keys)
        for entry in table.inside.values():
            if isinstance(entry, Table):
                if "." in entry.name:
                    out.extend(["", f"**`{entry.name}`** {entry.meaning}".rstrip(), ""])
                walk(entry)

    def rows_of(keys):
        out.extend(["| value | type | default | |", "|---|---|---|---|"])
        for key in keys:
            cell = key.meaning.replace("|", "\\|")
            out.append(f"| `{key.name}` | {key.type} | `{key.default}` | {cell} |")

    rows_of([entry for entry in table.inside.values() if isinstance(entry, Key)])
    walk(table)
    out.extend(["", "## Keys that are refused in `config`", "", "| key | use instead |", "|---|---|"])
    out.extend(f"| `{name}` | {instead} |" for name, instead in sorted(DECIDED.items()))
    return "\n".join(out) + "\n"


def decided():
    listing = json.dumps(DECIDED, indent=2, sort_keys=True)
    return ("{{/* Written by helm/generate.py: keys of bursar.toml that follow from the chart, and what to use instead. */}}\n"
            f'{{{{- define "bursar.decided" -}}}}\n{listing}\n{{{{- end }}}}\n')


def generated():
    keys, tables = config_keys()
    if wrong := rows(keys):
        fail("\n  ".join(["the table of keys does not fit the program:", *wrong]))
    top = values()
    config = config_schema(keys, tables)
    whole = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart bursar", **schema(top, config)}
    # Charts that have this one as a dependency hand `global` to it.
    whole["properties"]["global"] = {"description": "Values of a chart above this one; not used."}
    files = {
        "values.schema.json": json.dumps(whole, indent=2, ensure_ascii=False) + "\n",
        "README.md": readme(top),
        "templates/_decided.tpl": decided(),
        # A chart cannot read what lies beside it.
        "files/alerts.yaml": ALERTS.read_text(),
    }
    return {CHART / name: text for name, text in files.items()}


def main():
    check = sys.argv[1:] == ["--check"]
    stale = []
    for path, text in generated().items():
        if path.exists() and path.read_text() == text:
            continue
        stale.append(path)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"wrote {path.relative_to(REPOSITORY)}")
    if check and stale:
        fail("stale, run `make docs`: " + ", ".join(str(path.relative_to(REPOSITORY)) for path in stale))


if __name__ == "__main__":
    main()
