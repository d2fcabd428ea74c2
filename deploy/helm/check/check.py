"""Lints the chart, renders it with each file of its ci/ folder, and holds the result
to the schemas of Kubernetes. Objects of other products (KEDA, Prometheus Operator)
have no schema there, and are only parsed."""

import pathlib
import sys

import helm_python
import kubernetes_validate
import yaml

CHART = pathlib.Path(__file__).parent.parent / "drumline"
VERSIONS = ["1.28", "1.34"]
FOREIGN = {"ScaledObject", "TriggerAuthentication", "ServiceMonitor"}

faults = []
with helm_python.Chart.load(CHART) as chart:
    try:
        chart.render(values={}, name="demo", namespace="ops")
        faults.append("the chart renders although nothing says who may use the API")
    except helm_python.HelmRenderError:
        pass
    for file in sorted((CHART / "ci").glob("*-values.yaml")):
        values = yaml.safe_load(file.read_text())
        faults += [f"{file.name}: {fault}" for fault in helm_python.lint(CHART, values=values)["errors"]]
        objects = 0
        for name, text in chart.render(values=values, name="demo", namespace="ops").items():
            for found in yaml.safe_load_all(text) if name.endswith(".yaml") else []:
                if found is None:
                    continue
                objects += 1
                what = f"{file.name}: {found['kind']} {found['metadata']['name']}"
                for version in VERSIONS if found["kind"] not in FOREIGN else []:
                    try:
                        kubernetes_validate.validate(found, version, strict=True)
                    except kubernetes_validate.ValidationError as error:
                        faults.append(f"{what}, Kubernetes {version}: {error.message}")
        print(f"{file.name}: {objects} objects")

for fault in faults:
    print(fault, file=sys.stderr)
sys.exit(1 if faults else 0)
