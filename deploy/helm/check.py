"""Renders the chart with Helm's own engine, checks what comes out, and compares deploy/kubernetes with it.

Run by deploy/validate, which installs what is imported here.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import helm_python as helm
import kubernetes_validate
import yaml

FOLDER = Path(__file__).parent
CHART = FOLDER / "file-recycler"
MANIFESTS = FOLDER.parent / "kubernetes"
# Kubernetes as old and as new as the schemas go that are installed.
VERSIONS = ["1.25", "1.37"]
# Of others' extensions there is no schema here: these kinds are rendered, and their fields were compared by hand.
FOREIGN = {"ScaledObject", "TriggerAuthentication", "ServiceMonitor"}

EVERYTHING = {
    "image": {"repository": "registry.example.com/file-recycler", "tag": "1.2.3"},
    "imagePullSecrets": [{"name": "registry"}],
    "command": "work",
    "secret": {"httpToken": "http-token"},
    "env": [{"name": "RUST_LOG", "value": "info"}],
    "shutdownTimeoutSeconds": 60,
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/file-recycler"}},
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "crm"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "crm", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "priorityClassName": "crm",
    "networkPolicy": {"from": []},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "keda": {"enabled": True, "prometheusAddress": "http://prometheus.monitoring:9090"},
}
ROLE = {"secret": {"storageAccessKey": "", "storageSecretKey": ""}}

REFUSED = {
    "an unknown key": {"replicaCount": 3},
    "an unknown mode": {"mode": "daemonset"},
    "a secret in the configuration": {"config": '[storage]\nsecret_key = "x"\n'},
    "an address with its password in the configuration": {"config": '[database]\nurl = "postgres://a:b@c/d"\n'},
    "a secret in the environment": {"env": [{"name": "FILE_RECYCLER_DATABASE__URL", "value": "postgres://a:b@c/d"}]},
    "a port of the system": {"port": 80},
    "no time to stop": {"shutdownTimeoutSeconds": 0},
    "a monitor of a service that is not there": {"service": {"enabled": False}, "serviceMonitor": {"enabled": True}},
    "a scaler down to nobody who would fill the queue": {"keda": {"enabled": True, "minReplicas": 0}},
    "a scaler that cannot ask the broker": {"keda": {"enabled": True}, "secret": {"brokerUrl": ""}},
}


def fail(message):
    sys.exit(f"error: {message}")


def render(chart, values, release="file-recycler"):
    """The documents by their kind; of every template that gave something."""
    with helm.Chart.load(str(chart)) as loaded:
        rendered = loaded.render(values, name=release, namespace="crm")
    texts = {path: text for path, text in rendered.items() if path.endswith(".yaml") and text.strip()}
    found = {}
    for path, text in texts.items():
        for document in yaml.safe_load_all(text):
            if document is None:
                continue
            if document["kind"] in found:
                fail(f"{path}: a second {document['kind']}")
            check_schema(document, path)
            found[document["kind"]] = document
    return found, texts


def check_schema(document, path):
    if document["kind"] in FOREIGN:
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            fail(f"{path}: Kubernetes {version}: {error.message} at {'.'.join(map(str, error.path))}")


def check_container(container, pod):
    security = container["securityContext"]
    expect(security["runAsNonRoot"] and security["readOnlyRootFilesystem"], "the container may be root or write")
    expect(security["capabilities"] == {"drop": ["ALL"]}, "the container keeps capabilities")
    expect(security["seccompProfile"] == {"type": "RuntimeDefault"}, "the container has every system call")
    expect(security["allowPrivilegeEscalation"] is False, "the container may gain rights")
    for probe in ("startupProbe", "livenessProbe"):
        expect(container[probe]["httpGet"]["path"] == "/healthz", f"{probe} asks for more than the process's life")
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    timeout = int(environment["FILE_RECYCLER_SHUTDOWN_TIMEOUT"].removesuffix("s"))
    expect(pod["terminationGracePeriodSeconds"] > timeout, "the pod is killed while files are in hand")
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    expect(mounted <= {volume["name"] for volume in pod["volumes"]}, "a volume is missing")


def expect(condition, otherwise):
    if not condition:
        fail(otherwise)


def check_deployments():
    for values in ({}, EVERYTHING, ROLE):
        found, _ = render(CHART, values)
        kinds = {"ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount"}
        if values is EVERYTHING:
            kinds |= FOREIGN
        expect(set(found) == kinds, f"rendered {sorted(found)} and not {sorted(kinds)}")
        pod = found["Deployment"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        check_container(container, pod)
        expect(container["readinessProbe"]["httpGet"]["path"] == "/readyz", "readiness is not asked for")
        # Of two that set the number of pods, the last one would win.
        expect(("replicas" in found["Deployment"]["spec"]) == (values is not EVERYTHING), "replicas beside a scaler")
        keys = [entry["name"] for entry in container["env"] if "STORAGE" in entry["name"]]
        expect(len(keys) == (0 if values is ROLE else 2), f"keys of the storage: {keys}")
    scaler = render(CHART, EVERYTHING)[0]["ScaledObject"]["spec"]
    expect([trigger["type"] for trigger in scaler["triggers"]] == ["rabbitmq", "prometheus"], "scaled by something else")


def check_sidecar():
    found, _ = render(CHART, {"mode": "sidecar"})
    expect(set(found) == {"ConfigMap"}, f"the sidecar brings {sorted(found)}")
    with tempfile.TemporaryDirectory() as folder:
        # What `helm dependency build` does with a chart beside it.
        chart = Path(folder) / "example-crm"
        shutil.copytree(FOLDER / "example-crm", chart)
        shutil.copytree(CHART, chart / "charts" / "file-recycler")
        found, _ = render(chart, {}, "crm")
    pod = found["Deployment"]["spec"]["template"]["spec"]
    crm, recycler = pod["containers"]
    check_container(recycler, pod)
    expect("readinessProbe" not in recycler, "an outage of the storage would take the CRM's pod out of service")
    expect(crm["name"] == "crm" and "readinessProbe" in crm, "the CRM's own container is not as it was")
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    expect(
        volumes["file-recycler-config"]["configMap"]["name"] == found["ConfigMap"]["metadata"]["name"],
        "the sidecar mounts another configuration than there is",
    )


def check_refusals():
    for what, values in REFUSED.items():
        try:
            render(CHART, values)
        except helm.HelmError:
            continue
        fail(f"the chart takes {what}")


def check_lint():
    for severity, path, text in (
        (entry["severity"], entry["path"], entry["error"]) for entry in helm.lint(str(CHART))["messages"]
    ):
        # 1 is information, as of an icon that is missing.
        expect(severity <= 1, f"{path}: {text}")


def check_versions():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    cargo = (FOLDER.parent.parent / "Cargo.toml").read_text()
    program = cargo.split("[workspace.package]")[1].split('version = "')[1].split('"')[0]
    expect(chart["appVersion"] == program, f"appVersion is {chart['appVersion']}, the program's version {program}")


def check_manifests(update):
    _, texts = render(CHART, {})
    wanted = {}
    for path, text in texts.items():
        body = "\n".join(line for line in text.strip().splitlines() if "managed-by: Helm" not in line)
        wanted[Path(path).name] = f"# Made from deploy/helm/file-recycler by deploy/validate --update.\n{body}\n"
    if update:
        MANIFESTS.mkdir(exist_ok=True)
        for path in MANIFESTS.glob("*.yaml"):
            path.unlink()
        for name, text in wanted.items():
            (MANIFESTS / name).write_text(text)
    present = {path.name: path.read_text() for path in MANIFESTS.glob("*.yaml")}
    differ = sorted(name for name in present | wanted if present.get(name) != wanted.get(name))
    expect(not differ, f"deploy/kubernetes is not what the chart gives ({', '.join(differ)}): deploy/validate --update")
    for name, text in present.items():
        for document in yaml.safe_load_all(text):
            check_schema(document, name)


def main():
    check_versions()
    check_lint()
    check_deployments()
    check_sidecar()
    check_refusals()
    check_manifests("--update" in sys.argv[1:])


main()
