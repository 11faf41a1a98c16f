"""Third-party packages, imported without the reports that they send to their makers, and without their noise."""

import os
import secrets
import sys
from types import ModuleType

from tagger.errors import require


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime with its telemetry off, unless the user has set `ORT_DISABLE_TELEMETRY`."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def import_openvino() -> ModuleType:
    """Import OpenVINO, which otherwise reports each import to its maker, without the package that sends the report.

    Raises:
        MissingExtraError: If it is not installed.
    """
    reporter = "openvino_telemetry"
    absent = reporter not in sys.modules
    if absent:
        sys.modules[reporter] = None  # type: ignore[assignment]  # importing it fails: OpenVINO then has a stub for it
    try:
        return require("openvino", "fast")
    finally:
        if absent:
            del sys.modules[reporter]


def import_ray(local: bool = False) -> ModuleType:
    """Import Ray without the report that it sends to its maker, and without its noise.

    Args:
        local: Whether it is to start a cluster on this machine: its parts then listen on the loopback interface alone
            and want a token, which no one else has.

    Raises:
        MissingExtraError: If it is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # otherwise it warns of a coming change
    if local:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # on any system: this is what makes it use the loopback
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    return require("ray", "cluster")


def import_tensorflow() -> ModuleType:
    """Import TensorFlow without what its native code prints while it loads; its warnings stay off.

    Raises:
        MissingExtraError: If it is not installed.
    """
    if "tensorflow" in sys.modules:
        return require("tensorflow", "train")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if sys.stderr:
        sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # standard error is closed
        return require("tensorflow", "train")
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            tensorflow = require("tensorflow", "train")
            tensorflow.config.list_physical_devices()
            return tensorflow
    finally:
        os.dup2(saved, 2)
        os.close(saved)
