#!/usr/bin/env python3
"""What helm.sh asks about rendered objects and about the schema of the values.

    chart.py validate VERSION FILE            every object against the strict schemas of that version of Kubernetes,
                                              every pod against what the chart promises of its security, and
                                              every selector against the labels of the pods
    chart.py get KIND NAME PATH FILE          one value of one object, by a PATH such as spec.containers.0.args; a list
                                              of texts line by line
    chart.py config VALUES PRINTED            every key under `config` in a values file has that value in the output
                                              of --print-config
    chart.py schema CHART DEFAULT STARLING    the schema of the chart has the keys of default.toml, of their types and in
                                              the ranges that the program tells when it refuses a value, and
                                              durations.yaml those of the durations
"""

import json
import os
import re
import subprocess
import sys
import tomllib

import kubernetes_validate
import yaml


class Strict(yaml.SafeLoader):
    """Refuses what other loaders take silently: a key that is there twice."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise SystemExit(f"{node.start_mark}: twice in one mapping: {twice}")
        return super().construct_mapping(node, deep)


def objects(path):
    with open(path, encoding="utf-8") as file:
        return [item for item in yaml.load_all(file, Loader=Strict) if item]


def title(item):
    return f"{item['kind']} {item['metadata']['name']}"


def follow(value, path):
    for part in re.split(r"(?<!\\)\.", path):
        part = part.replace("\\", "")
        value = value[int(part)] if isinstance(value, list) else value.get(part)
        if value is None:
            return None
    return value


def pod_problems(spec):
    """What the chart promises of every pod; the first five are Pod Security Standard "restricted"."""
    container = "containers.0.securityContext"
    wanted = {
        "securityContext.runAsNonRoot": True,
        "securityContext.runAsUser": 65532,
        "securityContext.seccompProfile.type": "RuntimeDefault",
        f"{container}.allowPrivilegeEscalation": False,
        f"{container}.capabilities.drop": ["ALL"],
        f"{container}.readOnlyRootFilesystem": True,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
    }
    found = {path: follow(spec, path) for path in wanted}
    problems = [f"{path} is {found[path]!r}, not {value!r}" for path, value in wanted.items() if found[path] != value]
    if len(spec["containers"]) != 1:
        problems.append("more than one container: only the first is checked")
    return problems


def selector_problems(rendered):
    """Everything that selects pods selects that of the Deployment, and not that of `helm test`."""
    labels = {}
    for item in rendered:
        if item["kind"] in ("Pod", "Deployment"):
            labels[item["kind"]] = follow(item, "spec.template.metadata.labels") or item["metadata"]["labels"]
    problems = []
    for item in rendered:
        # A NetworkPolicy calls it otherwise.
        selector = follow(item, "spec.selector") or follow(item, "spec.podSelector") or {}
        wanted = selector.get("matchLabels", selector).items()
        if selector and not wanted <= labels["Deployment"].items():
            problems.append(f"{title(item)} does not select the pod of the Deployment")
        if selector and wanted <= labels["Pod"].items():
            problems.append(f"{title(item)} selects the pod of the test")
    return problems


def validate(version, path):
    rendered = objects(path)
    problems = selector_problems(rendered)
    for item in rendered:
        # Of the Prometheus operator: no schema of Kubernetes has it.
        if item["kind"] == "PodMonitor":
            continue
        try:
            kubernetes_validate.validate(item, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            problems.append(f"{title(item)}: {'.'.join(map(str, error.path))}: {error.message}")
        pod = {"Pod": "spec", "Deployment": "spec.template.spec"}.get(item["kind"])
        if pod:
            problems += [f"{title(item)}: {problem}" for problem in pod_problems(follow(item, pod))]
    if problems:
        raise SystemExit("\n".join(problems))
    print(*sorted(item["kind"] for item in rendered))


def get(kind, name, path, file):
    matching = [item for item in objects(file) if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    if len(matching) != 1:
        raise SystemExit(f"{len(matching)} objects {kind} {name}")
    value = follow(matching[0], path)
    if value is None:
        raise SystemExit(f"{kind} {name} has no {path}")
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        print(*value, sep="\n")
    else:
        print(value if isinstance(value, str) else json.dumps(value))


def milliseconds(text):
    units = {"d": 86_400_000, "day": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
    # Of what the program prints alone: a twelfth of a year of 365.25 days.
    units["month"] = 2_630_016_000
    parts = re.findall(r"(\d+) ?([a-z]+)", text)
    return sum(int(count) * units[unit if unit in units else unit.rstrip("s")] for count, unit in parts)


def config(values, printed):
    with open(printed, "rb") as file:
        in_force = tomllib.load(file)
    compared = 0
    for section, keys in (objects(values)[0].get("config") or {}).items():
        for key, wanted in (keys or {}).items():
            found = in_force[section][key]
            same = found == wanted
            # The program writes durations its own way: 90s as 1m 30s.
            if isinstance(wanted, str) and re.fullmatch(r"[\d a-z]*\d[\d a-z]*", wanted):
                same = milliseconds(found) == milliseconds(wanted)
            if not same:
                raise SystemExit(f"{section}.{key} is {found!r}, not {wanted!r}")
            compared += 1
    if not compared:
        raise SystemExit(f"{values} sets nothing")
    print(compared)


def refusal(starling, section, key, value):
    variable = f"STARLING__{section}__{key}".upper()
    ran = subprocess.run(
        [starling, "serve", "--print-config", "--log-format", "human"],
        env={**os.environ, variable: str(value)}, capture_output=True, text=True, timeout=20, check=False,
    )
    return "" if ran.returncode == 0 else ran.stderr


def duration_problem(starling, section, key, least, greatest, *others):
    """Whether the program refuses, by this range, what is shorter, what is longer, and none at all."""
    allowed = [milliseconds(one) for one in others]
    for outside in {milliseconds(greatest) + 1, milliseconds(least) - 1, 0}:
        if outside < 0 or outside in allowed or milliseconds(least) <= outside <= milliseconds(greatest):
            continue
        said = refusal(starling, section, key, f"{outside}ms")
        told = re.search(rf"{section}\.{key}: .* is not in (.+) to (.+?)(?: \(|$)", said, re.M)
        if not told or [milliseconds(end) for end in told.groups()] != [milliseconds(least), milliseconds(greatest)]:
            return f"{section}.{key}: {least} to {greatest} in durations.yaml, but of {outside}ms: {said!r}"
    return None


def schema(chart, default, starling):
    with open(f"{chart}/values.schema.json", encoding="utf-8") as file:
        sections = json.load(file)["properties"]["config"]["properties"]
    durations = objects(f"{chart}/durations.yaml")[0]
    with open(default, "rb") as file:
        defaults = tomllib.load(file)
    # Each key with its type: text apart from these is durations.
    plain = {("server", "listen"), ("server", "health_listen"), ("admin", "listen"), ("limits", "max_id"), ("log", "filter"), ("log", "format")}
    names = ("mode", "issuer", "audience", "jwks_file", "keys_dir", "hs256_secret_file")
    plain |= {("identity", name) for name in names}
    plain |= {("server", key) for key in ("proxy_protocol", "trusted_proxies", "client_address_header")}
    plain |= {("admin", key) for key in ("client_auth", "reader_sans")}
    cluster = ("name", "activate", "nats_urls", "nats_credentials_file", "nats_nkey_file")
    cluster += tuple(f"nats_tls_{name}_file" for name in ("ca", "cert", "key"))
    cluster += tuple(f"peer_{name}" for name in ("listen", "address", "seeds", "secret_file"))
    plain |= {("cluster", key) for key in cluster}
    plain |= {("tls", key) for key in ("cert_file", "key_file", "client_ca_file", "client_auth", "admin_sans")}
    expected, declared, ranges = {}, {}, 0
    for section, keys in defaults.items():
        for key, value in keys.items():
            kind = {bool: "boolean", int: "integer", str: "duration"}[type(value)]
            expected[section, key] = "string" if (section, key) in plain else kind
    for section, keys in sections.items():
        for key, rule in keys["properties"].items():
            declared[section, key] = rule.get("type") or rule["$ref"].rsplit("/", 1)[-1]
    if expected != declared:
        raise SystemExit(f"default.toml and the schema differ in {sorted(expected.items() ^ declared.items())}")
    named = {".".join(key) for key, kind in expected.items() if kind == "duration"}
    if named != set(durations):
        raise SystemExit(f"default.toml and durations.yaml differ in {sorted(named ^ set(durations))}")
    for name, ends in durations.items():
        if problem := duration_problem(starling, *name.split("."), *ends):
            raise SystemExit(problem)
        for allowed in ends:
            if said := refusal(starling, *name.split("."), allowed):
                # Another setting may forbid it, but not its own range.
                if "is not in" in said:
                    raise SystemExit(f"{name}: {allowed} is refused: {said}")
    for (section, key), kind in expected.items():
        if kind != "integer":
            continue
        rule = sections[section]["properties"][key]
        allowed = rule.get("enum") or [rule["minimum"], rule["maximum"]]
        for outside in (min(allowed) - 1, max(allowed) + 1):
            said = refusal(starling, section, key, outside)
            told = re.search(rf"{section}\.{key}: {outside} is not in (\d+) to (\d+)", said)
            # Below zero is below what the program reads at all.
            if outside < 0 and f"{section}.{key}: {outside} is out of range" in said:
                continue
            if told and [int(end) for end in told.groups()] != [min(allowed), max(allowed)]:
                raise SystemExit(f"{section}.{key}: {min(allowed)} to {max(allowed)} in the schema, but: {said}")
            # No upper end of its own in the program: the schema has that of a float.
            if not told and (section, key) != ("store", "max_swarms"):
                raise SystemExit(f"{section}.{key}: {outside} is not refused by its range: {said!r}")
            ranges += bool(told)
    print(f"{len(expected)} keys, {ranges} ends of ranges, {len(durations)} durations")


if __name__ == "__main__":
    commands = {"validate": validate, "get": get, "config": config, "schema": schema}
    commands[sys.argv[1]](*sys.argv[2:])
