"""Writes sky_schema.json anew, with the Python of an environment that has SkyPilot: PYTHON write_sky_schema.py."""

import json
from pathlib import Path

import sky
from sky.catalog.common import InstanceTypeInfo
from sky.schemas.api import responses
from sky.utils import schemas

TASK, RESOURCES = schemas.get_task_schema()["properties"], schemas.get_resources_schema()["properties"]
RECOVERY = next(one for one in RESOURCES["job_recovery"]["anyOf"] if one["type"] == "object")
FACTS = {
    "version": sky.__version__,
    "task": sorted(TASK),
    "resources": sorted(RESOURCES),
    "job_recovery": sorted(RECOVERY["properties"]),
    "gpus list": list(InstanceTypeInfo._fields),
    "status": sorted(responses.StatusResponse.model_fields),
    "queue": sorted(responses.ClusterJobRecord.model_fields),
    "jobs queue": sorted(responses.ManagedJobRecord.model_fields),
}
Path(__file__).with_name("sky_schema.json").write_text(json.dumps(FACTS, indent=1) + "\n", encoding="utf-8")
