"""Checks rendered manifests: against Kubernetes' own schemas, and what only we know.

Usage: check.py FILE VERSION…    Prints one complaint a line, and exits with 1 if there was any;
else what could not be checked.
"""

import re
import sys

import kubernetes_validate
import yaml

# Kinds that a cluster knows from a custom resource definition, which is not part of the schemas.
WITHOUT_SCHEMA = {("monitoring.coreos.com/v1", "ServiceMonitor")}

# README.md says that these are needed, and tests run with no others.
CAPABILITIES = {"add": ["NET_ADMIN", "SYS_ADMIN"], "drop": ["ALL"]}

# Where `foreword health` asks, and how long it waits for an answer, in seconds.
ADMIN_SOCKET = "/run/foreword/admin.sock"
PATIENCE = 3
PROBES = {
    "startupProbe": ["/foreword", "health"],
    "readinessProbe": ["/foreword", "health", "--ready"],
    "livenessProbe": ["/foreword", "health"],
}


def against_schema(document, version):
    """Complaints of one version of Kubernetes about one document."""
    kind = (document.get("apiVersion"), document.get("kind"))
    if kind in WITHOUT_SCHEMA:
        return
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        where = ".".join(str(step) for step in error.path)
        yield f"Kubernetes {version}: {where}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError:
        yield f"Kubernetes {version}: there is no {kind[0]} {kind[1]}"


def seconds(text):
    """A time such as 30s or 5m."""
    number, unit = re.fullmatch(r"(\d+)(s|m|h)", text).groups()
    return int(number) * {"s": 1, "m": 60, "h": 3600}[unit]


def between(documents):
    """Complaints about what has to agree between documents."""
    kinds = {}
    for document in documents:
        kinds.setdefault(document["kind"], []).append(document)
    daemon_sets = kinds.get("DaemonSet", [])
    if len(daemon_sets) != 1:
        yield f"{len(daemon_sets)} DaemonSets instead of one"
        return
    pod = daemon_sets[0]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    security = container["securityContext"]

    if pod.get("hostNetwork") is not True:
        yield "it is not on the host's network"
    if container.get("ports"):
        yield "ports on the host's network keep the second pod of a surge from being scheduled"
    if security.get("capabilities") != CAPABILITIES or security.get("privileged"):
        yield f"other rights than {CAPABILITIES}"
    rolling = daemon_sets[0]["spec"]["updateStrategy"].get("rollingUpdate", {})
    if (rolling.get("maxSurge"), rolling.get("maxUnavailable")) != (1, 0):
        yield "an update is no takeover: maxSurge must be 1, maxUnavailable 0"
    if "--stay" not in container["args"]:
        yield "without --stay the old pod is started again in an update, and takes over from the new"
    if pod.get("automountServiceAccountToken") is not False:
        yield "it has a service account token"

    volumes = {volume["name"] for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        if mount["name"] not in volumes:
            yield f"there is no volume {mount['name']}"
    maps = {map["metadata"]["name"]: map for map in kinds.get("ConfigMap", [])}
    named = [volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume]
    if len(named) != 1 or named[0] not in maps:
        yield f"the pod's ConfigMap {named} is not among {sorted(maps)}"
        return
    config = yaml.safe_load(maps[named[0]]["data"]["config.yaml"])
    if pod["terminationGracePeriodSeconds"] <= seconds(config["drainTimeout"]) + 3:
        yield "terminationGracePeriodSeconds ends a drain before drainTimeout does"
    if config["admin"]["socket"] != ADMIN_SOCKET:
        yield f"probes ask at {ADMIN_SOCKET}, where the configuration has it not"
    for name, command in PROBES.items():
        if container[name].get("exec", {}).get("command") != command:
            yield f"{name} is not {' '.join(command)}, which no other client can delay"
        if container[name].get("timeoutSeconds", 1) <= PATIENCE:
            yield f"{name} ends before it has waited {PATIENCE}s and can say why"


def main(file, versions):
    with open(file, encoding="utf-8") as stream:
        documents = [document for document in yaml.safe_load_all(stream) if document]
    complaints = []
    for document in documents:
        name = f"{document.get('kind')} {document.get('metadata', {}).get('name')}"
        for version in versions:
            complaints += [f"{name}: {text}" for text in against_schema(document, version)]
    # What the schemas refuse can't be relied on.
    if not complaints:
        complaints = list(between(documents))
    for complaint in complaints:
        print(complaint)
    if complaints:
        return 1
    for document in documents:
        if (document["apiVersion"], document["kind"]) in WITHOUT_SCHEMA:
            print(f"{document['kind']} {document['metadata']['name']}: no schema to check it by")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
