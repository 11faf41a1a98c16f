"""The page on clusters: each example of how to start one is parsed, by its own tool where that is at hand."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from tagger import cli
from tagger.learning.workers import workers_here
from tests.conftest import ROOT

PAGE = (ROOT / "tagger" / "docs" / "cluster.md").read_text("utf-8")

# The fields of KubeRay's objects that are known here, from its API reference, and whether each must be given.
RAY_FIELDS = {
    "job": {"entrypoint": True, "shutdownAfterJobFinishes": False, "backoffLimit": False, "rayClusterSpec": True},
    "cluster": {"rayVersion": True, "authOptions": False, "headGroupSpec": True, "workerGroupSpecs": True},
    "head": {"rayStartParams": True, "template": True},
    "workers": {
        "groupName": True, "replicas": False, "minReplicas": True, "maxReplicas": True, "rayStartParams": True,
        "template": True,
    },
}  # fmt: skip


def block(language, heading):
    """Return the one block in a language under a heading."""
    part = re.search(rf"^### {heading}\n(.*?)(?=^##+ |\Z)", PAGE, re.M | re.S)
    (content,) = re.findall(rf"```{language}\n(.*?)```", part[1], re.S)
    return content


def options_of(words):
    """Return the options of a command line of `tagger`, which must be understood."""
    assert words[0].rpartition("/")[2] == "tagger"
    return cli.parser(every=True).parse_args(words[1:])


def assert_known(kind, given):
    assert set(given) <= set(RAY_FIELDS[kind])
    assert {field for field, needed in RAY_FIELDS[kind].items() if needed} <= set(given)


def of_the_cluster(words):
    """Return the options of a command that predicts on a cluster and goes on where it was."""
    options = options_of(words)
    assert options.cluster.endswith(":6379")
    assert options.resume
    return options


def kubernetes(resource):
    """Validate a resource of Kubernetes itself, strictly."""
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed").validate
    validate(resource, "1.34", strict=True)


def ray_job():
    (job,) = pytest.importorskip("yaml").safe_load_all(block("yaml", "Ray on Kubernetes"))
    return job


def training_job():
    return list(pytest.importorskip("yaml").safe_load_all(block("yaml", "Training on Kubernetes")))


def test_each_field_of_the_ray_job_is_known():
    job = ray_job()
    assert list(job) == ["apiVersion", "kind", "metadata", "spec"]
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    cluster = spec["rayClusterSpec"]
    assert_known("job", spec)
    assert_known("cluster", cluster)
    assert_known("head", cluster["headGroupSpec"])
    assert cluster["authOptions"] == {"mode": "token"}
    for workers in cluster["workerGroupSpecs"]:
        assert_known("workers", workers)
        assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    parameters = cluster["headGroupSpec"]["rayStartParams"]
    assert all(isinstance(value, str) for value in parameters.values())


def test_the_image_of_the_ray_job_has_what_the_job_runs():
    job, image = ray_job()["spec"], block("dockerfile", "Ray on Kubernetes").splitlines()
    options = of_the_cluster(shlex.split(job["entrypoint"]))
    assert image[0] == f"FROM rayproject/ray:{job['rayClusterSpec']['rayVersion']}-py312-cpu"
    assert image[1] == "RUN pip install --no-cache-dir 'hantagger[cluster,fast]'"
    assert image[2] == f"COPY bundle {options.bundle}"


def test_kubernetes_knows_the_pods_of_the_ray_job():
    cluster = ray_job()["spec"]["rayClusterSpec"]
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        pods = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pods"}, "template": group["template"]}
        kubernetes(pods)


def test_kubernetes_knows_the_training_job():
    for resource in training_job():
        kubernetes(resource)


def test_the_processes_of_the_training_job_know_each_other(monkeypatch):
    service, job = training_job()
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    options = options_of(container["command"])
    assert options.resume
    number, config = container["env"]
    assert number["valueFrom"]["fieldRef"]["fieldPath"].startswith("metadata.annotations['batch.kubernetes.io/job-com")
    monkeypatch.setenv(config["name"], config["value"].replace(f"$({number['name']})", "1"))
    name, count = job["metadata"]["name"], spec["completions"]
    addresses = [f"{name}-{index}.{service['metadata']['name']}:2222" for index in range(count)]
    assert (workers_here().addresses, workers_here().number) == (tuple(addresses), 1)
    assert (spec["completionMode"], spec["parallelism"], pod["subdomain"]) == ("Indexed", count, name)
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}


@pytest.mark.parametrize("heading", ["Slurm", "Machines by SSH"])
def test_shells_accept_the_script(heading, tmp_path):
    script = tmp_path / "script.sh"
    script.write_text(block("bash", heading), "utf-8")
    subprocess.run(["bash", "-n", script], check=True, timeout=20)
    shellcheck = shutil.which("shellcheck", path=f"{sys.prefix}/bin:{os.environ['PATH']}")
    if not shellcheck:
        pytest.skip("shellcheck is not installed: the script was parsed by bash alone")
    done = subprocess.run([shellcheck, script], capture_output=True, text=True, timeout=60)
    assert done.stdout == ""


@pytest.mark.parametrize("heading", ["Slurm", "Machines by SSH"])
def test_ray_and_tagger_understand_the_command_of_the_script(heading):
    script = block("bash", heading).replace("\\\n", " ")
    (command,) = re.findall(r"ray symmetric-run .*", script)
    started, _, tagged = command.partition(" -- ")
    of_the_cluster(shlex.split(tagged.replace("$head", "node1")))
    symmetric_run = pytest.importorskip("ray.scripts.symmetric_run", reason="Ray is not installed")
    words = shlex.split(re.sub(r"\$\w+", "7", started))[2:]
    assert symmetric_run.curate_and_validate_ray_start_args(words) in ([], ["--num-cpus", "7"])


def test_each_directive_of_slurm_is_known():
    lines = re.findall(r"^#SBATCH (.*)$", block("bash", "Slurm"), re.M)
    known = {
        "job-name": r"\w+", "nodes": r"\d+", "ntasks-per-node": "1", "cpus-per-task": r"\d+", "mem": r"\d+G",
        "time": r"\d\d:\d\d:\d\d", "exclusive": "", "no-kill": "", "requeue": "", "open-mode": "append",
    }  # fmt: skip
    given = dict(line.removeprefix("--").partition("=")[::2] for line in lines)
    assert list(given) == list(known)
    assert all(re.fullmatch(known[option], value) for option, value in given.items())
