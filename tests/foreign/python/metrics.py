"""Reads metrics and alerts with parsers that are not ours.

usage: metrics.py read FILE      the families of an OpenMetrics text, as JSON
       metrics.py alerts FILE    the alerts of a Prometheus rule file, and what each expression looks at, as JSON
"""

import json
import sys

import promql_parser
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families


def families(text):
    """Fails for whatever is not OpenMetrics 1.0: names, types, units, order, escapes, the end."""
    for family in text_string_to_metric_families(text):
        samples = [{"name": s.name, "labels": s.labels, "value": s.value} for s in family.samples]
        yield {
            "name": family.name,
            "type": family.type,
            "unit": family.unit,
            "help": family.documentation,
            "samples": samples,
        }


def selectors(expression):
    """Every selector of series in an expression."""
    if isinstance(expression, promql_parser.VectorSelector):
        yield expression
    for part in ("expr", "lhs", "rhs", "vector_selector", "param"):
        inner = getattr(expression, part, None)
        if isinstance(inner, promql_parser.Expr):
            yield from selectors(inner)
    for inner in getattr(expression, "args", None) or []:
        yield from selectors(inner)


def alerts(rules):
    for group in rules["groups"]:
        for rule in group["rules"]:
            seen = [
                {"name": one.name, "labels": [matcher.name for matcher in one.matchers.matchers]}
                for one in selectors(promql_parser.parse(rule["expr"]))
            ]
            yield {
                "alert": rule["alert"],
                "for": rule.get("for", ""),
                "severity": rule["labels"]["severity"],
                "summary": rule["annotations"]["summary"],
                "description": rule["annotations"]["description"],
                "selectors": seen,
            }


def main(what, path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    found = list(families(text)) if what == "read" else list(alerts(yaml.safe_load(text)))
    json.dump(found, sys.stdout)


main(*sys.argv[1:])
